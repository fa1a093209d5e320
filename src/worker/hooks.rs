//! Hooks: what a worker tells of runs that failed and of tasks it archived, with the message opened.
//!
//! Told after the broker wrote it, so that what is told is so; who is killed in between tells nothing. They change
//! nothing. Facts without a byte of what is sealed are [`event`](crate::event)s.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::envelope::Stored;
use crate::outcome::Decision;
use crate::queue::{Kind, QueueName};
use crate::state::Reason;
use crate::task::{TaskId, Trail};

use super::Shared;

/// A hook: called with what it is told.
type Hook = Arc<dyn Fn(&Failed) + Send + Sync>;

/// The hooks of a worker.
#[derive(Default)]
pub(crate) struct Hooks {
    pub(super) error: Vec<Hook>,
    pub(super) archive: Vec<Hook>,
}

/// A run that failed, or a task that was archived: which, and why.
#[derive(Clone)]
#[non_exhaustive]
pub struct Failed {
    /// The task.
    pub id: TaskId,
    /// Its kind. Of a task that was never opened here it is the broker's word.
    pub kind: Kind,
    /// The queue it came from.
    pub queue: QueueName,
    /// How many attempts it had, with the one that ended now, if one did.
    pub attempt: u32,
    /// The class of the failure; none if no run failed: the task expired, was cancelled, took down its worker...
    pub class: Option<String>,
    /// What the last failure said, opened: it may be secret. Empty if there was none, or it does not open here.
    pub message: String,
    /// What became of the task.
    pub decision: Decision,
}

impl Failed {
    /// Why it is archived, if it is.
    pub fn reason(&self) -> Option<Reason> {
        match self.decision {
            Decision::Archive(reason) => Some(reason),
            _ => None,
        }
    }
}

/// The message may be secret: only its length is shown.
impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, kind, queue, attempt, class, message, decision } = self;
        let message = message.len();
        write!(
            f,
            "Failed {{ {kind} {id} of {queue}, attempt {attempt}, {class:?}, message: {message} bytes, {decision:?} }}"
        )
    }
}

impl Hooks {
    /// Whether somebody is to be told of an end like this.
    fn hears(&self, class: Option<&String>, decision: Decision) -> bool {
        class.is_some() && !self.error.is_empty()
            || matches!(decision, Decision::Archive(_)) && !self.archive.is_empty()
    }

    /// Calls the hooks this is for. A panic in a hook is the hook's own.
    pub(super) fn tell(&self, failed: &Failed) {
        let error = self.error.iter().filter(|_| failed.class.is_some());
        let archive = self.archive.iter().filter(|_| failed.reason().is_some());
        for hook in error.chain(archive) {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| hook(failed))) {
                let (id, panic) = (failed.id, crate::panic::text(panic));
                tracing::error!(%id, panic, "a hook panicked");
            }
        }
    }
}

/// What is known of an end once it is decided.
pub(super) struct Ended<'a> {
    pub(super) id: TaskId,
    pub(super) queue: &'a QueueName,
    /// As it is after this end.
    pub(super) trail: &'a Trail,
    pub(super) attempt: u32,
    pub(super) class: Option<&'a String>,
    pub(super) decision: Decision,
    /// The message of this end; empty if there is none.
    pub(super) said: &'a str,
    /// The record, which opens the message of an earlier failure.
    pub(super) stored: Option<&'a Stored>,
}

impl Shared {
    /// What the hooks are to be told of this end, once it is written; nothing if there is no hook for it.
    pub(super) fn failed(&self, ended: &Ended<'_>, kind: &Kind) -> Option<Box<Failed>> {
        let Ended { id, queue, trail, attempt, class, decision, said, stored } = *ended;
        if !self.hooks.hears(class, decision) {
            return None;
        }
        let message = match (said, stored) {
            ("", Some(stored)) => self.sealer.open_failure(stored, trail).unwrap_or_default(),
            _ => said.to_owned(),
        };
        let (kind, queue, class) = (kind.clone(), queue.clone(), class.cloned());
        Some(Box::new(Failed { id, kind, queue, attempt, class, message, decision }))
    }
}
