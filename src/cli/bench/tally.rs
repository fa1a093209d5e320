//! Which tasks of the bench ran, and how often: a byte a task.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use oncue::event::Event;
use oncue::outcome::Decision;
use tokio::sync::Notify;

use super::STALL;

/// Runs by task number.
pub(super) struct Tally {
    runs: Vec<AtomicU8>,
    duplicates: AtomicU64,
    settled: AtomicU64,
    wanted: AtomicU64,
    reached: Notify,
}

impl Tally {
    pub(super) fn new(tasks: usize) -> Self {
        Self {
            runs: (0..tasks).map(|_| AtomicU8::new(0)).collect(),
            duplicates: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            wanted: AtomicU64::new(u64::MAX),
            reached: Notify::new(),
        }
    }

    /// A task of this number runs.
    pub(super) fn ran(&self, number: u64) {
        let runs = usize::try_from(number).ok().and_then(|number| self.runs.get(number));
        if runs.is_some_and(|runs| runs.fetch_add(1, Ordering::Relaxed) > 0) {
            self.duplicates.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Something happened in the worker.
    pub(super) fn note(&self, event: &Event) {
        if let Event::Settled { decision: Decision::Complete(_), .. } = event {
            let settled = self.settled.fetch_add(1, Ordering::AcqRel) + 1;
            if settled >= self.wanted.load(Ordering::Acquire) {
                self.reached.notify_one();
            }
        }
    }

    /// Waits until this many settlements were written; no longer once nothing happens any more: what is
    /// missing is told by [`lost`](Self::lost).
    pub(super) async fn settled(&self, wanted: u64) {
        self.wanted.store(wanted, Ordering::Release);
        let mut before = None;
        loop {
            let settled = self.settled.load(Ordering::Acquire);
            if settled >= wanted {
                return;
            }
            if tokio::time::timeout(STALL, self.reached.notified()).await.is_err() {
                if before == Some(settled) {
                    return tracing::error!(settled, wanted, "nothing ends any more");
                }
                before = Some(settled);
            }
        }
    }

    /// Tasks of these numbers that never ran.
    pub(super) fn lost(&self, numbers: std::ops::Range<u64>) -> u64 {
        let ran = |number: &u64| {
            let runs = usize::try_from(*number).ok().and_then(|number| self.runs.get(number));
            runs.is_some_and(|runs| runs.load(Ordering::Relaxed) > 0)
        };
        numbers.filter(|number| !ran(number)).count() as u64
    }

    pub(super) fn duplicates(&self) -> u64 {
        self.duplicates.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ran_twice_and_what_never_ran_is_told() {
        let tally = Tally::new(3);
        [0, 2, 2, 2, 9].into_iter().for_each(|number| tally.ran(number));
        assert_eq!((tally.lost(0..3), tally.duplicates()), (1, 2));
    }
}
