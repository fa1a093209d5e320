//! Workers as a broker sees them: who is there, and what operators want of them.
//!
//! A presence is a worker's own word, in clear and for people to read; nothing is decided by it. It lasts as
//! long as it is renewed by beats, and the orders for a worker go with it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::queue::Kind;
use crate::task::TaskId;

/// Most bytes of an [`About`] as JSON: 16 KiB.
pub const ABOUT_BYTES_MAX: usize = 16 * 1024;
/// Most kinds whose handlers one worker may be told to restart while it lives.
pub const RESTARTS_MAX: usize = 100;

/// A worker, from its start to its end: random, never a name somebody chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub [u8; 16]);

impl WorkerId {
    /// A random id.
    pub fn fresh() -> Self {
        Self(Uuid::new_v4().into_bytes())
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes(self.0).fmt(f)
    }
}

impl FromStr for WorkerId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match Uuid::try_parse(text) {
            Ok(id) => Ok(Self(id.into_bytes())),
            Err(_) => {
                Err(Error::invalid(format!("{text:?} is no id of a worker; see them listed")))
            }
        }
    }
}

/// What a worker says of itself. Versions may know more or fewer fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct About {
    /// The name of its machine.
    pub host: String,
    /// Its process.
    pub pid: u32,
    /// The version of oncue.
    pub version: String,
    /// When it was started, ms since the epoch by its own clock.
    pub started: u64,
    /// Where it is in its life: `running`, `quiet`, `draining`.
    pub life: String,
    /// The queues it serves.
    pub queues: Vec<String>,
    /// The kinds it handles.
    pub kinds: Vec<String>,
    /// How many tasks it may run at once.
    pub slots: usize,
    /// How many it has in hand.
    pub running: usize,
    /// How it is: `ok`, `degraded`, `failing`.
    pub health: String,
    /// Why it is not ok.
    pub reasons: Vec<String>,
}

/// A sign of life of a worker itself, beside those of its sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Who.
    pub worker: WorkerId,
    /// What it says of itself.
    pub about: About,
    /// How long it counts as there without another beat.
    pub lasts: Duration,
}

/// A worker that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// Who.
    pub worker: WorkerId,
    /// What it said of itself.
    pub about: About,
    /// Until when it counts as there.
    pub until: Timestamp,
    /// What it has been told to do.
    pub orders: Orders,
}

/// What an operator tells a worker. It never goes back: a worker that is quiet stays so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Claim nothing more.
    Quiet,
    /// Shut down as on SIGTERM.
    Stop,
    /// Start the handler of this kind anew.
    Restart(Kind),
}

/// What operators want of a worker: all of it, each time, so that nothing hangs on one reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Orders {
    /// Claim nothing more.
    pub quiet: bool,
    /// Shut down.
    pub stop: bool,
    /// Kinds whose handler is to be started anew, and how often each was asked for in all; up to [`RESTARTS_MAX`].
    pub restart: Vec<(Kind, u64)>,
    /// Tasks in its hands that are cancelled.
    pub cancel: Vec<TaskId>,
}

impl Presence {
    /// What it says, as it is stored.
    ///
    /// # Errors
    /// Over [`ABOUT_BYTES_MAX`] it [`is_too_large`](Error::is_too_large).
    pub fn encode(&self) -> Result<String> {
        let json = serde_json::to_string(&self.about)
            .map_err(|error| Error::invalid("a presence that is no JSON").because(error))?;
        if json.len() > ABOUT_BYTES_MAX {
            return Err(Error::too_large(format!(
                "a presence of {} bytes; at most {ABOUT_BYTES_MAX}",
                json.len()
            )));
        }
        Ok(json)
    }
}

impl About {
    /// What was stored. What cannot be read is shown empty: it must not hide the other workers.
    pub fn decode(json: &[u8]) -> Self {
        serde_json::from_slice(json).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_know_more_or_less_understand_each_other() {
        let about = About::decode(br#"{"host":"a","pid":7,"colour":"blue"}"#);
        assert_eq!((about.host.as_str(), about.pid, about.running), ("a", 7, 0));
        assert_eq!(About::decode(b"\x9a{{"), About::default());
    }

    #[test]
    fn an_id_reads_as_it_prints_and_a_huge_presence_is_refused() {
        let worker = WorkerId::fresh();
        assert_eq!(worker.to_string().parse::<WorkerId>().expect("parses"), worker);
        assert!("worker-1".parse::<WorkerId>().expect_err("no id").is_invalid());
        let queues = vec!["q".repeat(ABOUT_BYTES_MAX)];
        let about = About { queues, ..About::default() };
        let presence = Presence { worker, about, lasts: Duration::ZERO };
        assert!(presence.encode().expect_err("huge").is_too_large());
    }
}
