//! Pickup: the time from the call that enqueues a task to the start of its handler, in one process.
//!
//! The start is stamped into a sealed header right before the call, by this process's monotonic clock, so
//! everything counts: sealing, the commit, the wake-up, the claim, opening. Retries are not counted.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use oncue::{Draft, Task, TaskContext};

/// The header that holds the stamp.
const HEADER: &str = "stamp";

/// Pickup times, as they come in.
pub(super) struct Pickups {
    start: Instant,
    seen: Mutex<Vec<u64>>,
}

impl Pickups {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), seen: Mutex::default() }
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Stamps a task that is enqueued now.
    pub(super) fn stamped<T: Task>(&self, task: T) -> Draft<T> {
        task.draft().header(HEADER, self.now_us().to_string())
    }

    /// A handler starts.
    pub(super) fn started(&self, context: &TaskContext) {
        let now = self.now_us();
        let stamp = context.header(HEADER).and_then(|stamp| stamp.parse::<u64>().ok());
        if let (Some(stamp), 1) = (stamp, context.attempt()) {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.push(now.saturating_sub(stamp));
        }
    }

    /// The time within which this share of the tasks was picked up; none if there were none.
    pub(super) fn percentile(&self, share: f64) -> Option<u64> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        seen.sort_unstable();
        let rank = (share * seen.len() as f64).ceil() as usize;
        seen.get(rank.max(1) - 1).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let pickups = Pickups::new();
        assert_eq!(pickups.percentile(0.5), None);
        pickups.seen.lock().expect("lock").extend((1..=200).rev());
        assert_eq!((pickups.percentile(0.5), pickups.percentile(0.99)), (Some(100), Some(198)));
    }
}
