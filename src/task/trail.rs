//! The trail of a task: what happened to it so far.
//!
//! Exists only once something happened; written only by the holder of a claim. Crashes are counted
//! apart from attempts. The last error is sealed: a trail never holds plaintext of a task.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::codec;
use crate::error::{Error, Result};

/// Newest trail format this version writes and reads. The first did not say which crashes were alone.
const VERSION: u8 = 2;
/// Largest stored trail: a sealed error detail and a few counters.
pub(crate) const TRAIL_BYTES_MAX: usize = 16 * 1024;

/// Most crashes read from a stored trail, the latest; more than a policy counts.
const CRASHES_MAX: usize = 16;
/// Largest sealed detail read from a stored trail. Both leave room for what the next run adds: a trail
/// that cannot be written would keep those it is settled with from being settled.
const DETAIL_BYTES_MAX: usize = TRAIL_BYTES_MAX - 1024;

/// Longest class of a failure, in bytes.
pub const CLASS_BYTES_MAX: usize = 64;

/// A class fit for a clear field: at most [`CLASS_BYTES_MAX`] bytes of visible ASCII.
pub(crate) fn plain_class(class: &str) -> String {
    let visible = |c: char| if c.is_ascii_graphic() { c } else { '_' };
    class.chars().take(CLASS_BYTES_MAX).map(visible).collect()
}

/// One crash: a run whose worker went down, or whose thread was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crash {
    /// When it was found.
    pub at: Timestamp,
    /// Whether nothing else was in the hands of the worker.
    pub alone: bool,
}

/// What happened to a task so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trail {
    /// Failed runs that count against `max_retry`.
    pub attempts: u32,
    /// When a run took its worker down, oldest first; those older than 72 h are forgotten.
    pub crashes: Vec<Crash>,
    /// Whether a run is about to begin, or under way, with nothing else in the hands of its worker. Written by that
    /// worker: one that only waits for company to end is not alone.
    pub alone: bool,
    /// Since when no worker had the key for it.
    pub blocked: Option<Timestamp>,
    /// The class of the last failure, in clear.
    pub class: Option<String>,
    pub(crate) error: Option<Detail>,
}

/// The first format.
#[derive(Deserialize)]
struct First {
    attempts: u32,
    crashes: Vec<Timestamp>,
    alone: bool,
    blocked: Option<Timestamp>,
    class: Option<String>,
    error: Option<Detail>,
}

impl From<First> for Trail {
    fn from(first: First) -> Self {
        let First { attempts, crashes, alone, blocked, class, error } = first;
        let crashes = crashes.into_iter().map(|at| Crash { at, alone: false }).collect();
        Self { attempts, crashes, alone, blocked, class, error }
    }
}

/// The sealed detail of a failure and the attempt it belongs to.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Detail {
    pub(crate) attempt: u32,
    pub(crate) sealed: Vec<u8>,
}

impl std::fmt::Debug for Detail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Detail {{ attempt: {}, bytes: {} }}", self.attempt, self.sealed.len())
    }
}

impl Trail {
    /// Whether nothing happened yet: such a trail is not stored.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The stored form: a version byte and a bincode body.
    pub fn encode(&self) -> Result<Vec<u8>> {
        codec::to_bincode(&(VERSION, self), TRAIL_BYTES_MAX)
    }

    /// Reads a stored trail; a newer version [`is_newer`](Error::is_newer). It is not authenticated: its class
    /// is made fit to be shown, its lists are made fit to be written again.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut trail = match bytes.first() {
            Some(&VERSION) => codec::from_bincode::<(u8, Self)>(bytes, TRAIL_BYTES_MAX)?.1,
            Some(1) => codec::from_bincode::<(u8, First)>(bytes, TRAIL_BYTES_MAX)?.1.into(),
            Some(version) if *version > VERSION => {
                return Err(Error::newer(format!(
                    "trail format {version} is newer than {VERSION}; upgrade this process"
                )));
            }
            _ => return Err(Error::corrupt("trail without a format version")),
        };
        trail.class = trail.class.as_deref().map(plain_class);
        trail.crashes.drain(..trail.crashes.len().saturating_sub(CRASHES_MAX));
        trail.error.take_if(|detail| detail.sealed.len() > DETAIL_BYTES_MAX);
        Ok(trail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_cannot_forge_a_log_line() {
        assert_eq!(plain_class("a\r\nb c\u{1b}"), "a__b_c_");
        assert_eq!(plain_class(&"x".repeat(99)).len(), CLASS_BYTES_MAX);
        let forged = Trail { class: Some("a\r\nb".into()), attempts: 1, ..Trail::default() };
        let read = Trail::decode(&forged.encode().expect("encodes")).expect("decodes");
        assert_eq!((read.class.as_deref(), read.attempts), (Some("a__b"), 1));
    }
}
