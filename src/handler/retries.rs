//! When a failed task of a kind runs again: by the class of its failure, by its own word, by the kind's.

use crate::envelope::Header;
use crate::error::Error;
use crate::outcome::{Outcome, Retry};
use crate::retry::RetryPolicy;
use crate::task::{CLASS_BYTES_MAX, plain_class};

use super::Registration;

/// Most classes with a policy of their own.
const CLASSES_MAX: usize = 64;

/// The retry policies of a kind.
#[derive(Default)]
pub(crate) struct Retries {
    pub(crate) policy: RetryPolicy,
    classes: Vec<(String, RetryPolicy)>,
}

impl Retries {
    pub(crate) fn new(policy: RetryPolicy) -> Self {
        Self { policy, classes: Vec::new() }
    }

    /// The policy for a run of this task that ended so.
    pub(crate) fn after(&self, outcome: &Outcome, header: Option<&Header>) -> RetryPolicy {
        let (class, retry) = match outcome {
            Outcome::Failed { class, retry } | Outcome::Uncounted { class, retry } => {
                (class, retry)
            }
            _ => return self.policy,
        };
        if *retry == Retry::Never {
            return self.policy;
        }
        let by_class = self.classes.iter().find(|(known, _)| known == class);
        let own = || header.and_then(Header::retry);
        by_class.map(|(_, policy)| *policy).or_else(own).unwrap_or(self.policy)
    }
}

impl Registration {
    /// How long to wait before each retry, in place of what its type says. A task with a
    /// [policy of its own](crate::Draft::retry) keeps that.
    #[must_use]
    pub fn retry(self, policy: RetryPolicy) -> Self {
        self.with(|route| {
            policy.check()?;
            route.retries.policy = policy;
            Ok(())
        })
    }

    /// How long to wait after a failure of this [class](crate::TaskError::class), before all other policies.
    ///
    /// ```
    /// use std::time::Duration;
    /// use oncue::RetryPolicy;
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Fetch(String);
    /// # impl oncue::Task for Fetch { const KIND: &'static str = "fetch"; }
    /// # async fn fetch(_: Fetch) -> oncue::TaskResult { Ok(()) }
    /// let handler = oncue::function(fetch)
    ///     .retry_on("timeout", RetryPolicy::fixed(Duration::from_secs(5)).front())
    ///     .retry_on("too_many_requests", RetryPolicy::fixed(Duration::from_secs(600)));
    /// ```
    #[must_use]
    pub fn retry_on(self, class: &str, policy: RetryPolicy) -> Self {
        self.with(|route| {
            policy.check()?;
            if class.is_empty() || plain_class(class) != class {
                return Err(Error::invalid(format!(
                    "{class:?} is no class; use 1 to {CLASS_BYTES_MAX} visible ASCII characters"
                )));
            }
            let classes = &mut route.retries.classes;
            classes.retain(|(known, _)| known != class);
            if classes.len() == CLASSES_MAX {
                return Err(Error::too_large(format!(
                    "more than {CLASSES_MAX} classes of failures"
                )));
            }
            classes.push((class.to_owned(), policy));
            Ok(())
        })
    }
}
