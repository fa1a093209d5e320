//! Which ticks are due: a pure function of the schedule, the last tick, the policy for missed ones, and now.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::cron::{Schedule, TICKS_MAX};

/// Most missed ticks that [`Missed::All`] catches up with: the latest.
pub const MISSED_MAX: usize = 1_000;
/// Up to how late a tick is not missed for [`Missed::Skip`]: a worker that starts anew, a broker that fails over.
pub const ON_TIME: Duration = Duration::from_secs(60);

/// The shortest time for which ticks are caught up with: a worker looks about once a second.
pub const CATCH_UP_MIN: Duration = Duration::from_secs(5);

/// What becomes of ticks that came while nobody was there to enqueue for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Missed {
    /// One task, for the latest of them.
    #[default]
    Latest,
    /// One task for each, the oldest first; of more than [`MISSED_MAX`] the oldest are passed over.
    All,
    /// None: what is later than [`ON_TIME`] is passed over.
    Skip,
}

/// What is due of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing before this; never again if there is none.
    Wait(Option<Timestamp>),
    /// Ticks to be enqueued, the oldest first, at most [`MISSED_MAX`]; so many before them are passed over, where
    /// [`TICKS_MAX`] stands for more, too.
    Run { ticks: Vec<Timestamp>, passed: usize },
    /// Only ticks that are too late, the latest of which is this.
    Pass { at: Timestamp, passed: usize },
}

impl Due {
    /// The ticks after `from` up to `now`; none is enqueued later than `catch_up` after it came.
    pub(crate) fn of(
        schedule: &Schedule,
        missed: Missed,
        catch_up: Option<Duration>,
        from: Timestamp,
        now: Timestamp,
    ) -> Self {
        let first = match schedule.next_after(from) {
            Some(first) if first <= now => first,
            next => return Self::Wait(next),
        };
        let latest = schedule.last_until(now).unwrap_or(first).max(first);
        let late = match missed {
            Missed::Skip => Some(catch_up.map_or(ON_TIME, |window| window.min(ON_TIME))),
            Missed::Latest | Missed::All => catch_up,
        };
        let late = late.map(|late| late.max(CATCH_UP_MIN));
        let in_time = |tick: Timestamp| late.is_none_or(|late| now.since(tick) <= late);
        if !in_time(latest) {
            return Self::Pass { at: latest, passed: schedule.ticks(from, latest).len() };
        }
        if missed != Missed::All {
            let passed = if latest == first { 0 } else { before(schedule, from, latest) };
            return Self::Run { ticks: vec![latest], passed };
        }
        // From the latest backwards, so that what is passed over need not be gone through.
        let mut ticks = vec![latest];
        while ticks.len() < MISSED_MAX
            && let Some(tick) = ticks.last().and_then(|tick| previous(schedule, *tick))
            && tick > from
            && in_time(tick)
        {
            ticks.push(tick);
        }
        ticks.reverse();
        let passed = before(schedule, from, ticks[0]);
        Self::Run { ticks, passed }
    }
}

fn previous(schedule: &Schedule, tick: Timestamp) -> Option<Timestamp> {
    schedule.last_until(Timestamp(tick.0.checked_sub(1)?))
}

/// How many ticks come after `from` and before this one, counted up to [`TICKS_MAX`].
fn before(schedule: &Schedule, from: Timestamp, tick: Timestamp) -> usize {
    schedule.iter_from(from).take_while(|earlier| *earlier < tick).take(TICKS_MAX).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;

    fn of(missed: Missed, catch_up: Option<u64>, from: u64, now: u64) -> Due {
        let schedule = Schedule::parse("* * * * *").expect("a schedule");
        let catch_up = catch_up.map(Duration::from_millis);
        Due::of(&schedule, missed, catch_up, Timestamp(from), Timestamp(now))
    }

    fn run(ticks: impl IntoIterator<Item = u64>, passed: usize) -> Due {
        Due::Run { ticks: ticks.into_iter().map(|tick| Timestamp(tick * MINUTE)).collect(), passed }
    }

    #[test]
    fn nothing_is_due_early_and_all_is_due_in_time() {
        for missed in [Missed::Latest, Missed::All, Missed::Skip] {
            let next = Due::Wait(Some(Timestamp(10 * MINUTE)));
            assert_eq!(of(missed, None, 9 * MINUTE, 10 * MINUTE - 1), next);
            assert_eq!(of(missed, None, 9 * MINUTE, 10 * MINUTE), run([10], 0));
            // The last tick lies ahead: the clock went back.
            assert_eq!(of(missed, None, 9 * MINUTE, MINUTE), next);
        }
    }

    #[test]
    fn missed_ticks_are_treated_as_the_policy_says() {
        let now = 10 * MINUTE + 59_999;
        assert_eq!(of(Missed::Latest, None, 0, now), run([10], 9));
        assert_eq!(of(Missed::All, None, 0, now), run(1..=10, 0));
        assert_eq!(of(Missed::Skip, None, 0, now), run([10], 9));
        let schedule = Schedule::parse("@hourly").expect("a schedule");
        let hour = 60 * MINUTE;
        let late = |late| {
            let now = Timestamp(3 * hour + late);
            Due::of(&schedule, Missed::Skip, None, Timestamp(0), now)
        };
        assert_eq!(late(60_000), run([180], 2));
        assert_eq!(late(60_001), Due::Pass { at: Timestamp(3 * hour), passed: 3 });
    }

    #[test]
    fn nothing_is_enqueued_later_than_the_window() {
        let now = 10 * MINUTE + 30_000;
        assert_eq!(of(Missed::All, Some(2 * MINUTE), 0, now), run([9, 10], 8));
        assert_eq!(of(Missed::Latest, Some(30_000), 0, now), run([10], 9));
        let pass = Due::Pass { at: Timestamp(10 * MINUTE), passed: 10 };
        assert_eq!(of(Missed::Latest, Some(29_999), 0, now), pass);
        assert_eq!(of(Missed::All, Some(29_999), 0, now), pass);
        assert_eq!(of(Missed::Skip, Some(29_999), 0, now), pass);
        // No window is too short for a worker that looks once a second.
        assert_eq!(of(Missed::All, Some(0), 9 * MINUTE, 10 * MINUTE + 5_000), run([10], 0));
        assert_eq!(
            of(Missed::All, Some(0), 9 * MINUTE, 10 * MINUTE + 5_001),
            Due::Pass { at: Timestamp(10 * MINUTE), passed: 1 }
        );
    }

    #[test]
    fn catching_up_is_bounded() {
        let most = MISSED_MAX as u64;
        assert_eq!(of(Missed::All, None, 0, (most + 7) * MINUTE), run(8..=most + 7, 7));
        let Due::Run { ticks, passed } = of(Missed::All, None, 0, 10_000_000 * MINUTE) else {
            panic!("they are due");
        };
        assert_eq!((ticks.len(), passed), (MISSED_MAX, TICKS_MAX));
    }
}
