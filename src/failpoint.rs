//! Planned panics, for tests: in the actors of a worker, and in the threads of a broker.
//!
//! Without the feature `failpoints` a place is nothing, and nobody can plan anything.

#[cfg(feature = "failpoints")]
use std::collections::HashMap;
#[cfg(feature = "failpoints")]
use std::sync::{Arc, Mutex, PoisonError};

/// How often each named place is still to panic. It is handed to whatever is to die, so that tests do not share one.
#[cfg(feature = "failpoints")]
#[derive(Debug, Default)]
pub struct FailPoints(Mutex<HashMap<&'static str, usize>>);

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
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(place, times);
    }

    /// How many panics of a place are still ahead.
    pub fn left(&self, place: &'static str) -> usize {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        left.get(place).copied().unwrap_or(0)
    }

    fn pass(&self, place: &'static str) {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(left) = places.get_mut(place).filter(|left| **left > 0) {
            *left -= 1;
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
