//! The identity of a task: sixteen bytes, written as a UUID.
//!
//! Made by the client (UUIDv7, so ids sort by time) or derived from a caller's own key (UUIDv8 of an
//! HMAC under the keyring's index key, see [`seal`](crate::seal)): never a digest of plaintext.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Error, Result};

/// The identity of a task within its queue.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(Uuid);

impl TaskId {
    /// A fresh id, larger than those made before it.
    pub fn fresh() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id that sixteen keyed-hash bytes stand for, marked as UUIDv8.
    pub fn derived(bytes: [u8; 16]) -> Self {
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// The id stored as these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The sixteen bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for TaskId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Uuid::try_parse(text).map(Self).map_err(|error| {
            Error::invalid("a task id is a UUID, as printed by `oncue task list`").because(error)
        })
    }
}
