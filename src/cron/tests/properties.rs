//! What holds for every schedule: no panic, bounded work, and the ticks that going through every minute finds.

use std::cell::Cell;
use std::cmp::Ordering;
use std::rc::Rc;
use std::time::Duration;

use croner::errors::CronError;
use croner::time::{CivilDateTime, CronDateTime, Resolution, Weekday};
use jiff::civil::{DateTime, date};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp as Instant};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::super::{Gap, Overlap, Rule, Schedule};
use crate::clock::{TIMESTAMP_MAX, Timestamp};

/// Most steps croner may take for one answer: it looks at a month or a day at a time, for 40 years at most.
const STEPS_MAX: u32 = 2_000;

/// A wall-clock time that counts how often croner asks about one.
#[derive(Clone)]
struct Counted(DateTime, Rc<Cell<u32>>);

impl CronDateTime for Counted {
    fn to_civil(&self) -> CivilDateTime {
        self.0.to_civil()
    }
    fn civil_weekday(&self) -> Weekday {
        self.0.civil_weekday()
    }
    fn resolve_civil(&self, civil: CivilDateTime) -> Result<Resolution<Self>, CronError> {
        self.1.set(self.1.get() + 1);
        Ok(match self.0.resolve_civil(civil)? {
            Resolution::Single(time) => Resolution::Single(Self(time, self.1.clone())),
            Resolution::Ambiguous(..) | Resolution::Gap => unreachable!("a time without a zone"),
        })
    }
    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        Some(Self(CronDateTime::checked_add_seconds(&self.0, seconds)?, self.1.clone()))
    }
    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.0.cmp_instant(&other.0)
    }
}

fn item(low: u8, high: u8) -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (low..=high).prop_map(|number| number.to_string()),
        2 => (low..=high, low..=high).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        1 => (low..=high, 1..=high).prop_map(move |(from, step)| format!("{from}-{high}/{step}")),
        1 => (1..=high).prop_map(|step| format!("*/{step}")),
    ]
}

fn field(low: u8, high: u8) -> impl Strategy<Value = String> {
    prop_oneof![
        Just("*".to_owned()),
        prop::collection::vec(item(low, high), 1..4).prop_map(|items| items.join(",")),
    ]
}

/// Text that is nearly always a schedule.
fn valid() -> impl Strategy<Value = String> {
    let day = prop_oneof![
        5 => field(1, 31),
        1 => select(vec!["L", "LW", "15W", "29W", "?", "1,L"]).prop_map(str::to_owned),
    ];
    let weekday = prop_oneof![
        5 => field(0, 7),
        1 => select(vec!["MON#5", "5L", "SUN#L", "MON-FRI", "?"]).prop_map(str::to_owned),
    ];
    (field(0, 59), field(0, 59), field(0, 23), day, field(1, 12), weekday)
        .prop_map(|(s, m, h, d, month, w)| format!("{s} {m} {h} {d} {month} {w}"))
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,60}",
        "[0-9*/,#LW?@ A-Z-]{0,60}",
        "((CRON_)?TZ=[A-Za-z/_.]{0,20} )?[0-9*/,-]{1,6}( [0-9*/,LW#-]{1,6}){4,5}",
        "@(every|daily|reboot|[a-z]{0,9})( [0-9]{0,22}[a-z]{0,6}){0,3}",
        valid(),
    ]
}

fn zone() -> impl Strategy<Value = &'static str> {
    select(vec![
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Africa/Casablanca",
        "Asia/Kolkata",
        "Africa/Cairo",
        "Antarctica/Troll",
        "America/Nuuk",
        "Pacific/Apia",
    ])
}

/// What a schedule must keep, wherever it is asked.
fn holds(schedule: &Schedule, time: Timestamp) -> Result<(), TestCaseError> {
    let mut before = time;
    for tick in schedule.iter_from(time).take(20) {
        prop_assert!(tick > before, "{schedule:?}: {before} then {tick}");
        prop_assert_eq!(schedule.last_until(tick), Some(tick));
        let previous = schedule.last_until(Timestamp(tick.0 - 1));
        let expected = if before == time { schedule.last_until(time) } else { Some(before) };
        prop_assert_eq!(previous, expected, "{:?}: before {}", schedule, tick);
        let jittered = schedule.jittered("entry", tick);
        prop_assert!(tick <= jittered);
        prop_assert!(schedule.next_after(tick).is_none_or(|next| jittered < next));
        before = tick;
    }
    Ok(())
}

/// How far croner goes for an answer.
fn steps(schedule: &Schedule, from: DateTime) -> u32 {
    let Rule::Calendar(calendar) = &schedule.rule else { return 0 };
    let counted = Counted(from, Rc::default());
    let count = counted.1.clone();
    calendar.at_or_after(&counted);
    count.get()
}

/// The ticks of a schedule of hours and minutes, found by going through UTC minute by minute.
fn plodded(zone: &TimeZone, fixed: bool, plan: &Plan, from: Instant, minutes: i64) -> Vec<Instant> {
    let minute = SignedDuration::from_mins(1);
    let due =
        |wall: DateTime| plan.hours.contains(&wall.hour()) && plan.minutes.contains(&wall.minute());
    let mut ticks = Vec::new();
    for passed in 1..=minutes {
        let at = from + minute * i32::try_from(passed).expect("few");
        let (before, wall) = (zone.to_datetime(at - minute), zone.to_datetime(at));
        let second = match zone.to_ambiguous_timestamp(wall).offset() {
            AmbiguousOffset::Fold { after, .. } => zone.to_offset(at) == after,
            _ => false,
        };
        let mut ticks_now = due(wall) && !(fixed && plan.overlap == Overlap::First && second);
        let mut jumped = before + minute;
        while fixed && plan.gap == Gap::Shift && jumped < wall {
            ticks_now |= due(jumped);
            jumped += minute;
        }
        if ticks_now {
            ticks.push(at);
        }
    }
    ticks
}

#[derive(Clone, Debug)]
struct Plan {
    hours: Vec<i8>,
    minutes: Vec<i8>,
    gap: Gap,
    overlap: Overlap,
}

fn plan() -> impl Strategy<Value = Plan> {
    let hours = subsequence(vec![0_i8, 1, 2, 3, 4, 12, 22, 23], 1..5);
    let minutes = subsequence(vec![0_i8, 1, 15, 29, 30, 45, 59], 1..5);
    let policies =
        (select(vec![Gap::Shift, Gap::Skip]), select(vec![Overlap::First, Overlap::Both]));
    (hours, minutes, policies).prop_map(|(hours, minutes, (gap, overlap))| Plan {
        hours,
        minutes,
        gap,
        overlap,
    })
}

proptest! {
    #[test]
    fn any_text_is_a_schedule_or_an_error(text in any_text(), zone in zone(), time in 0..=TIMESTAMP_MAX.0) {
        match Schedule::parse(&text) {
            Ok(schedule) => {
                prop_assert!(steps(&schedule, date(2060, 3, 1).at(0, 0, 0, 0)) <= STEPS_MAX);
                let schedule = schedule.jitter(Duration::from_secs(7_200));
                holds(&schedule, Timestamp(time))?;
                if let Ok(schedule) = schedule.zone(zone) {
                    holds(&schedule, Timestamp(time))?;
                }
            }
            Err(error) => prop_assert!(error.is_invalid() && !error.to_string().contains('\n'), "{error:?}"),
        }
    }

    #[test]
    fn what_parses_ticks_within_the_bounds(text in valid(), zone in zone(), time in 0..4_000_000_000_000_u64, days in 0..40_000_i64) {
        let Ok(schedule) = Schedule::parse(&text) else { return Ok(()) };
        let from = date(1970, 1, 1).at(0, 0, 0, 0) + SignedDuration::from_hours(24 * days);
        let taken = steps(&schedule, from);
        prop_assert!(taken <= STEPS_MAX, "{taken} steps for {text}");
        let schedule = schedule.zone(zone).expect("a zone").jitter(Duration::from_secs(90));
        prop_assert!(schedule.next_after(Timestamp(time)).is_some(), "{text} {zone}");
        holds(&schedule, Timestamp(time))?;
    }

    #[test]
    fn ticks_are_those_that_plodding_finds(plan in plan(), zone in zone(), open: bool, seconds in 0..1_900_000_000_i64, hours in 1..30_i64) {
        // Hours before the next change of clocks, if there is one.
        let database = TimeZone::get(zone).expect("a zone");
        let somewhen = Instant::from_second(seconds / 60 * 60).expect("in range");
        let change = database.following(somewhen).next().map_or(somewhen, |change| change.timestamp());
        // Databases end with a change to the same time, seconds past a minute.
        let from = change.as_second() / 60 * 60 - hours * 3_600;
        let from = Instant::from_second(from).expect("in range");
        prop_assume!(from >= Instant::UNIX_EPOCH);
        // Offsets that are no whole minutes are not for plodding by minutes.
        prop_assume!(database.to_offset(from).seconds() % 60 == 0);

        let list = |numbers: &[i8]| numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let plan = Plan { hours: if open { (0..24).collect() } else { plan.hours }, ..plan };
        let hours = if open { "*".to_owned() } else { list(&plan.hours) };
        let text = format!("{} {hours} * * *", list(&plan.minutes));
        let schedule = Schedule::parse(&text).and_then(|schedule| schedule.zone(zone)).expect("parses");
        let schedule = schedule.gap(plan.gap).overlap(plan.overlap);

        let ms = |at: Instant| Timestamp(at.as_millisecond().try_into().expect("since 1970"));
        let minutes = 60 * 36;
        let expected: Vec<_> = plodded(&database, !open, &plan, from, minutes).into_iter().map(ms).collect();
        let to = ms(from + SignedDuration::from_mins(minutes));
        prop_assert_eq!(schedule.ticks(ms(from), to), expected.clone(), "{} {} from {}", text, zone, from);
        let mut back = Vec::new();
        let mut until = to;
        while let Some(tick) = schedule.last_until(until).filter(|tick| *tick > ms(from)) {
            back.push(tick);
            until = Timestamp(tick.0 - 1);
        }
        back.reverse();
        prop_assert_eq!(back, expected, "back: {} {}", text, zone);
    }
}

#[test]
fn the_longest_wait_is_within_the_bounds() {
    for text in ["0 0 * 2 MON#5", "59 59 23 29 2 ?", "0 0 29W 2 *"] {
        let schedule =
            Schedule::parse(text).expect(text).zone("Africa/Casablanca").expect("a zone");
        for year in (1970..2500).step_by(7) {
            let from = date(year, 3, 1).at(0, 0, 0, 0);
            let taken = steps(&schedule, from);
            assert!(taken <= STEPS_MAX, "{taken} steps for {text} from {year}");
            let from = from.to_zoned(TimeZone::UTC).expect("in range").timestamp();
            let from = Timestamp(from.as_millisecond().try_into().expect("since 1970"));
            let next = schedule.next_after(from).expect("a tick");
            assert!(next.since(from) <= Duration::from_secs(41 * 366 * 86_400), "{text} {year}");
        }
    }
}
