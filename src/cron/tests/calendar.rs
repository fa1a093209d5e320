//! What the fields and the names mean: known answers, all in UTC.
//!
//! Days were computed apart from this crate, with Python's `calendar`, going through the days one by one.

use std::time::Duration;

use super::{at, schedule, shown};
use crate::cron::{Schedule, TICKS_MAX};

/// Schedule, after when, and the ticks then; where they have no time of day it is midnight.
#[track_caller]
fn check(text: &str, from: &str, expected: &[&str]) {
    let whole = |day: &&str| match day.contains('T') {
        true => format!("{day}+00:00"),
        false => format!("{day}T00:00:00+00:00"),
    };
    let expected: Vec<_> = expected.iter().map(whole).collect();
    let from = if from.contains('T') { format!("{from}Z") } else { format!("{from}T00:00:00Z") };
    assert_eq!(shown(&schedule(text), &from, expected.len()), expected, "{text}");
}

#[test]
fn the_last_day_and_leap_days_are_the_calendars() {
    check("0 0 29 2 *", "2026-01-01", &["2028-02-29", "2032-02-29"]);
    check("0 0 29 FEB *", "2096-03-01", &["2104-02-29"]);
    check("0 0 L * *", "2028-01-01", &["2028-01-31", "2028-02-29", "2028-03-31"]);
    check("0 0 LW * *", "2026-01-01", &["2026-01-30", "2026-02-27"]);
    check("0 0 15W * *", "2026-02-01", &["2026-02-16", "2026-03-16", "2026-04-15"]);
    check("0 0 1w * ?", "2026-07-01", &["2026-08-03", "2026-09-01"]);
}

#[test]
fn weekdays_have_names_and_places_in_the_month() {
    check("0 0 * * 5", "2026-02-01", &["2026-02-06", "2026-02-13"]);
    check("0 0 * * fri#2", "2026-02-01", &["2026-02-13", "2026-03-13"]);
    for last in ["0 0 * * 5L", "0 0 * * FRI#L", "0 0 ? * friL"] {
        check(last, "2026-02-01", &["2026-02-27", "2026-03-27"]);
    }
    for weekend in ["0 0 * * FRI-SUN", "0 0 * * 5-7", "0 0 * * SUN,FRI,SAT", "0 0 * * 0,5,6"] {
        check(weekend, "2026-02-01", &["2026-02-06", "2026-02-07", "2026-02-08", "2026-02-13"]);
    }
    // The longest wait there is: 40 years to a fifth Monday of February.
    check("0 0 * 2 MON#5", "2072-02-28", &["2072-02-29", "2112-02-29"]);
}

#[test]
fn a_day_of_month_or_a_weekday_is_enough_if_both_are_named() {
    let both = ["2026-02-06", "2026-02-13", "2026-02-20", "2026-02-27", "2026-03-06"];
    check("0 0 13 * 5", "2026-02-01", &both);
    check("0 0 13 * *", "2026-02-01", &["2026-02-13", "2026-03-13"]);
    // A step names days, unless it leaves none out.
    check("0 0 1 * */2", "2026-02-02", &["2026-02-03", "2026-02-05", "2026-02-07"]);
    check("0 0 */1 * MON", "2026-02-01", &["2026-02-02", "2026-02-09"]);
}

#[test]
fn a_sixth_field_is_seconds() {
    let seconds = ["2026-01-01T00:00:10", "2026-01-01T00:00:30", "2026-01-02T00:00:10"];
    check("10,30 0 0 * * *", "2026-01-01", &seconds);
    check("*/20 * * * * *", "2026-01-01T00:00:19", &["2026-01-01T00:00:20", "2026-01-01T00:00:40"]);
    check(
        "0-30/10,45 05 09 * * *",
        "2026-01-01T09:05:20",
        &["2026-01-01T09:05:30", "2026-01-01T09:05:45"],
    );
}

#[test]
fn names_stand_for_fields() {
    for (name, fields) in [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@Weekly", "0 0 * * SUN"),
        ("@monthly", "0 0 1 JAN-DEC *"),
        ("@yearly", "0 0 1 JAN *"),
        ("@annually", "0 0 1 1 *"),
    ] {
        let from = "2026-05-17T10:20:30Z";
        assert_eq!(shown(&schedule(name), from, 5), shown(&schedule(fields), from, 5), "{name}");
    }
}

#[test]
fn every_counts_from_the_epoch_across_years() {
    let eve = "2026-12-31T23:59:00";
    check("@every 1h 30m", eve, &["2027-01-01T00:00:00", "2027-01-01T01:30:00"]);
    check("@every 90s", eve, &["2027-01-01T00:00:00", "2027-01-01T00:01:30"]);
    check("@every 7days", eve, &["2027-01-07", "2027-01-14"]);
    check("@EVERY 30days", eve, &["2027-01-02", "2027-02-01"]);
    check("@every 10years", eve, &["2030-01-01", "2040-01-01T12:00:00"]);
    check("@every 1500ms", eve, &["2026-12-31T23:59:01.500", "2026-12-31T23:59:03"]);
    // Clocks that change are nothing to it.
    let (every, from) = (schedule("@every 1h"), "2026-03-29T00:30:00Z");
    let here = every.clone().zone("Europe/Berlin").expect("a zone");
    assert_eq!(shown(&here, from, 2), ["2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00"]);
    assert!(here.iter_from(at(from)).take(50).eq(every.iter_from(at(from)).take(50)));
}

#[test]
fn the_text_may_name_the_zone_and_only_one() {
    let expected = ["2026-01-01T12:00:00+01:00"];
    for text in ["CRON_TZ=Europe/Berlin 0 12 * * *", "  TZ=europe/berlin   0 12 * * *  "] {
        let named = schedule(text);
        assert_eq!(shown(&named, "2026-01-01T00:00:00Z", 1), expected);
        assert_eq!(
            (named.zone_name(), named.to_string()),
            ("Europe/Berlin", text.trim().to_owned())
        );
        let again = named.clone().zone("Europe/Berlin").expect("the same");
        assert_eq!(shown(&again, "2026-01-01T00:00:00Z", 1), expected);
        let error = named.zone("Asia/Kolkata").expect_err("another");
        assert!(error.is_invalid() && error.to_string().contains("Europe/Berlin"), "{error}");
    }
    assert_eq!(schedule("@daily").zone_name(), "UTC");
    assert_eq!(schedule("TZ=UTC @daily").zone_name(), "UTC");
}

#[test]
fn ticks_between_are_those_that_next_finds_and_no_more_than_the_bound() {
    let minutely = schedule("* * * * *");
    let (from, to) = (at("2026-01-01T00:00:00Z"), at("2026-01-01T00:05:00Z"));
    let ticks = minutely.ticks(from, to);
    let mut next = from;
    for tick in &ticks {
        next = minutely.next_after(next).expect("a tick");
        assert_eq!(*tick, next);
    }
    assert_eq!((ticks.len(), next), (5, to), "without the first moment, with the last");
    assert_eq!(minutely.ticks(to, from), []);
    assert_eq!(minutely.ticks(from, from), []);
    let much = minutely.ticks(from, at("2027-01-01T00:00:00Z"));
    assert_eq!(much.len(), TICKS_MAX);
    let rest = minutely.ticks(much[TICKS_MAX - 1], at("2027-01-01T00:00:00Z"));
    assert_eq!(Some(rest[0]), minutely.next_after(much[TICKS_MAX - 1]));
    assert_eq!(
        minutely.last_until(at("2026-06-01T00:00:59.999Z")),
        Some(at("2026-06-01T00:00:00Z"))
    );
}

#[test]
fn a_tick_is_strictly_after_to_the_millisecond() {
    let daily = schedule("@daily");
    let midnight = at("2026-01-02T00:00:00Z");
    for (after, expected) in [
        ("2026-01-01T23:59:59.999Z", "2026-01-02T00:00:00Z"),
        ("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"),
        ("2026-01-02T00:00:00.001Z", "2026-01-03T00:00:00Z"),
    ] {
        assert_eq!(daily.next_after(at(after)), Some(at(expected)), "{after}");
    }
    assert_eq!(daily.last_until(midnight), Some(midnight));
    assert_eq!(daily.last_until(at("2026-01-01T23:59:59.999Z")), Some(at("2026-01-01T00:00:00Z")));
}

#[test]
fn jitter_is_the_same_everywhere() {
    // Computed apart from this crate, from the description of FNV-1a and of SplitMix64's last steps.
    let ten_minutes = Duration::from_secs(600);
    let nightly: Schedule = schedule("0 1 * * *").jitter(ten_minutes);
    let tick = at("2026-03-29T01:00:00Z");
    let tomorrow = at("2026-03-30T01:00:00Z");
    let delay = |entry: &str, tick| nightly.jittered(entry, tick).since(tick).as_millis();
    assert_eq!([delay("report", tick), delay("report", tomorrow)], [219_897, 185_944]);
    assert_eq!([delay("backup", tick), delay("", tick)], [91_733, 408_106]);
    // Never past the next tick, however long the jitter.
    let minutely = schedule("* * * * *").jitter(ten_minutes);
    assert_eq!(minutely.jittered("report", tick).since(tick).as_millis(), 21_989);
    assert_eq!(schedule("* * * * *").jittered("report", tick), tick);
}
