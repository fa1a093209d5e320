//! How long to wait before a failed task runs again.
//!
//! Pure arithmetic: the randomness is an argument. Whether a task is retried at all is decided in
//! [`outcome`](crate::outcome), not here.

use std::time::Duration;

use crate::error::{Error, Result};

/// Exponential backoff with jitter and a cap.
///
/// The n-th retry waits `min * factor^(n-1)`, at most `max`, spread by `±jitter`.
/// The default (1 s, doubling, at most 6 h, ±20 %) lets 25 retries span about three days.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Wait before the first retry.
    pub min: Duration,
    /// Longest wait.
    pub max: Duration,
    /// Growth from one retry to the next; below 1 counts as 1.
    pub factor: f64,
    /// Spread, as a share of the wait: 0 to 1.
    pub jitter: f64,
    /// Whether the task then goes before all that waits, in place of behind it.
    pub front: bool,
}

impl RetryPolicy {
    /// The policy of a task that names none.
    pub const DEFAULT: Self = Self {
        min: Duration::from_secs(1),
        max: Duration::from_secs(6 * 3600),
        factor: 2.0,
        jitter: 0.2,
        front: false,
    };

    /// The same wait before every retry, without jitter.
    pub const fn fixed(wait: Duration) -> Self {
        Self { min: wait, max: wait, factor: 1.0, jitter: 0.0, front: false }
    }

    /// The same waits, and then before all that waits in place of behind it.
    #[must_use]
    pub const fn front(self) -> Self {
        Self { front: true, ..self }
    }

    /// Whether its numbers are numbers: factor 0 to 1000, jitter 0 to 1.
    pub(crate) fn check(&self) -> Result<()> {
        if (0.0..=1000.0).contains(&self.factor) && (0.0..=1.0).contains(&self.jitter) {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "a retry policy of factor {} and jitter {}; use 0 to 1000 and 0 to 1",
            self.factor, self.jitter
        )))
    }

    /// The wait before retry number `retry` (1 is the first); `chance` is uniform in `[0, 1)`.
    pub fn delay(&self, retry: u32, chance: f64) -> Duration {
        let exponent = i32::try_from(retry.saturating_sub(1)).unwrap_or(i32::MAX);
        let growth = self.factor.max(1.0).powi(exponent);
        let max = self.max.as_secs_f64();
        let wait = (self.min.as_secs_f64() * growth).min(max);
        let spread = self.jitter.clamp(0.0, 1.0) * (2.0 * chance.clamp(0.0, 1.0) - 1.0);
        Duration::try_from_secs_f64((wait * (1.0 + spread)).min(max)).unwrap_or(self.max)
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_double_up_to_the_cap() {
        let policy = RetryPolicy::DEFAULT;
        assert_eq!(policy.delay(1, 0.5), Duration::from_secs(1));
        assert_eq!(policy.delay(4, 0.5), Duration::from_secs(8));
        assert_eq!(policy.delay(u32::MAX, 0.5), policy.max);
        assert_eq!(RetryPolicy::fixed(Duration::from_millis(7)).delay(9, 0.9).as_millis(), 7);
    }

    proptest! {
        #[test]
        fn no_input_leaves_the_bounds(retry: u32, chance in 0.0..1.0f64, factor: f64, jitter: f64, min: u32) {
            let policy = RetryPolicy { min: Duration::from_millis(min.into()), factor, jitter, ..RetryPolicy::DEFAULT };
            prop_assert!(policy.delay(retry, chance) <= policy.max.max(policy.min));
        }
    }
}
