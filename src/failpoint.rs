//! Planned panics, for tests: in the actors of a worker, and in the threads of a broker.
//!
//! Without the feature `failpoints` a place is nothing, and nobody can plan anything.

#[cfg(feature = "failpoints")]
use std::collections::HashMap;
#[cfg(feature = "failpoints")]
use std::sync::{Arc, Mutex, PoisonError};

/// Which named places are still to panic, and how often. Each test hands its own to what is to die, so that none is
/// shared.
#[cfg(feature = "failpoints")]
#[derive(Debug, Default)]
pub struct FailPoints(Mutex<HashMap<&'static str, Plan>>);

/// What is planned for one place.
#[cfg(feature = "failpoints")]
#[derive(Debug)]
struct Plan {
    left: usize,
    every: usize,
    passes: usize,
}

#[cfg(feature = "failpoints")]
impl FailPoints {
    /// The next `times` passes of a place panic.
    ///
    /// | whose | places |
    /// |---|---|
    /// | a worker's | `supervisor`, `heartbeater`, `processor`, `scheduler`, `fetcher` |
    /// | SQLite's, outside of commands and queries | `oncue-writer`, `oncue-beats`, `oncue-reader`, `oncue-watchman` |
    /// | SQLite's | `sqlite command`, `sqlite query`, and around a commit `sqlite commit`, `sqlite reply` |
    /// | Redis's, outside of calls | `oncue-redis`, `oncue-beats`, `redis keeper` |
    /// | Redis's | around a call `redis call`, `redis answer`, around a pile's `redis flight`, `redis landing` |
    pub fn panic(&self, place: &'static str, times: usize) {
        self.panic_every(place, times, 1);
    }

    /// Of the next passes of a place each `every`th panics, `times` in all.
    pub fn panic_every(&self, place: &'static str, times: usize, every: usize) {
        let plan = Plan { left: times, every: every.max(1), passes: 0 };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(place, plan);
    }

    /// How many panics of a place are still ahead.
    pub fn left(&self, place: &'static str) -> usize {
        let places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.get(place).map_or(0, |plan| plan.left)
    }

    fn pass(&self, place: &'static str) {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(plan) = places.get_mut(place).filter(|plan| plan.left > 0) else { return };
        plan.passes += 1;
        if plan.passes.is_multiple_of(plan.every) {
            plan.left -= 1;
            drop(places);
            panic!("planned panic of the {place}");
        }
    }
}

/// What was planned for whoever holds this.
#[derive(Clone, Default)]
pub(crate) struct Planned(#[cfg(feature = "failpoints")] pub(crate) Arc<FailPoints>);

impl Planned {
    /// A place where tests plan a panic.
    pub(crate) fn pass(&self, _place: &'static str) {
        #[cfg(feature = "failpoints")]
        self.0.pass(_place);
    }
}
