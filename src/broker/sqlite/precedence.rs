//! Beats go first: the writer of beats says when it wants the lock, and the other lets it pass.
//!
//! SQLite's lock has no queue; a writer that takes it again at once could keep it for seconds.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long the group writer waits for a beat that wants the lock: another process may hold it.
const WAY_MAX: Duration = Duration::from_millis(20);

/// Whether a beat wants the lock.
#[derive(Default)]
pub(super) struct Precedence {
    wanted: Mutex<bool>,
    passed: Condvar,
}

/// While it lives the other writer waits. Empty for the one that gives way.
pub(super) struct Turn<'p>(Option<&'p Precedence>);

impl Precedence {
    fn wanted(&self) -> MutexGuard<'_, bool> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that a beat wants the lock.
    pub(super) fn take(&self) -> Turn<'_> {
        *self.wanted() = true;
        Turn(Some(self))
    }

    /// Lets a beat pass.
    pub(super) fn give_way(&self) -> Turn<'_> {
        // Poisoned or timed out: go on, SQLite's lock decides.
        let _ = self.passed.wait_timeout_while(self.wanted(), WAY_MAX, |wanted| *wanted);
        Turn(None)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(precedence) = self.0 {
            *precedence.wanted() = false;
            precedence.passed.notify_all();
        }
    }
}
