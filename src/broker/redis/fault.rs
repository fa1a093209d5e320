//! What Redis's replies mean: the one place where they become ours.
//!
//! Every error of a call falls into one [`Class`], which says what to do next; the [`Error`] in it is what a
//! caller sees. Replies of our own functions carry a word of ours in front: `FENCED`, `QFULL`, `NEWER`.

use crate::error::Error;

/// What to do about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// The server is busy or starting: later.
    Transient,
    /// Whether the call took effect is unknown: connection lost, time over.
    Ambiguous,
    /// This is no primary any more: find the one there is.
    Failover,
    /// Memory or a limit is full.
    Full,
    /// The server keeps nothing safe at the moment.
    NotDurable,
    /// Credentials are wrong.
    Auth,
    /// This user may not do that.
    Denied,
    /// Our functions are not there.
    Undeployed,
    /// A word of our own functions.
    Domain,
    /// A bug, or keys that are not ours.
    Broken,
}

/// Why a call failed.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) class: Class,
    pub(super) error: Error,
}

impl Fault {
    pub(super) fn new(class: Class, error: Error) -> Self {
        Self { class, error }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        fault.error
    }
}

impl From<redis::RedisError> for Fault {
    fn from(error: redis::RedisError) -> Self {
        let text = error.to_string();
        let word = error.code().unwrap_or_default();
        let (class, error) = match word {
            "FENCED" => (Class::Domain, Error::fenced(detail(&error))),
            "QFULL" => (Class::Full, Error::full(detail(&error))),
            "OOM" => (Class::Full, Error::full("Redis is out of memory")),
            "NEWER" => (Class::Domain, Error::newer(detail(&error))),
            "INVALID" => (Class::Domain, Error::invalid(detail(&error))),
            "NOPERM" => (Class::Denied, Error::refused(text)),
            _ if text.contains("Function not found") => (Class::Undeployed, Error::refused(text)),
            _ if error.is_io_error() || error.is_timeout() || error.is_connection_dropped() => {
                (Class::Ambiguous, Error::unreachable(text))
            }
            _ => (Class::Broken, Error::corrupt(text)),
        };
        Self { class, error }
    }
}

fn detail(error: &redis::RedisError) -> String {
    error.detail().unwrap_or_default().to_owned()
}
