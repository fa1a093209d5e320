//! What is enqueued: every number stands for one task, and number and seed say which.
//!
//! Pure, so that producers, workers and the check agree without asking each other.

use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::dice::mixed;

/// How long a session lives without a beat: short, so that losses show.
pub(super) const LEASE: Duration = Duration::from_secs(2);
/// Tasks per task that takes its process down, and the most of these.
const POISON_EVERY: u64 = 500;
const POISONS_MAX: u64 = 5;
/// Tasks per task that blocks a thread, and the most of these.
const HOG_EVERY: u64 = 250;
const HOGS_MAX: u64 = 10;

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Takes some milliseconds.
    Short,
    /// Fails the first time.
    Flaky,
    /// Puts itself off while it is young.
    Snoozing,
    /// Blocks a thread made for that.
    Blocking,
    /// Runs longer than a stop.
    Long,
    /// Gathers with others, and runs with them.
    Grouped,
    /// Is due a little later.
    Later,
    /// Blocks a thread that is not made for it. Enqueued as a fault, not by producers.
    Hog,
    /// Aborts its process, every time.
    Poison,
}

/// All that is to be enqueued.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) tasks: u64,
}

impl Plan {
    /// The numbers that are enqueued as faults.
    pub(super) fn hogs(self) -> Range<u64> {
        self.tasks - (self.tasks / HOG_EVERY).min(HOGS_MAX)..self.tasks
    }

    /// The numbers of one producer of so many.
    pub(super) fn share(self, share: u64, of: u64) -> Range<u64> {
        let all = self.hogs().start;
        all * share / of..all * (share + 1) / of
    }

    /// Early ones: each needs four leases to end.
    fn is_poison(self, number: u64) -> bool {
        let (all, count) = (self.hogs().start, (self.tasks / POISON_EVERY).clamp(1, POISONS_MAX));
        (0..count).any(|poison| number == (2 * poison + 1) * all / (8 * count))
    }

    fn chance(self, number: u64) -> u64 {
        mixed(self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(super) fn work(self, number: u64) -> Work {
        if self.hogs().contains(&number) {
            return Work::Hog;
        }
        if self.is_poison(number) {
            return Work::Poison;
        }
        match self.chance(number) % 100 {
            0..8 => Work::Flaky,
            8..14 => Work::Snoozing,
            14..26 => Work::Blocking,
            26..31 => Work::Later,
            31 => Work::Long,
            32..44 => Work::Grouped,
            _ => Work::Short,
        }
    }

    /// How long a run of it takes.
    pub(super) fn takes(self, number: u64) -> Duration {
        let share = (self.chance(number) >> 32) as f64 / f64::from(u32::MAX);
        let lease = LEASE.as_secs_f64();
        let seconds = match self.work(number) {
            Work::Long => lease * (1.0 + 2.2 * share),
            Work::Hog => lease * (0.5 + 2.5 * share),
            Work::Blocking => 0.02 + 0.06 * share,
            _ => 0.005 + 0.02 * share,
        };
        Duration::from_secs_f64(seconds)
    }

    /// Numbers of tasks that take their process down.
    pub(super) fn poisons(self) -> impl Iterator<Item = u64> {
        (0..self.tasks).filter(move |number| self.work(*number) == Work::Poison)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plan_has_all_it_can_have() {
        for tasks in [1, 2, 99, 250, 2_000, 100_000] {
            let plan = Plan { seed: 7, tasks };
            let poisons = plan.poisons().count() as u64;
            assert_eq!(poisons, (tasks / POISON_EVERY).clamp(1, POISONS_MAX), "{tasks}");
            assert_eq!(plan.share(0, 2).end, plan.share(1, 2).start);
            assert_eq!(plan.share(1, 2).end, plan.hogs().start);
        }
        let plan = Plan { seed: 7, tasks: 2_000 };
        for work in [
            Work::Short,
            Work::Flaky,
            Work::Snoozing,
            Work::Blocking,
            Work::Long,
            Work::Grouped,
            Work::Later,
            Work::Hog,
            Work::Poison,
        ] {
            assert!((0..2_000).any(|number| plan.work(number) == work), "{work:?}");
        }
    }
}
