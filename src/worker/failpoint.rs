//! Planned panics in the actors of a worker, for tests. Compiled only with the feature `failpoints`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// How often each named place is still to panic.
#[derive(Debug, Default)]
pub struct FailPoints(Mutex<HashMap<&'static str, usize>>);

impl FailPoints {
    /// The next `times` passes of a place panic. Places: `supervisor`, `heartbeater`, `processor`,
    /// `scheduler`, `fetcher`.
    pub fn panic(&self, place: &'static str, times: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(place, times);
    }

    /// How many panics of a place are still ahead.
    pub fn left(&self, place: &'static str) -> usize {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        left.get(place).copied().unwrap_or(0)
    }

    pub(crate) fn hit(&self, place: &'static str) {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(left) = places.get_mut(place).filter(|left| **left > 0) {
            *left -= 1;
            drop(places);
            panic!("planned panic of the {place}");
        }
    }
}
