//! The fuse of a bench: counts the steps of a worker, and blows at one of them. From then on nothing its process asks
//! of the broker is answered, as if it had died there.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// A step: one moment before or after a call that writes, or after one that claimed tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Counted from 1.
    pub number: usize,
    /// The call.
    pub verb: &'static str,
    /// When.
    pub moment: Moment,
}

/// On which side of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// It is not made.
    Before,
    /// It took effect, and nobody hears the answer.
    After,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = match self.moment {
            Moment::Before => "before",
            Moment::After => "after",
        };
        write!(f, "at step {}, {moment} {}", self.number, self.verb)
    }
}

/// How the fuse is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    #[default]
    Whole,
    /// Whoever asked waits.
    Blown,
    /// The worker is told that it is dead; what its handlers asked still waits.
    Burying,
}

#[derive(Default)]
struct Count {
    /// At which step it blows.
    at: Option<usize>,
    seen: usize,
}

/// Blows once at most, unless it is set anew.
#[derive(Default)]
pub(super) struct Fuse {
    phase: watch::Sender<Phase>,
    blown: watch::Sender<Option<Step>>,
    count: Mutex<Count>,
    /// Calls that write and whose answer nobody has heard yet.
    writes: Arc<watch::Sender<usize>>,
}

/// One of them, until it is dropped.
pub(super) struct Write(Arc<watch::Sender<usize>>);

impl Drop for Write {
    fn drop(&mut self) {
        self.0.send_modify(|writes| *writes -= 1);
    }
}

impl Fuse {
    fn count(&self) -> MutexGuard<'_, Count> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts from now on, and blows at this step.
    pub(super) fn set(&self, at: usize) {
        *self.count() = Count { at: Some(at), seen: 0 };
    }

    /// Counts no longer; answers where it blew.
    pub(super) fn remove(&self) -> Option<Step> {
        self.count().at = None;
        *self.blown.borrow()
    }

    /// Counts a step; answers whether nobody lives to see what is beyond it.
    pub(super) fn step(&self, verb: &'static str, moment: Moment) -> bool {
        let mut count = self.count();
        if count.at.is_some() && !self.is_blown() {
            count.seen += 1;
            if count.at == Some(count.seen) {
                self.phase.send_replace(Phase::Blown);
                self.blown.send_replace(Some(Step { number: count.seen, verb, moment }));
            }
        }
        self.is_blown()
    }

    pub(super) fn is_blown(&self) -> bool {
        *self.phase.borrow() != Phase::Whole
    }

    /// Ends once it has blown.
    pub(super) async fn blown(&self) {
        let _ = self.blown.subscribe().wait_for(Option::is_some).await;
    }

    /// A call that writes begins.
    pub(super) fn write(&self) -> Write {
        self.writes.send_modify(|writes| *writes += 1);
        Write(self.writes.clone())
    }

    /// Ends once every step of what was written so far has been counted.
    pub(super) async fn written(&self) {
        let _ = self.writes.subscribe().wait_for(|writes| *writes == 0).await;
    }

    /// The worker is buried.
    pub(super) fn bury(&self) {
        self.phase.send_replace(Phase::Burying);
    }

    /// All is as before.
    pub(super) fn mend(&self) {
        self.phase.send_replace(Phase::Whole);
    }

    /// Whoever asks hangs here, until it is in one of these phases.
    pub(super) async fn hang(&self, until: &[Phase]) {
        let _ = self.phase.subscribe().wait_for(|phase| until.contains(phase)).await;
    }
}
