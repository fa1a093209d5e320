//! Time as a value: milliseconds since the Unix epoch, and a clock that tests can hold.
//!
//! A [`Clock`] is what a broker without a server reads; it never goes into a stored record by itself.
//! Suspension-aware time for leases lives in the runtime, not here.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// The last millisecond of the year 9999: no stored time lies beyond it.
pub const TIMESTAMP_MAX: Timestamp = Timestamp(253_402_300_799_999);

/// Milliseconds since the Unix epoch, UTC.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// `self + duration`, whole milliseconds rounded up so that nothing is early, at most [`TIMESTAMP_MAX`].
    pub fn plus(self, duration: Duration) -> Self {
        let ms = u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(ms)).min(TIMESTAMP_MAX)
    }

    /// Time from `earlier` to `self`, zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Self(0).plus(time.duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        UNIX_EPOCH + Duration::from_millis(time.0)
    }
}

/// As RFC 3339; what lies beyond [`TIMESTAMP_MAX`] was never written by us and is shown as that.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", humantime::format_rfc3339_millis((*self).min(TIMESTAMP_MAX).into()))
    }
}

/// Says what time it is.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The machine's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)).min(TIMESTAMP_MAX)
    }
}

/// Time since boot, suspension included (`CLOCK_BOOTTIME`): what was stopped or slept must not believe in a time
/// that ran out meanwhile.
pub(crate) fn boottime() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(now.tv_sec.try_into().unwrap_or(0), now.tv_nsec.try_into().unwrap_or(0))
}

/// A clock that moves only when told to: for tests.
#[derive(Debug)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn at(now: Timestamp) -> Self {
        Self(AtomicU64::new(now.0))
    }

    /// Moves the clock on.
    pub fn advance(&self, by: Duration) {
        let now = self.now().plus(by);
        self.0.store(now.0, Ordering::SeqCst);
    }

    /// Sets the clock, backwards too.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_rounded_up_and_capped() {
        assert_eq!(Timestamp(10).plus(Duration::from_micros(1)), Timestamp(11));
        assert_eq!(Timestamp(10).plus(Duration::MAX), TIMESTAMP_MAX);
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
    }

    #[test]
    fn a_timestamp_reads_as_rfc_3339() {
        assert_eq!(Timestamp(1_500).to_string(), "1970-01-01T00:00:01.500Z");
        for late in [TIMESTAMP_MAX.0, TIMESTAMP_MAX.0 + 1, u64::MAX] {
            assert_eq!(Timestamp(late).to_string(), "9999-12-31T23:59:59.999Z");
        }
    }
}
