//! The server's time, as well as it is known here.
//!
//! It is read from replies and carried on by a clock that counts suspension, so that a change of this
//! machine's wall clock does not move it.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use crate::clock::{Clock, SystemClock, Timestamp, boottime};

/// The last time the server told.
#[derive(Default)]
pub(super) struct ServerClock(Mutex<Option<(Timestamp, Duration)>>);

impl ServerClock {
    /// The server said it is this time, in a reply that just came.
    pub(super) fn set(&self, now: Timestamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, boottime()));
    }

    /// The server's time; this machine's until the server told.
    pub(super) fn now(&self) -> Timestamp {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((told, at)) => {
                let since = boottime().saturating_sub(at).as_millis();
                Timestamp(told.0.saturating_add(u64::try_from(since).unwrap_or(u64::MAX)))
            }
            None => SystemClock.now(),
        }
    }
}
