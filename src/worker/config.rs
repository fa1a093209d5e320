//! What a worker can be told: lanes, limits, times. Every bound has a name and a default.

use std::time::Duration;

use super::lane::Served;
use crate::error::{Error, Result};
use crate::restart::{Policy, Strategy};

/// Runs at once in a lane, unless told otherwise.
pub const CONCURRENCY: usize = 64;
/// Most runs at once in a lane.
pub const CONCURRENCY_MAX: usize = 10_000;
/// How long a session lives without a beat.
pub const LEASE: Duration = Duration::from_secs(15);
/// Shortest lease: beats come three times as often.
pub const LEASE_MIN: Duration = Duration::from_millis(300);
/// Longest lease: a worker that crashed would be missed this late.
pub const LEASE_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long a shutdown waits for runs to end, as [`Policy::ROOT`] says.
pub const SHUTDOWN: Duration = Duration::from_secs(25);
/// How long a thread may make no progress, or a run not answer that was told to stop, before it is given up.
pub const STUCK_AFTER: Duration = Duration::from_secs(30);
/// How long before the limit of a shutdown handlers are asked to stop.
pub const STOP_NOTICE: Duration = Duration::from_secs(5);
/// How long a task of a kind nobody knows stays pending before it is archived.
pub const UNKNOWN_GRACE: Duration = Duration::from_secs(24 * 3600);
/// Poll where no wake-up tells: of expired leases, and of a broker that cannot say what happened.
pub(crate) const POLL: Duration = Duration::from_secs(1);
/// Poll where a wake-up tells: for the one that got lost, which none should.
pub(crate) const IDLE_POLL: Duration = Duration::from_secs(15);
/// A session is closed after this long without a claim.
pub(crate) const SESSION_IDLE: Duration = Duration::from_secs(60);
/// First and longest wait after the broker failed.
pub(crate) const BACKOFF: (Duration, Duration) =
    (Duration::from_millis(50), Duration::from_secs(5));

/// Queues that share slots.
///
/// ```
/// use oncue::Lane;
/// // Three times in four `mail` is asked before `reports`; at most 8 runs at once.
/// let lane = Lane::weighted([("mail", 3), ("reports", 1)]).concurrency(8);
/// // `urgent` always first.
/// let lane = Lane::strict(["urgent", "bulk"]);
/// ```
#[derive(Clone, Debug)]
pub struct Lane {
    pub(crate) queues: Vec<(String, u32)>,
    pub(crate) strict: bool,
    pub(crate) concurrency: usize,
}

impl Lane {
    /// Queues asked in an order drawn anew each time, by weight; a weight of 0 counts as 1. A name may be a pattern:
    /// `tenant-*` serves every queue that begins so, also those that come later, within a second; 1,000 at most.
    pub fn weighted<N: Into<String>>(queues: impl IntoIterator<Item = (N, u32)>) -> Self {
        let queues = queues.into_iter().map(|(name, weight)| (name.into(), weight.max(1)));
        Self { queues: queues.collect(), strict: false, concurrency: CONCURRENCY }
    }

    /// Queues asked in this order: a later one only while all before it are empty.
    pub fn strict<N: Into<String>>(queues: impl IntoIterator<Item = N>) -> Self {
        let queues = queues.into_iter().map(|name| (name.into(), 1));
        Self { queues: queues.collect(), strict: true, concurrency: CONCURRENCY }
    }

    /// Runs at once in this lane, 1 to [`CONCURRENCY_MAX`].
    #[must_use]
    pub fn concurrency(mut self, runs: usize) -> Self {
        self.concurrency = runs;
        self
    }

    pub(crate) fn parse(&self) -> Result<Vec<(Served, u32)>> {
        if self.queues.is_empty() {
            return Err(Error::invalid("a lane has no queues; name at least one"));
        }
        if !(1..=CONCURRENCY_MAX).contains(&self.concurrency) {
            return Err(Error::invalid(format!(
                "concurrency {}; use 1 to {CONCURRENCY_MAX}",
                self.concurrency
            )));
        }
        self.queues.iter().map(|(name, weight)| Ok((Served::parse(name)?, *weight))).collect()
    }
}

/// Times and sizes of a worker.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) lease: Duration,
    /// Of the worker's own actors; its `shutdown` is the worker's.
    pub(crate) policy: Policy,
    pub(crate) strategy: Strategy,
    pub(crate) stuck_after: Duration,
    /// None: twice the threads.
    pub(crate) stuck_max: Option<usize>,
    /// Bytes of the resident set; none: any amount.
    pub(crate) memory_max: Option<u64>,
    pub(crate) unknown_grace: Duration,
    pub(crate) arbiters: usize,
    pub(crate) blocking: usize,
    /// How often expired leases are looked for, if that is not told by their length.
    #[cfg(feature = "testing")]
    pub(crate) sweep: Option<Duration>,
    /// Whether it works by the timetable.
    #[cfg(feature = "cron")]
    pub(crate) schedules: bool,
}

impl Default for Config {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            lease: LEASE,
            policy: Policy::ROOT,
            strategy: Strategy::default(),
            stuck_after: STUCK_AFTER,
            stuck_max: None,
            memory_max: None,
            unknown_grace: UNKNOWN_GRACE,
            arbiters: cores,
            blocking: cores * 2,
            #[cfg(feature = "testing")]
            sweep: None,
            #[cfg(feature = "cron")]
            schedules: true,
        }
    }
}

impl Config {
    /// Between two beats: a third of a lease.
    pub(crate) fn beat(&self) -> Duration {
        self.lease / 3
    }

    /// So long without a sweep is a gap: an outage, or a clock that jumped. After it nobody is killed for as long
    /// again, so that whoever lives has beaten: longer than the longest wait between two beats, and short enough
    /// that no lease runs out in what is no gap yet.
    pub(crate) fn gap(&self) -> Duration {
        self.lease / 2
    }

    /// Between two sweeps: far less than a gap. A worker that is alone must not make gaps by its own pace.
    pub(crate) fn sweep(&self) -> Duration {
        #[cfg(feature = "testing")]
        if let Some(sweep) = self.sweep {
            return sweep;
        }
        POLL.min(self.beat() / 4)
    }
}

/// `base` spread by ±20 %, so that workers do not march in step.
pub(crate) fn jittered(base: Duration) -> Duration {
    base.mul_f64(0.8 + 0.4 * chance())
}

/// Uniform in `[0, 1)`; for jitter, never for secrets.
pub(crate) fn chance() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    (RandomState::new().hash_one(0) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_sweep_is_not_a_gap() {
        for lease in [Duration::from_millis(300), Duration::from_secs(1), LEASE, LEASE * 100] {
            let config = Config { lease, ..Config::default() };
            let latest = config.sweep().mul_f64(1.2);
            assert!(latest * 3 <= config.gap(), "{lease:?}: two sweeps may be missed");
            assert!(latest <= POLL.mul_f64(1.2));
        }
    }

    #[test]
    fn who_lives_beats_before_anybody_is_killed_after_a_gap() {
        for lease in [Duration::from_millis(300), Duration::from_secs(1), LEASE, LEASE * 100] {
            let config = Config { lease, ..Config::default() };
            let latest = config.beat().mul_f64(1.2);
            assert!(latest < config.gap(), "{lease:?}: a beat within a gap");
            assert!(latest + config.gap() < lease, "{lease:?}: nothing runs out in what is no gap");
        }
    }
}
