//! One kind in a configuration file: a program or a webhook, and what they have in common.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use oncue::queue::QueueName;
use oncue::{Error, Registration, Result};
use serde::{Deserialize, Serialize};

use super::program::{self, Allowed};
use super::webhook::{self, Masked, Secrets, Url};
use crate::cli::amount::Time;

/// One kind and what handles it: keys of the one are absent beside the other, as `keys` saw to.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Handler {
    #[serde(default = "default_queue")]
    pub(super) queue: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) concurrency: Option<usize>,
    /// How long a run may take, beside what its task says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) timeout: Option<Time>,

    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) exec: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) directory: Option<PathBuf>,
    /// Variables of this process that the program gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) env: Option<Vec<String>>,

    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) webhook: Option<Url>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) secret_file: Option<Secrets<PathBuf>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) secret_env: Option<Secrets<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unsigned: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) plain: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) archive_on: Option<Vec<u16>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) retry_on: Option<Vec<u16>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ca: Option<PathBuf>,

    // Tables come last, as TOML wants them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) limits: Option<Allowed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) headers: Option<BTreeMap<String, Masked>>,
}

fn default_queue() -> String {
    "default".to_owned()
}

impl Handler {
    /// Makes its paths absolute and fills in what it leaves out.
    pub(super) fn settle(&mut self, home: &Path) -> Result<()> {
        if self.webhook.is_some() {
            webhook::settle(self, home);
            Ok(())
        } else {
            program::settle(self, home)
        }
    }

    /// Looks for everything it names.
    pub(super) fn check(&self) -> Result<()> {
        QueueName::parse(&self.queue)?;
        if self.concurrency == Some(0) {
            return Err(Error::invalid("concurrency 0; use 1 or more, or leave the handler out"));
        }
        match &self.webhook {
            Some(url) => webhook::webhook(self, url)?.check(),
            None => {
                program::program(self)?.check()?;
                program::interpreted(self)?;
                program::limits(self).check()
            }
        }
    }

    /// This handler for a worker.
    pub(super) fn registration(&self, kind: &str) -> Result<Registration> {
        let registration = match &self.webhook {
            Some(url) => oncue::webhook(kind, webhook::webhook(self, url)?),
            None => {
                let program = program::program(self)?;
                oncue::handler::program(kind, program).limits(program::limits(self))
            }
        };
        let registration = registration.queue(&self.queue);
        Ok(match self.concurrency {
            Some(runs) => registration.concurrency(runs),
            None => registration,
        })
    }
}
