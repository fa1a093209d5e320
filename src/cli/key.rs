//! `oncue key`: makes keyrings and checks them. Only `generate` ever shows a key, and only when asked for
//! no file.

use std::fmt;
use std::path::PathBuf;

use clap::Subcommand;
use oncue::seal::{FileKeys, Keyring};
use oncue::{Error, Result, connect};
use serde::Serialize;

use super::output::{Output, table};
use super::target::{self, Target};

/// Keys.
#[derive(Subcommand)]
pub(super) enum Key {
    /// Make a new keyring: one active key and one index key
    Generate {
        /// Write it to this new file, mode 0600; without, it is printed
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Read the configured keys and list their ids and states, never their bytes
    ///
    /// Keys are read from ONCUE_KEY, from the file ONCUE_KEY_FILE names, or from the file
    /// beside the database. With a broker named, the keys are compared with those it has
    /// seen, and new ones are remembered there.
    #[command(verbatim_doc_comment)]
    Check,
}

pub(super) async fn run(command: Key, target: &Target, output: Output) -> Result<()> {
    match command {
        Key::Generate { out: None } => {
            let keyring = Keyring::generate()?.to_text().to_string();
            output.print(&Printed { keyring })
        }
        Key::Generate { out: Some(path) } => {
            let keyring = Keyring::generate()?;
            FileKeys::create(&path, &keyring)?;
            output.print(&Written { path: path.display().to_string(), keys: listed(&keyring) })
        }
        Key::Check => output.print(&check(target).await?),
    }
}

async fn check(target: &Target) -> Result<Checked> {
    if let Some(url) = target.named() {
        // Opening compares the keys with those the broker knows.
        let client = target.existing().await?;
        let keys = listed(&client.sealer().keyring());
        return Ok(Checked { keys, broker: Some(target::shown(url)) });
    }
    let path = target.url().strip_prefix("sqlite:").map(PathBuf::from);
    match connect::configured(path.as_deref())? {
        Some(keyring) => Ok(Checked { keys: listed(&keyring), broker: None }),
        None => Err(Error::key(
            "no keys are configured: set ONCUE_KEY or ONCUE_KEY_FILE, or name a broker with --broker",
        )),
    }
}

#[derive(Serialize)]
struct Entry {
    id: u32,
    state: &'static str,
}

fn listed(keyring: &Keyring) -> Vec<Entry> {
    let sealing =
        keyring.states().into_iter().map(|(id, state)| Entry { id, state: state.as_str() });
    let index = keyring.index_ids().into_iter().map(|id| Entry { id, state: "index" });
    sealing.chain(index).collect()
}

#[derive(Serialize)]
struct Printed {
    keyring: String,
}

impl fmt::Display for Printed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.keyring.trim_end())
    }
}

#[derive(Serialize)]
struct Written {
    path: String,
    keys: Vec<Entry>,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wrote {}; back it up: without it the tasks cannot be opened", self.path)
    }
}

#[derive(Serialize)]
struct Checked {
    keys: Vec<Entry>,
    /// The broker the keys agree with, without its login, if one was asked.
    broker: Option<String>,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = table(["id", "state"]);
        for Entry { id, state } in &self.keys {
            table.add_row([id.to_string(), (*state).to_owned()]);
        }
        writeln!(f, "{table}")?;
        match &self.broker {
            Some(url) => write!(f, "the keys agree with {url}"),
            None => f.write_str("not compared with a broker; name one with --broker"),
        }
    }
}
