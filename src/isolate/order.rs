//! What worker and child say to one another, in this order. All of it is bounded by the frame it travels in.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::limits::Limits;
use super::program::Program;

/// Keeper to worker, before anything is said to the child: it is in its group.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    /// Why it has none, in words.
    pub(super) ungrouped: Option<String>,
}

/// Worker to child, first: put this on.
#[derive(Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) limits: Limits,
    /// How many tasks it is to run, one after the other.
    pub(super) calls: u32,
    /// What to become; without: this binary again.
    pub(super) program: Option<Program>,
    /// Why no control group bounds how many processes it may start, if it may.
    pub(super) ungrouped: Option<String>,
}

/// Child to worker: the cage is on.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Caged {
    /// What this system cannot enforce, in words.
    pub(super) lacks: Vec<String>,
    /// Why it cannot be put on at all.
    pub(super) failed: Option<String>,
}

/// Worker to child: become the program; what follows is its standard input.
#[derive(Serialize, Deserialize)]
pub(super) struct Go;

/// Child to worker: inside the cage, knowing these handlers.
#[derive(Serialize, Deserialize)]
pub(super) struct Ready {
    /// Kinds, and the names their handlers have in the program.
    pub(super) handlers: Vec<(String, String)>,
}

/// Worker to child: run this task. Its payload is wiped when it is dropped.
#[derive(Serialize, Deserialize)]
pub(crate) struct Call {
    pub(crate) kind: String,
    pub(crate) codec: u8,
    pub(crate) version: u16,
    pub(crate) body: Vec<u8>,
    /// Whether a result would be kept.
    pub(crate) keep: bool,
    pub(crate) id: [u8; 16],
    pub(crate) queue: String,
    pub(crate) attempt: u32,
    pub(crate) max_retry: u32,
    pub(crate) created: u64,
    pub(crate) deadline: Option<u64>,
    pub(crate) headers: Vec<(String, String)>,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.body.zeroize();
    }
}

/// Child to worker, while a task runs: what is to be noted beside it. Whoever hears it must check it.
#[derive(Serialize, Deserialize)]
pub(crate) enum Word {
    /// How far it is, as JSON.
    Progress(Vec<u8>),
    /// A line of its log.
    Line(String),
}

/// Where a handler in a child says it.
pub(crate) type Tell = Arc<dyn Fn(Word) + Send + Sync>;

/// Child to worker: any number of words, then the answer.
#[derive(Serialize, Deserialize)]
pub(super) enum Said {
    Word(Word),
    /// To which of the calls it had, counted from 1.
    Answer(u64, Answer),
}

/// Child to worker, in the end: what the handler said.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done(Option<Vec<u8>>),
    /// After this delay if there is one, by the kind's policy if not.
    Failed {
        class: String,
        message: String,
        after: Option<Duration>,
        /// Whether it counts.
        counts: bool,
    },
    Never {
        class: String,
        message: String,
    },
    Snoozed(Duration),
    Revoked,
    /// A newer version wrote the payload.
    Newer {
        message: String,
    },
}
