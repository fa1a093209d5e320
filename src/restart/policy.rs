//! The policy of a child: what it may be told, its defaults, and what is refused.

use std::time::Duration;

use crate::error::{Error, Result};

/// Most restarts an [`Intensity`] may allow: so many exits are remembered of each child.
pub const RESTARTS_MAX: usize = 1_000;

/// Longest time a policy may name.
const TIME_MAX: Duration = Duration::from_secs(365 * 86_400);

/// After which exits a child is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// After every exit.
    #[default]
    Permanent,
    /// After a panic or a lost thread; not if it stopped by itself.
    Transient,
    /// Never.
    Temporary,
}

/// How many restarts are borne: a true sliding window, of each child apart. Slow, steady deaths never exceed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intensity {
    /// Restarts allowed within the window; up to [`RESTARTS_MAX`].
    pub max_restarts: usize,
    /// The window.
    pub within: Duration,
}

impl Intensity {
    /// Five restarts within 30 s.
    pub const DEFAULT: Self = Self { max_restarts: 5, within: Duration::from_secs(30) };
}

impl Default for Intensity {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// How long to wait before a restart: `min * factor^n`, `n` restarts after the last quiet time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// The first wait.
    pub min: Duration,
    /// The longest wait.
    pub max: Duration,
    /// How much longer each is than the one before; 1 or more.
    pub factor: f64,
    /// How far a wait is spread, 0 to 1: 0.2 is ±20 %, so that what died together does not come back in step.
    pub jitter: f64,
    /// After this long without an exit the next wait is the first again.
    pub reset_after: Duration,
}

impl Backoff {
    /// 100 ms, doubled up to 30 s, ±20 %, anew after 60 s.
    pub const DEFAULT: Self = Self {
        min: Duration::from_millis(100),
        max: Duration::from_secs(30),
        factor: 2.0,
        jitter: 0.2,
        reset_after: Duration::from_secs(60),
    };

    /// The wait after `before` restarts; `chance` is uniform in `[0, 1)`.
    pub fn wait(&self, before: u32, chance: f64) -> Duration {
        let power = self.factor.powi(i32::try_from(before).unwrap_or(i32::MAX));
        let wait = (self.min.as_secs_f64() * power).min(self.max.as_secs_f64());
        Duration::from_secs_f64(wait * (1.0 - self.jitter + 2.0 * self.jitter * chance))
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What happens when a child dies more often than its [`Intensity`] bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExceeded {
    /// Its kind is left alone here and its tasks to other workers. After `probe_after` exactly one task goes
    /// through: if the child answers it all is well again, if it dies over it the quarantine begins anew.
    Quarantine {
        /// How long.
        probe_after: Duration,
    },
    /// It counts as an exit of the group it belongs to: the worker's [`Strategy`](super::Strategy) and budget apply.
    /// At the top, with nobody above, the worker shuts down.
    Escalate,
    /// Its kind is no longer served by this worker; its tasks are left to others.
    StopChild,
    /// The worker drains and ends with a failure.
    Shutdown,
}

/// How long the runs of a child may go on when the worker shuts down. What does not end in time goes back at no
/// cost. A child never gets more time than its parent gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// For this long at most.
    Timeout(Duration),
    /// Not at all.
    BrutalKill,
    /// As long as the parent waits; at the top without limit.
    Infinity,
}

impl Shutdown {
    /// The longest wait; none: without limit.
    pub fn limit(self) -> Option<Duration> {
        match self {
            Self::Timeout(limit) => Some(limit),
            Self::BrutalKill => Some(Duration::ZERO),
            Self::Infinity => None,
        }
    }
}

/// How a child is restarted.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Policy {
    /// After which exits.
    pub restart: Restart,
    /// How often.
    pub intensity: Intensity,
    /// After which wait.
    pub backoff: Backoff,
    /// What happens once it is too often.
    pub on_exceeded: OnExceeded,
    /// How long its runs may go on at the end.
    pub shutdown: Shutdown,
}

impl Policy {
    /// The policy of handlers.
    pub const DEFAULT: Self = Self {
        restart: Restart::Permanent,
        intensity: Intensity::DEFAULT,
        backoff: Backoff::DEFAULT,
        on_exceeded: OnExceeded::Quarantine { probe_after: Duration::from_secs(60) },
        shutdown: Shutdown::Infinity,
    };

    /// The policy of a worker's own actors: as [`DEFAULT`](Self::DEFAULT), but the worker shuts down once it is
    /// too often, and waits 25 s for runs.
    pub const ROOT: Self = Self {
        on_exceeded: OnExceeded::Shutdown,
        shutdown: Shutdown::Timeout(Duration::from_secs(25)),
        ..Self::DEFAULT
    };

    /// After which exits.
    #[must_use]
    pub const fn restart(self, restart: Restart) -> Self {
        Self { restart, ..self }
    }

    /// How many restarts within a window.
    #[must_use]
    pub const fn intensity(self, max_restarts: usize, within: Duration) -> Self {
        Self { intensity: Intensity { max_restarts, within }, ..self }
    }

    /// After which wait.
    #[must_use]
    pub const fn backoff(self, backoff: Backoff) -> Self {
        Self { backoff, ..self }
    }

    /// What happens once it is too often.
    #[must_use]
    pub const fn on_exceeded(self, on_exceeded: OnExceeded) -> Self {
        Self { on_exceeded, ..self }
    }

    /// How long runs may go on at the end.
    #[must_use]
    pub const fn shutdown(self, shutdown: Shutdown) -> Self {
        Self { shutdown, ..self }
    }

    /// Whether it makes sense.
    ///
    /// # Errors
    /// What does not [`is_invalid`](Error::is_invalid).
    pub fn check(&self) -> Result<()> {
        let refuse = |what: String| Err(Error::invalid(format!("a restart policy with {what}")));
        let (Intensity { max_restarts, within }, backoff) = (self.intensity, self.backoff);
        if max_restarts > RESTARTS_MAX {
            return refuse(format!("{max_restarts} restarts; use {RESTARTS_MAX} at most"));
        }
        if !(backoff.factor >= 1.0 && backoff.factor.is_finite()) {
            return refuse(format!("a backoff factor of {}; use 1 or more", backoff.factor));
        }
        if !(0.0..=1.0).contains(&backoff.jitter) {
            return refuse(format!("a jitter of {}; use 0 to 1", backoff.jitter));
        }
        if backoff.min > backoff.max {
            let (min, max) = (backoff.min, backoff.max);
            return refuse(format!("a backoff from {min:?} to {max:?}; the first is the shorter"));
        }
        let probe_after = match self.on_exceeded {
            OnExceeded::Quarantine { probe_after } => probe_after,
            _ => Duration::from_secs(1),
        };
        let times = [
            (within, "a window"),
            (backoff.min, "a first wait"),
            (backoff.max, "a longest wait"),
            (backoff.reset_after, "a quiet time"),
            (probe_after, "a quarantine"),
        ];
        for (time, what) in times {
            if time.is_zero() || time > TIME_MAX {
                return refuse(format!(
                    "{what} of {time:?}; use more than nothing, a year at most"
                ));
            }
        }
        Ok(())
    }

    /// Whether it makes sense for a worker's own actors, without any of which there is no worker.
    ///
    /// # Errors
    /// As [`check`](Self::check); and whatever would leave one of them dead [`is_invalid`](Error::is_invalid).
    pub fn check_root(&self) -> Result<()> {
        self.check()?;
        if self.restart != Restart::Permanent {
            return Err(Error::invalid(
                "the actors of a worker are permanent; use `Restart::Permanent`",
            ));
        }
        match self.on_exceeded {
            OnExceeded::Escalate | OnExceeded::Shutdown => Ok(()),
            OnExceeded::Quarantine { .. } | OnExceeded::StopChild => Err(Error::invalid(
                "a worker cannot do without one of its own actors; use `OnExceeded::Shutdown`",
            )),
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn what_makes_no_sense_is_refused_with_a_word_on_what_does() {
        let (policy, backoff) = (Policy::DEFAULT, Backoff::DEFAULT);
        for (policy, word) in [
            (policy.intensity(RESTARTS_MAX + 1, S), "1001 restarts"),
            (policy.intensity(1, Duration::ZERO), "a window of 0ns"),
            (policy.backoff(Backoff { factor: 0.5, ..backoff }), "factor of 0.5"),
            (policy.backoff(Backoff { factor: f64::NAN, ..backoff }), "factor of NaN"),
            (policy.backoff(Backoff { jitter: 1.1, ..backoff }), "jitter of 1.1"),
            (policy.backoff(Backoff { min: 31 * S, ..backoff }), "from 31s to 30s"),
            (policy.backoff(Backoff { min: Duration::ZERO, ..backoff }), "a first wait"),
            (policy.backoff(Backoff { max: Duration::MAX, ..backoff }), "a longest wait"),
            (
                policy.on_exceeded(OnExceeded::Quarantine { probe_after: Duration::ZERO }),
                "quarantine",
            ),
        ] {
            let error = policy.check().expect_err(word);
            assert!(error.is_invalid() && error.to_string().contains(word), "{error}");
        }
        policy.intensity(0, S).check().expect("one may bear no restart at all");
        Policy::ROOT.check_root().expect("the default");
        Policy::ROOT.on_exceeded(OnExceeded::Escalate).check_root().expect("the same at the top");
        for policy in [
            Policy::DEFAULT,
            Policy::ROOT.on_exceeded(OnExceeded::StopChild),
            Policy::ROOT.restart(Restart::Transient),
            Policy::ROOT.intensity(1, Duration::ZERO),
        ] {
            assert!(policy.check_root().expect_err("refused").is_invalid());
        }
    }

    #[test]
    fn waits_grow_to_the_longest_and_are_spread() {
        let ms = |before, chance| Backoff::DEFAULT.wait(before, chance).as_millis();
        assert_eq!(
            [0, 1, 2, 8, 9, 400].map(|n| ms(n, 0.5)),
            [100, 200, 400, 25_600, 30_000, 30_000]
        );
        assert_eq!((ms(0, 0.0), ms(u32::MAX, 0.999)), (80, 35_988));
        assert_eq!(Backoff { factor: 1.0, ..Backoff::DEFAULT }.wait(99, 0.5).as_millis(), 100);
    }
}
