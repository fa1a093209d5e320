//! What this process knows of the demo's tasks: how many it enqueued, and how each ended.
//!
//! It hears of ends from the worker's events, so it is a second witness beside the broker's counts.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use oncue::event::Event;
use oncue::outcome::Decision;
use oncue::state::Reason;
use oncue::{Error, Result, Task, TaskId};
use tokio::sync::watch;

use super::tasks::{DigestFile, FlakyFetch, Greet, LaterNote, Probe, ReportTree};

/// The demo gives up when nothing ends for this long: longer than any one run may take.
const STALL: Duration = Duration::from_secs(90);

/// Every kind, in the order in which it is shown.
pub(super) const KINDS: [&str; 6] = [
    DigestFile::KIND,
    ReportTree::KIND,
    FlakyFetch::KIND,
    Greet::KIND,
    LaterNote::KIND,
    Probe::KIND,
];

/// Counts of one kind.
#[derive(Clone, Copy, Default)]
pub(super) struct Count {
    pub(super) enqueued: u64,
    pub(super) completed: u64,
    pub(super) archived: u64,
}

impl Count {
    /// Tasks that will not run again.
    pub(super) fn ended(self) -> u64 {
        self.completed + self.archived
    }
}

/// Counts of all kinds.
#[derive(Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) kinds: [Count; KINDS.len()],
    pub(super) retried: u64,
    pub(super) restarts: u64,
    /// Files that could not be read.
    pub(super) unreadable: u64,
}

impl Tally {
    /// The counts of one kind.
    pub(super) fn of<T: Task>(&self) -> Count {
        position(T::KIND).map_or(Count::default(), |at| self.kinds[at])
    }

    /// The counts of all kinds together.
    pub(super) fn all(&self) -> Count {
        self.kinds.iter().fold(Count::default(), |sum, kind| Count {
            enqueued: sum.enqueued + kind.enqueued,
            completed: sum.completed + kind.completed,
            archived: sum.archived + kind.archived,
        })
    }
}

fn position(kind: &str) -> Option<usize> {
    KINDS.iter().position(|known| *known == kind)
}

/// The ledger.
pub(super) struct Ledger {
    tally: watch::Sender<Tally>,
    /// Each task ends once.
    ended: Mutex<HashSet<TaskId>>,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self { tally: watch::Sender::new(Tally::default()), ended: Mutex::default() }
    }

    /// The counts now.
    pub(super) fn tally(&self) -> Tally {
        *self.tally.borrow()
    }

    /// This many tasks of a kind were stored.
    pub(super) fn enqueued<T: Task>(&self, count: usize) {
        if let Some(at) = position(T::KIND) {
            self.tally.send_modify(|tally| tally.kinds[at].enqueued += count as u64);
        }
    }

    /// Something happened in the worker.
    pub(super) fn note(&self, event: &Event) {
        match event {
            Event::Restarted { .. } => self.tally.send_modify(|tally| tally.restarts += 1),
            Event::Settled { id, kind, decision, .. } => match decision {
                Decision::Retry(_) => self.tally.send_modify(|tally| tally.retried += 1),
                Decision::Complete(_) | Decision::Archive(_) => {
                    let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
                    let (first, at) = (ended.insert(*id), position(kind.as_str()));
                    drop(ended);
                    if let (true, Some(at)) = (first, at) {
                        self.tally.send_modify(|tally| tally.end(at, *decision));
                    }
                }
                _ => {}
            },
            _ => {}
        }
    }

    /// Waits until the counts are so.
    pub(super) async fn until(&self, so: impl Fn(&Tally) -> bool) -> Result<()> {
        let mut seen = self.tally.subscribe();
        while !so(&seen.borrow_and_update()) {
            if tokio::time::timeout(STALL, seen.changed()).await.is_err() {
                return Err(Error::timeout(format!("no task ended for {STALL:?}")));
            }
        }
        Ok(())
    }
}

impl Tally {
    fn end(&mut self, at: usize, decision: Decision) {
        match decision {
            Decision::Archive(reason) => {
                self.kinds[at].archived += 1;
                let file = KINDS[at] == DigestFile::KIND;
                self.unreadable += u64::from(file && reason == Reason::SkipRetry);
            }
            _ => self.kinds[at].completed += 1,
        }
    }
}
