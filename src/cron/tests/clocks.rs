//! What schedules do where clocks change: known answers.
//!
//! The expected times were computed apart from this crate, by a program of twenty lines in Python on `zoneinfo`: it
//! goes through UTC minute by minute, converts each to the wall clock, and compares hour and minute; it leaves out
//! moments with `fold=1` where the policy says so, and looks at the wall-clock minutes that were jumped over.

use super::super::Gap::{Shift, Skip};
use super::super::Overlap::{Both, First};
use super::super::{Gap, Overlap, Schedule, Shape};
use super::{at, shown};

/// Schedule, zone, policies, after when, and the ticks then.
type Case = (&'static str, &'static str, Gap, Overlap, &'static str, &'static [&'static str]);

#[track_caller]
fn check(cases: &[Case]) {
    for (text, zone, gap, overlap, from, expected) in cases {
        let schedule = Schedule::parse(text).and_then(|schedule| schedule.zone(zone));
        let schedule = schedule.expect(text).gap(*gap).overlap(*overlap);
        let ticks = shown(&schedule, from, expected.len());
        assert_eq!(ticks, *expected, "{text} {zone} {gap:?} {overlap:?}");
        // The way back leads through the same ticks.
        let ticks: Vec<_> = schedule.iter_from(at(from)).take(expected.len()).collect();
        for pair in ticks.windows(2) {
            assert_eq!(schedule.last_until(pair[1]), Some(pair[1]), "{text} {zone}");
            let before = crate::clock::Timestamp(pair[1].0 - 1);
            assert_eq!(schedule.last_until(before), Some(pair[0]), "{text} {zone}");
        }
    }
}

#[test]
fn clocks_change_in_berlin() {
    check(&[
        (
            "30 2 * * *",
            "Europe/Berlin",
            Shift,
            First,
            "2026-03-28T00:00:00+01:00",
            &[
                "2026-03-28T02:30:00+01:00",
                "2026-03-29T03:00:00+02:00",
                "2026-03-30T02:30:00+02:00",
            ],
        ),
        (
            "30 2 * * *",
            "Europe/Berlin",
            Skip,
            First,
            "2026-03-28T00:00:00+01:00",
            &[
                "2026-03-28T02:30:00+01:00",
                "2026-03-30T02:30:00+02:00",
                "2026-03-31T02:30:00+02:00",
            ],
        ),
        (
            "0 2,3 * * *",
            "Europe/Berlin",
            Shift,
            First,
            "2026-03-28T02:30:00+01:00",
            &[
                "2026-03-28T03:00:00+01:00",
                "2026-03-29T03:00:00+02:00",
                "2026-03-30T02:00:00+02:00",
                "2026-03-30T03:00:00+02:00",
            ],
        ),
        (
            "0 2,3 * * *",
            "Europe/Berlin",
            Skip,
            First,
            "2026-03-28T02:30:00+01:00",
            &[
                "2026-03-28T03:00:00+01:00",
                "2026-03-29T03:00:00+02:00",
                "2026-03-30T02:00:00+02:00",
                "2026-03-30T03:00:00+02:00",
            ],
        ),
        (
            "30 2 * * *",
            "Europe/Berlin",
            Shift,
            First,
            "2026-10-24T03:00:00+02:00",
            &["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"],
        ),
        (
            "30 2 * * *",
            "Europe/Berlin",
            Shift,
            Both,
            "2026-10-24T03:00:00+02:00",
            &[
                "2026-10-25T02:30:00+02:00",
                "2026-10-25T02:30:00+01:00",
                "2026-10-26T02:30:00+01:00",
            ],
        ),
        (
            "15,45 2 * * *",
            "Europe/Berlin",
            Shift,
            Both,
            "2026-10-24T03:00:00+02:00",
            &[
                "2026-10-25T02:15:00+02:00",
                "2026-10-25T02:45:00+02:00",
                "2026-10-25T02:15:00+01:00",
                "2026-10-25T02:45:00+01:00",
                "2026-10-26T02:15:00+01:00",
            ],
        ),
        (
            "15,45 2 * * *",
            "Europe/Berlin",
            Shift,
            First,
            "2026-10-25T02:30:00+02:00",
            &["2026-10-25T02:45:00+02:00", "2026-10-26T02:15:00+01:00"],
        ),
        (
            "*/15 * * * *",
            "Europe/Berlin",
            Shift,
            First,
            "2026-03-29T01:30:00+01:00",
            &[
                "2026-03-29T01:45:00+01:00",
                "2026-03-29T03:00:00+02:00",
                "2026-03-29T03:15:00+02:00",
                "2026-03-29T03:30:00+02:00",
            ],
        ),
        (
            "*/20 * * * *",
            "Europe/Berlin",
            Shift,
            First,
            "2026-10-25T02:30:00+02:00",
            &[
                "2026-10-25T02:40:00+02:00",
                "2026-10-25T02:00:00+01:00",
                "2026-10-25T02:20:00+01:00",
                "2026-10-25T02:40:00+01:00",
                "2026-10-25T03:00:00+01:00",
                "2026-10-25T03:20:00+01:00",
            ],
        ),
        (
            "*/30 2 * * *",
            "Europe/Berlin",
            Shift,
            First,
            "2026-03-28T02:10:00+01:00",
            &[
                "2026-03-28T02:30:00+01:00",
                "2026-03-30T02:00:00+02:00",
                "2026-03-30T02:30:00+02:00",
            ],
        ),
    ]);
}

#[test]
fn clocks_change_in_new_york() {
    check(&[
        (
            "30 2 * * *",
            "America/New_York",
            Shift,
            First,
            "2026-03-07T12:00:00-05:00",
            &["2026-03-08T03:00:00-04:00", "2026-03-09T02:30:00-04:00"],
        ),
        (
            "30 1 * * *",
            "America/New_York",
            Shift,
            First,
            "2026-10-31T12:00:00-04:00",
            &["2026-11-01T01:30:00-04:00", "2026-11-02T01:30:00-05:00"],
        ),
        (
            "30 1 * * *",
            "America/New_York",
            Shift,
            Both,
            "2026-10-31T12:00:00-04:00",
            &[
                "2026-11-01T01:30:00-04:00",
                "2026-11-01T01:30:00-05:00",
                "2026-11-02T01:30:00-05:00",
            ],
        ),
        (
            "0 * * * *",
            "America/New_York",
            Skip,
            First,
            "2026-11-01T00:30:00-04:00",
            &[
                "2026-11-01T01:00:00-04:00",
                "2026-11-01T01:00:00-05:00",
                "2026-11-01T02:00:00-05:00",
                "2026-11-01T03:00:00-05:00",
            ],
        ),
        (
            "0 2 * * SUN",
            "America/New_York",
            Shift,
            First,
            "2026-03-05T00:00:00-05:00",
            &["2026-03-08T03:00:00-04:00", "2026-03-15T02:00:00-04:00"],
        ),
    ]);
}

#[test]
fn clocks_change_in_lord_howe_by_half_an_hour() {
    check(&[
        (
            "15 2 * * *",
            "Australia/Lord_Howe",
            Shift,
            First,
            "2026-10-03T12:00:00+10:30",
            &["2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"],
        ),
        (
            "15 2 * * *",
            "Australia/Lord_Howe",
            Skip,
            First,
            "2026-10-03T12:00:00+10:30",
            &["2026-10-05T02:15:00+11:00"],
        ),
        (
            "45 1 * * *",
            "Australia/Lord_Howe",
            Shift,
            First,
            "2026-04-04T12:00:00+11:00",
            &["2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"],
        ),
        (
            "45 1 * * *",
            "Australia/Lord_Howe",
            Shift,
            Both,
            "2026-04-04T12:00:00+11:00",
            &[
                "2026-04-05T01:45:00+11:00",
                "2026-04-05T01:45:00+10:30",
                "2026-04-06T01:45:00+10:30",
            ],
        ),
        (
            "*/15 * * * *",
            "Australia/Lord_Howe",
            Shift,
            First,
            "2026-04-05T01:20:00+11:00",
            &[
                "2026-04-05T01:30:00+11:00",
                "2026-04-05T01:45:00+11:00",
                "2026-04-05T01:30:00+10:30",
                "2026-04-05T01:45:00+10:30",
                "2026-04-05T02:00:00+10:30",
            ],
        ),
        (
            "*/15 * * * *",
            "Australia/Lord_Howe",
            Shift,
            First,
            "2026-10-04T01:40:00+10:30",
            &[
                "2026-10-04T01:45:00+10:30",
                "2026-10-04T02:30:00+11:00",
                "2026-10-04T02:45:00+11:00",
            ],
        ),
    ]);
}

#[test]
fn clocks_change_elsewhere() {
    check(&[
        (
            "30 2 * * *",
            "Africa/Casablanca",
            Shift,
            First,
            "2024-03-09T12:00:00+01:00",
            &["2024-03-10T02:30:00+01:00", "2024-03-11T02:30:00+00:00"],
        ),
        (
            "30 2 * * *",
            "Africa/Casablanca",
            Shift,
            Both,
            "2024-03-09T12:00:00+01:00",
            &[
                "2024-03-10T02:30:00+01:00",
                "2024-03-10T02:30:00+00:00",
                "2024-03-11T02:30:00+00:00",
            ],
        ),
        (
            "30 2 * * *",
            "Africa/Casablanca",
            Shift,
            First,
            "2024-04-13T12:00:00+00:00",
            &["2024-04-14T03:00:00+01:00", "2024-04-15T02:30:00+01:00"],
        ),
        (
            "0 9 * * *",
            "Asia/Kolkata",
            Shift,
            First,
            "2026-01-01T00:00:00+00:00",
            &["2026-01-01T09:00:00+05:30", "2026-01-02T09:00:00+05:30"],
        ),
        (
            "0 0 * * *",
            "Africa/Cairo",
            Shift,
            First,
            "2024-04-25T12:00:00+02:00",
            &["2024-04-26T01:00:00+03:00", "2024-04-27T00:00:00+03:00"],
        ),
        (
            "0 0 * * *",
            "Africa/Cairo",
            Skip,
            First,
            "2024-04-25T12:00:00+02:00",
            &["2024-04-27T00:00:00+03:00"],
        ),
        (
            "0 12 * * *",
            "Pacific/Apia",
            Shift,
            First,
            "2011-12-29T00:00:00-10:00",
            &[
                "2011-12-29T12:00:00-10:00",
                "2011-12-31T00:00:00+14:00",
                "2011-12-31T12:00:00+14:00",
            ],
        ),
        (
            "0 12 * * *",
            "Pacific/Apia",
            Skip,
            First,
            "2011-12-29T00:00:00-10:00",
            &["2011-12-29T12:00:00-10:00", "2011-12-31T12:00:00+14:00"],
        ),
        (
            "30 1 * * *",
            "Antarctica/Troll",
            Shift,
            First,
            "2026-03-28T12:00:00+00:00",
            &["2026-03-29T03:00:00+02:00", "2026-03-30T01:30:00+02:00"],
        ),
        (
            "0 0 * * *",
            "Europe/London",
            Shift,
            First,
            "2026-03-28T12:00:00+00:00",
            &["2026-03-29T00:00:00+00:00", "2026-03-30T00:00:00+01:00"],
        ),
    ]);
}

#[test]
fn a_time_of_day_is_fixed_unless_something_in_it_is_open() {
    for text in ["30 2 * * *", "0,30 2-5 * * *", "5 0 2 * * *", "@daily", "@weekly"] {
        assert_eq!(Schedule::parse(text).expect(text).shape(), Shape::Fixed, "{text}");
    }
    for text in ["*/15 2 * * *", "30 * * * *", "* 30 2 * * *", "0 0-6/2 * * *", "@hourly"] {
        assert_eq!(Schedule::parse(text).expect(text).shape(), Shape::Interval, "{text}");
    }
    assert_eq!(Schedule::parse("@every 1h").expect("parses").shape(), Shape::Every);
}

#[test]
fn a_preview_says_what_clocks_did() {
    let remarks = |text: &str, gap: Gap, overlap: Overlap, from: &str| {
        let schedule = Schedule::parse(text).expect(text).zone("Europe/Berlin").expect("a zone");
        let schedule = schedule.gap(gap).overlap(overlap);
        let told = schedule.preview(at(from)).take(3);
        told.map(|tick| tick.remarks.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
            .collect::<Vec<_>>()
    };
    let (spring, autumn) = ("2026-03-28T12:00:00Z", "2026-10-24T12:00:00Z");
    let night = "30 2 * * *";
    let moved = "moved: 2026-03-29 02:30:00 does not exist";
    assert_eq!(remarks(night, Shift, First, spring), [moved, "", ""]);
    let skipped = "before it skipped: 2026-03-29 02:30:00 does not exist";
    assert_eq!(remarks(night, Skip, First, spring), [skipped, "", ""]);
    let once = "comes twice, ticks the first time";
    assert_eq!(remarks(night, Shift, First, autumn), [once, "", ""]);
    let (first, second) = ("comes twice, the first", "comes twice, the second");
    assert_eq!(remarks(night, Shift, Both, autumn), [first, second, ""]);
    assert_eq!(remarks("0 * * * *", Shift, First, "2026-10-24T23:30:00Z"), [first, second, ""]);
    let skipped = "before it skipped: 2026-03-29 02:00:00 does not exist";
    assert_eq!(remarks("0 * * * *", Shift, First, "2026-03-29T00:30:00Z"), [skipped, "", ""]);
    assert_eq!(remarks("0 4 * * *", Shift, First, spring), ["", "", ""]);
}

#[test]
fn an_offset_with_seconds_is_told_in_utc() {
    // Liberia was 44 minutes and 30 seconds behind until 1972.
    let schedule = Schedule::parse("0 0 * * *").and_then(|daily| daily.zone("Africa/Monrovia"));
    let tick = schedule.expect("parses").preview(at("1970-01-01T12:00:00Z")).next();
    let tick = tick.expect("a tick");
    assert_eq!((tick.wall.as_str(), tick.offset.as_str()), ("1970-01-02 00:00:00", "-00:44:30"));
    assert_eq!(tick.rfc3339(), "1970-01-02T00:44:30.000Z");
}
