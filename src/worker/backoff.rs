//! Backoff: how long a broker that failed is left alone.

use std::time::Duration;

use crate::broker::Wake;

use super::Shared;
use super::config::{BACKOFF, chance};

/// The pause after a failure, twice as long each time.
pub(crate) struct Backoff(Duration);

impl Backoff {
    pub(crate) fn new() -> Self {
        Self(BACKOFF.0)
    }

    /// The broker answered.
    pub(crate) fn reset(&mut self) {
        self.0 = BACKOFF.0;
    }

    /// How long the next rest is at most.
    pub(crate) fn longest(&self) -> Duration {
        self.0
    }

    /// Rests. A wake-up since the mark, taken before the call that failed, ends it early: a broker that was
    /// reached again wakes everybody. Never at once, or one that wakes for nothing would be called in a loop.
    pub(crate) async fn rest(&mut self, shared: &Shared, wake: Wake, mark: Option<u64>) {
        let more = (self.0 - BACKOFF.0).mul_f64(chance());
        self.0 = (self.0 * 2).min(BACKOFF.1);
        tokio::time::sleep(BACKOFF.0).await;
        tokio::select! {
            () = shared.woken(wake, mark) => {}
            () = tokio::time::sleep(more) => {}
        }
    }
}
