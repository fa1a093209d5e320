//! Where a Redis is and how to talk to it.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::error::{Error, Result};

/// How to reach Redis, and the namespace of its keys.
#[derive(Clone)]
pub struct Options {
    pub(super) url: String,
    pub(super) namespace: String,
    pub(super) response_timeout: Duration,
    /// Tests move the time of the broker's functions with it; otherwise the server's time counts.
    pub(super) clock: Option<Arc<dyn Clock>>,
    #[cfg(feature = "failpoints")]
    pub(super) mutant: Option<crate::broker::Mutant>,
}

impl Options {
    /// Reads a URL.
    pub fn parse(url: &str) -> Result<Self> {
        if url.is_empty() {
            return Err(Error::invalid("an empty URL"));
        }
        Ok(Self {
            url: url.to_owned(),
            namespace: "default".to_owned(),
            response_timeout: Duration::from_secs(5),
            clock: None,
            #[cfg(feature = "failpoints")]
            mutant: None,
        })
    }

    /// The namespace of the keys: `oncue:{namespace/queue}:...`. Default `default`.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Another clock than the server's: for tests.
    #[cfg(feature = "failpoints")]
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// A planted fault: for tests of the tests.
    #[cfg(feature = "failpoints")]
    #[must_use]
    pub fn mutant(mut self, mutant: Option<crate::broker::Mutant>) -> Self {
        self.mutant = mutant;
        self
    }
}
