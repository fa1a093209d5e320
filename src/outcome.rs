//! How a run ended, and the one policy that says what happens next.
//!
//! [`decide`] is pure and is asked for *every* end of a run, a lost lease included. Brokers obey its
//! decision; nothing else decides a retry, an archive or a release.

use std::borrow::Cow;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::retry::RetryPolicy;
use crate::state::Reason;
pub use crate::task::CLASS_BYTES_MAX;
use crate::task::{Crash, Trail, plain_class};

/// Crashes after which a task is archived as poisoned, if [`CRASHES_ALONE_MAX`] of them were its own.
pub const CRASHES_MAX: usize = 3;
/// Crashes while a task ran alone after which it is poisoned. One says too little: whoever kills worker after worker
/// is sure to meet some task that runs alone, and hardly ever the same one twice.
pub const CRASHES_ALONE_MAX: usize = 2;
/// Crashes from which on a task runs alone.
pub const CRASHES_ALONE: usize = 2;
/// How long a crash is held against a task.
pub const CRASH_WINDOW: Duration = Duration::from_secs(72 * 3600);
/// How long a task waits for a key nobody here has before it is archived.
pub const KEY_GRACE: Duration = Duration::from_secs(24 * 3600);
/// How long such a task is put off each time.
pub const KEY_RETRY: Duration = Duration::from_secs(30);

/// How one run of a task ended.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// The handler returned Ok.
    Completed,
    /// The handler failed, panicked or ran out of time.
    Failed {
        /// What kind of failure, in clear: `handler`, `panic`, `timeout`, or the handler's own word.
        class: Cow<'static, str>,
        /// What the handler said about a retry.
        retry: Retry,
    },
    /// The handler failed in a way that is not to count: neither against the task nor among the queue's failures.
    Uncounted {
        /// What kind of failure, in clear.
        class: Cow<'static, str>,
        /// What the handler said about a retry.
        retry: Retry,
    },
    /// The handler wants the task back later, at no cost.
    Snoozed(Duration),
    /// The handler says the task is void: it goes without a trace.
    Revoked,
    /// The run did not start or was cut short by a shutdown: no cost.
    Interrupted,
    /// The lease ran out: the worker is gone. A crash.
    Lost,
    /// Nobody here can read it yet: the keyring lacks the key, or a newer version wrote it.
    KeyMissing,
    /// The record was altered, or does not decode.
    Unopenable,
    /// No handler took it for the whole grace.
    UnknownKind,
    /// Its `expires` or `deadline` passed.
    Expired,
    /// Someone cancelled it.
    Cancelled,
}

/// What a failed run says about the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retry {
    /// When the retry policy says so.
    #[default]
    ByPolicy,
    /// After this delay.
    In(Duration),
    /// Never: archive.
    Never,
}

/// The limits a task was enqueued with, from its header.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// How many times a failed run is repeated.
    pub max_retry: u32,
    /// After this no run starts.
    pub deadline: Option<Timestamp>,
    /// How long it is kept once completed.
    pub retention: Duration,
}

/// What happens to the task next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Completed; kept this long, gone at once if zero.
    Complete(Duration),
    /// Failed; pending again after this delay.
    Retry(Duration),
    /// Scheduled anew, at no cost.
    Snooze(Duration),
    /// Pending at once, before what never ran; `alone` tasks run one at a time per process.
    Release {
        /// Whether it is to run alone.
        alone: bool,
    },
    /// Archived.
    Archive(Reason),
    /// Gone.
    Drop,
}

/// Decides what happens after `outcome` and writes it into `trail`.
///
/// `chance` is uniform in `[0, 1)`, for the jitter of retries.
pub fn decide(
    outcome: &Outcome,
    limits: &Limits,
    trail: &mut Trail,
    policy: &RetryPolicy,
    now: Timestamp,
    chance: f64,
) -> Decision {
    if !matches!(outcome, Outcome::KeyMissing) {
        trail.blocked = None;
    }
    let was_alone = std::mem::take(&mut trail.alone);
    match outcome {
        Outcome::Completed => Decision::Complete(limits.retention),
        Outcome::Revoked => Decision::Drop,
        Outcome::Snoozed(wait) => Decision::Snooze(*wait),
        Outcome::Interrupted => Decision::Release { alone: runs_alone(trail) },
        Outcome::Unopenable => Decision::Archive(Reason::Unopenable),
        Outcome::UnknownKind => Decision::Archive(Reason::UnknownKind),
        Outcome::Expired => Decision::Archive(Reason::Expired),
        Outcome::Cancelled => Decision::Archive(Reason::Cancelled),
        Outcome::KeyMissing => {
            let since = *trail.blocked.get_or_insert(now);
            if now.since(since) < KEY_GRACE {
                Decision::Snooze(KEY_RETRY)
            } else {
                Decision::Archive(Reason::Unopenable)
            }
        }
        Outcome::Lost => {
            trail.crashes.retain(|crash| now.since(crash.at) < CRASH_WINDOW);
            trail.crashes.push(Crash { at: now, alone: was_alone });
            let alone = trail.crashes.iter().filter(|crash| crash.alone).count();
            if trail.crashes.len() >= CRASHES_MAX && alone >= CRASHES_ALONE_MAX {
                return Decision::Archive(Reason::Poisoned);
            }
            while trail.crashes.len() > CRASHES_MAX {
                let company = trail.crashes.iter().position(|crash| !crash.alone);
                trail.crashes.remove(company.unwrap_or(0));
            }
            Decision::Release { alone: runs_alone(trail) }
        }
        Outcome::Uncounted { class, retry } => {
            trail.class = Some(plain_class(class));
            let wait = match retry {
                Retry::Never => return Decision::Archive(Reason::SkipRetry),
                Retry::In(wait) => *wait,
                Retry::ByPolicy => policy.delay(trail.attempts.saturating_add(1), chance),
            };
            in_time(limits, now, wait).map_or(EXPIRED, Decision::Snooze)
        }
        Outcome::Failed { class, retry } => {
            trail.attempts = trail.attempts.saturating_add(1);
            trail.class = Some(plain_class(class));
            let wait = match retry {
                Retry::Never => return Decision::Archive(Reason::SkipRetry),
                _ if trail.attempts > limits.max_retry => {
                    return Decision::Archive(Reason::Exhausted);
                }
                Retry::In(wait) => *wait,
                Retry::ByPolicy => policy.delay(trail.attempts, chance),
            };
            in_time(limits, now, wait).map_or(EXPIRED, Decision::Retry)
        }
    }
}

const EXPIRED: Decision = Decision::Archive(Reason::Expired);

/// This wait, if a run after it could still start.
fn in_time(limits: &Limits, now: Timestamp, wait: Duration) -> Option<Duration> {
    Some(wait).filter(|wait| limits.deadline.is_none_or(|deadline| now.plus(*wait) < deadline))
}

/// Whether a task is to run alone, after what happened to it.
pub(crate) fn runs_alone(trail: &Trail) -> bool {
    trail.crashes.len() >= CRASHES_ALONE
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000_000_000);

    fn limits() -> Limits {
        Limits { max_retry: 2, deadline: None, retention: Duration::ZERO }
    }

    #[track_caller]
    fn expect(outcome: Outcome, trail: Trail, expected: Decision) -> Trail {
        expect_within(outcome, trail, limits(), expected)
    }

    #[track_caller]
    fn expect_within(
        outcome: Outcome,
        mut trail: Trail,
        limits: Limits,
        expected: Decision,
    ) -> Trail {
        let decision = decide(&outcome, &limits, &mut trail, &RetryPolicy::DEFAULT, NOW, 0.5);
        assert_eq!(decision, expected, "{outcome:?}");
        trail
    }

    fn failed(retry: Retry) -> Outcome {
        Outcome::Failed { class: "handler".into(), retry }
    }

    fn attempts(attempts: u32) -> Trail {
        Trail { attempts, ..Trail::default() }
    }

    #[test]
    fn what_costs_nothing_leaves_no_trail() {
        let wait = Duration::from_secs(9);
        for (outcome, decision) in [
            (Outcome::Completed, Decision::Complete(Duration::ZERO)),
            (Outcome::Revoked, Decision::Drop),
            (Outcome::Snoozed(wait), Decision::Snooze(wait)),
            (Outcome::Interrupted, Decision::Release { alone: false }),
            (Outcome::Unopenable, Decision::Archive(Reason::Unopenable)),
            (Outcome::UnknownKind, Decision::Archive(Reason::UnknownKind)),
            (Outcome::Expired, Decision::Archive(Reason::Expired)),
            (Outcome::Cancelled, Decision::Archive(Reason::Cancelled)),
        ] {
            assert!(expect(outcome, Trail::default(), decision).is_empty());
        }
    }

    #[test]
    fn failures_count_and_run_out() {
        let trail = expect(
            failed(Retry::ByPolicy),
            Trail::default(),
            Decision::Retry(Duration::from_secs(1)),
        );
        assert_eq!((trail.attempts, trail.class.as_deref()), (1, Some("handler")));
        expect(failed(Retry::ByPolicy), attempts(1), Decision::Retry(Duration::from_secs(2)));
        let ms = Duration::from_millis(7);
        expect(failed(Retry::In(ms)), attempts(1), Decision::Retry(ms));
        expect(failed(Retry::In(ms)), attempts(2), Decision::Archive(Reason::Exhausted));
        expect(failed(Retry::Never), Trail::default(), Decision::Archive(Reason::SkipRetry));
    }

    #[test]
    fn what_does_not_count_is_repeated_for_ever_and_its_class_kept() {
        let uncounted = |retry| Outcome::Uncounted { class: "locked".into(), retry };
        let two = Duration::from_secs(2);
        let trail = expect(uncounted(Retry::ByPolicy), attempts(1), Decision::Snooze(two));
        assert_eq!((trail.attempts, trail.class.as_deref()), (1, Some("locked")));
        // All that counts is used up: one more that counts would end it.
        let trail = expect(uncounted(Retry::In(two)), attempts(2), Decision::Snooze(two));
        assert_eq!(trail.attempts, 2);
        let near = Limits { deadline: Some(NOW.plus(two)), ..limits() };
        expect_within(uncounted(Retry::In(two)), attempts(0), near, EXPIRED);
    }

    #[test]
    fn a_retry_that_could_not_start_in_time_is_not_made() {
        let near = Limits { deadline: Some(NOW.plus(Duration::from_secs(1))), ..limits() };
        expect_within(
            failed(Retry::ByPolicy),
            Trail::default(),
            near,
            Decision::Archive(Reason::Expired),
        );
    }

    #[test]
    fn a_pill_runs_alone_before_it_is_called_poison() {
        let first = expect(Outcome::Lost, Trail::default(), Decision::Release { alone: false });
        let second = expect(Outcome::Lost, first, Decision::Release { alone: true });
        let interrupted =
            expect(Outcome::Interrupted, second.clone(), Decision::Release { alone: true });
        assert_eq!(interrupted, second);
        // Lost while it waited to be alone: that says nothing against it.
        let company = expect(Outcome::Lost, second.clone(), Decision::Release { alone: true });
        assert_eq!((company.alone, company.crashes.len()), (false, 3));
        // Once alone may be chance; twice is not, whatever happened in between.
        let second = Trail { alone: true, ..second };
        let third = expect(Outcome::Lost, second, Decision::Release { alone: true });
        let more = expect(Outcome::Lost, third, Decision::Release { alone: true });
        assert_eq!(more.crashes.iter().filter(|crash| crash.alone).count(), 1);
        let more = Trail { alone: true, ..more };
        let last = expect(Outcome::Lost, more, Decision::Archive(Reason::Poisoned));
        assert_eq!((last.attempts, last.crashes.len()), (0, 4));
    }

    #[test]
    fn old_crashes_are_forgotten() {
        let old = Timestamp(NOW.0 - CRASH_WINDOW.as_millis() as u64);
        let old = Crash { at: old, alone: true };
        let trail = Trail { crashes: vec![old; 2], alone: true, ..Trail::default() };
        let trail = expect(Outcome::Lost, trail, Decision::Release { alone: false });
        assert_eq!(trail.crashes, [Crash { at: NOW, alone: true }]);
    }

    #[test]
    fn a_missing_key_is_waited_for_and_then_archived() {
        let trail = expect(Outcome::KeyMissing, Trail::default(), Decision::Snooze(KEY_RETRY));
        assert_eq!((trail.blocked, trail.attempts), (Some(NOW), 0));
        let since = Timestamp(NOW.0 - KEY_GRACE.as_millis() as u64);
        let trail = Trail { blocked: Some(since), ..Trail::default() };
        expect(Outcome::KeyMissing, trail, Decision::Archive(Reason::Unopenable));
    }
}
