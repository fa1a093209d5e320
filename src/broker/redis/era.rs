//! Eras: from one connection to the next. A session claims in one era only.
//!
//! Between two connections the server may have been replaced by one with older data, in which the session holds
//! claims its worker settled long ago. Beats would keep those for ever. So the session is fenced at its first claim
//! in a new era; its worker retires it, which hands back what it does not know of, and claims under a new one.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::broker::SessionId;

/// Most sessions that are remembered. A worker has one a queue and lane at a time; those that were lost without
/// being retired are forgotten so.
const SESSIONS_MAX: usize = 10_000;

/// In which era each session claimed first.
#[derive(Default)]
pub(super) struct Eras(Mutex<State>);

#[derive(Default)]
struct State {
    present: u64,
    sessions: HashMap<SessionId, u64>,
}

impl Eras {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection was lost, or replaced.
    pub(super) fn end(&self) {
        self.lock().present += 1;
    }

    /// Whether a session may claim; if it is new, from now on in this era.
    pub(super) fn admit(&self, session: SessionId) -> bool {
        let mut state = self.lock();
        let present = state.present;
        if state.sessions.len() >= SESSIONS_MAX {
            state.sessions.retain(|_, era| *era == present);
        }
        *state.sessions.entry(session).or_insert(present) == present
    }

    /// A session claims no more.
    pub(super) fn forget(&self, session: SessionId) {
        self.lock().sessions.remove(&session);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_claims_in_one_era() {
        let (eras, old, new) = (Eras::default(), SessionId::fresh(), SessionId::fresh());
        assert!(eras.admit(old) && eras.admit(old));
        eras.end();
        assert!(!eras.admit(old) && !eras.admit(old) && eras.admit(new));
        eras.forget(old);
        assert_eq!(eras.lock().sessions.len(), 1);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let eras = Eras::default();
        for _ in 0..SESSIONS_MAX * 2 {
            eras.admit(SessionId::fresh());
            eras.end();
        }
        assert!(eras.lock().sessions.len() <= SESSIONS_MAX);
    }
}
