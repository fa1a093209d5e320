//! A task whose type is not known here: a kind and a payload in JSON, as tools enqueue it.
//!
//! It has the defaults of [`Task`](super::Task), not those of its kind, which only the kind's type knows.

use std::fmt;

use serde::de::IgnoredAny;

use crate::error::{Error, Result};
use crate::queue::Kind;

use super::Draft;

/// A kind and a payload in JSON; see [`Client::enqueue_raw`](crate::Client::enqueue_raw).
#[derive(Clone)]
pub struct RawTask {
    pub(crate) kind: Kind,
    pub(crate) payload: String,
}

impl RawTask {
    /// Checks kind and payload; what is not one JSON value [`is_invalid`](Error::is_invalid). Whether it
    /// has the shape the handler wants is found out by the handler.
    pub fn json(kind: &str, payload: &str) -> Result<Self> {
        let kind = Kind::parse(kind)?;
        let payload = payload.trim();
        serde_json::from_str::<IgnoredAny>(payload)
            .map_err(|error| Error::invalid("the payload is not JSON").because(error))?;
        Ok(Self { kind, payload: payload.to_owned() })
    }

    /// This task with options of its own.
    pub fn draft(self) -> Draft<Self> {
        Draft::new(self)
    }
}

impl From<RawTask> for Draft<RawTask> {
    fn from(task: RawTask) -> Self {
        Self::new(task)
    }
}

impl fmt::Debug for RawTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawTask {{ {}, payload: {} bytes }}", self.kind, self.payload.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_json_value_of_a_good_kind_is_taken() {
        assert_eq!(
            RawTask::json("a:b", " {\"n\": 1e400} \n").expect("json").payload,
            "{\"n\": 1e400}"
        );
        for (kind, payload) in [("a", ""), ("a", "{"), ("a", "1 2"), ("A", "1")] {
            assert!(RawTask::json(kind, payload).expect_err(payload).is_invalid());
        }
    }
}
