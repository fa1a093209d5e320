//! A lock: what makes a task the only one of its sort in its queue.
//!
//! A lock has names, and belongs to the task that took it. It is no lease: nothing has to be renewed, and it says nothing
//! about who runs the task. A broker sees HMACs for names, never what is unique about a task.

use std::fmt;
use std::time::Duration;

pub use crate::task::{Conflict, Hold};

/// Most names of one lock.
pub const LOCK_NAMES_MAX: usize = 4;

/// The name of a lock within its queue: an HMAC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockName(pub [u8; 16]);

impl fmt::Debug for LockName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a new task wants to be the only one of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// One name under each index key there is, so that all who know any of them agree. Held by another task under any
    /// of them it is held; it is taken under all.
    pub names: Vec<LockName>,
    /// When it is released.
    pub hold: Hold,
    /// How long it is held at most, counted from when the task is due as it is stored, or moved by another; none: without
    /// limit.
    pub lasts: Option<Duration>,
    /// What happens if another task holds it.
    pub conflict: Conflict,
    /// For [`Conflict::Replace`] and [`Conflict::Reschedule`]: no due time is later than this after the lock was first
    /// taken; a task that replaces another inherits that time.
    pub within: Option<Duration>,
}
