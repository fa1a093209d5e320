//! Text that is wrong, and text that means harm: refused at once, in words, before croner sees it.

use super::{at, schedule};
use crate::clock::{TIMESTAMP_MAX, Timestamp};
use crate::cron::{Schedule, TEXT_BYTES_MAX, TICK_MAX};

#[track_caller]
fn refused(text: &str, words: &[&str]) {
    let error = Schedule::parse(text).expect_err(text);
    let told = error.to_string();
    assert!(error.is_invalid(), "{error:?}");
    assert!(!told.contains(|c: char| c.is_control()), "{told:?}");
    for word in words {
        assert!(told.contains(word), "{word:?} is not in {told}");
    }
}

#[test]
fn a_wrong_field_is_named_with_what_is_allowed() {
    for (text, words) in [
        ("0 0 1--100000000 * *", ["day of month", "1 to 31"]),
        ("*/0 * * * *", ["minute", "step \"0\""]),
        ("*/60 * * * *", ["minute", "1 to 59"]),
        ("1-2-3 * * * *", ["minute", "2-3"]),
        ("60 * * * *", ["minute", "0 to 59"]),
        ("0 24 * * *", ["hour", "0 to 23"]),
        ("60 0 0 * * *", ["second", "0 to 59"]),
        ("0 0 0 * *", ["day of month", "1 to 31"]),
        ("0 0 32 * *", ["day of month", "1 to 31"]),
        ("0 0 * 13 *", ["month", "JAN to DEC"]),
        ("0 0 * JANUARY *", ["month", "JAN to DEC"]),
        ("0 0 * * 8", ["weekday", "0 to 7"]),
        ("0 0 * * MONTUE", ["weekday", "SUN to SAT"]),
        ("0 0 * * FRI-MON", ["weekday", "backwards"]),
        ("0 0 * * 1#6", ["weekday", "1 to 5"]),
        ("0 0 * * L", ["weekday", "5L"]),
        ("0 0 * * +MON", ["weekday", "+MON"]),
        ("0 0 L,LW * *", ["day of month", "LW"]),
        ("0 0 32W * *", ["day of month", "15W"]),
        ("0 L * * *", ["hour", "0 to 23"]),
        ("0 ? * * *", ["hour", "0 to 23"]),
        ("0 MON * * *", ["hour", "0 to 23"]),
        ("5/10 * * * *", ["minute", "5-59/10"]),
        ("/10 * * * *", ["minute", "0 to 59"]),
        ("1-5/ * * * *", ["minute", "step \"\""]),
        ("1/2/3 * * * *", ["minute", "2/3"]),
        ("1,,2 * * * *", ["minute", "commas"]),
        (", * * * *", ["minute", "commas"]),
        ("*,5 * * * *", ["minute", "* in a list"]),
        ("-5 * * * *", ["minute", "0 to 59"]),
        ("007 * * * *", ["minute", "0 to 59"]),
        ("99999999999999999999 * * * *", ["minute", "0 to 59"]),
        ("* * * *", ["4 fields", "5:"]),
        ("0  * * *", ["4 fields", "5:"]),
        ("* * * * * * *", ["7 fields", "6,"]),
        ("", ["0 fields", "@daily"]),
        ("0 0 30 2 *", ["never", "day of month"]),
        ("0 0 31 4,6,9,11 *", ["never", "day of month"]),
        ("0 0 30W 2 *", ["never", "day of month"]),
        ("@reboot", ["@reboot", "where your program starts"]),
        ("@dayly", ["did you mean \"@daily\"", "every"]),
        ("@daily 5", ["@daily 5", "every"]),
        ("@", ["@", "every"]),
        ("@every", ["no time", "1s to 10years"]),
        ("@every 999ms", ["bounds", "1s to 10years"]),
        ("@every 11years", ["bounds", "1s to 10years"]),
        ("@every 1000us 1s 1us", ["part of a millisecond", "1s to 10years"]),
        ("@every 99999999999999999999999999y", ["no time", "1s to 10years"]),
        ("@every -5s", ["no time", "1s to 10years"]),
        ("@every90s", ["@every90s", "@every"]),
        ("TZ=UTC", ["0 fields", "@daily"]),
        ("TZ= @daily", ["time zone", "Europe/Berlin"]),
        (
            "CRON_TZ=Europe/Berln @daily",
            ["there is no time zone", "did you mean \"Europe/Berlin\""],
        ),
        ("TZ=UTC TZ=UTC @daily", ["2 fields", "minute"]),
        ("0 0 * * *\n", ["byte 9", "printable ASCII"]),
        ("0\t0 * * *", ["byte 1", "printable ASCII"]),
        ("0\u{0} 0 * * *", ["byte 1", "printable ASCII"]),
        ("٣ * * * *", ["byte 0", "printable ASCII"]),
        ("１ * * * *", ["byte 0", "printable ASCII"]),
        ("0 0 * * \u{202e}*", ["byte 8", "printable ASCII"]),
    ] {
        refused(text, &words);
    }
}

#[test]
fn a_text_is_as_long_as_it_may_be_and_no_longer() {
    let list = |items: usize| format!("{} * * * *", ["1"].repeat(items).join(","));
    let longest = list((TEXT_BYTES_MAX - 7) / 2);
    assert!(Schedule::parse(&format!("{longest:<TEXT_BYTES_MAX$}")).is_ok());
    refused(&format!("{longest:<0$}", TEXT_BYTES_MAX + 1), &["257 bytes", "256"]);
    refused(&list(10_000), &["bytes", "256"]);
}

#[test]
fn a_zone_is_a_name_and_no_path() {
    for name in [
        "../etc/passwd",
        "/etc/localtime",
        "Europe/../UTC",
        "",
        " UTC",
        "Ü",
        "a\n",
        &"a".repeat(65),
    ] {
        let error = schedule("@daily").zone(name).expect_err(name);
        assert!(error.is_invalid() && error.to_string().contains("is not a name"), "{error}");
    }
    for name in ["Europe/Bonn", "Etc/Unknown", "posixrules/x", "zone", "tzdata-zi"] {
        let error = schedule("@daily").zone(name).expect_err(name);
        assert!(error.to_string().contains("there is no time zone"), "{error}");
    }
    for name in ["UTC", "europe/berlin", "Etc/GMT+5", "America/Port-au-Prince", "US/Pacific"] {
        schedule("@daily").zone(name).expect(name);
    }
}

#[test]
fn the_ends_of_time_are_no_panic() {
    for text in ["* * * * * *", "@daily", "@yearly", "0 0 29 2 *", "@every 1s", "@every 10years"] {
        for zone in ["UTC", "America/New_York", "Pacific/Kiritimati", "Africa/Monrovia"] {
            let schedule = schedule(text).zone(zone).expect(zone);
            for time in [TICK_MAX, TIMESTAMP_MAX, Timestamp(u64::MAX)] {
                assert_eq!(schedule.next_after(time), None, "{text} {zone}");
                let last = schedule.last_until(time).expect("a last tick");
                assert!(last <= TICK_MAX && schedule.next_after(last).is_none(), "{text} {zone}");
                assert!(schedule.jittered("x", last) >= last);
            }
            let first = schedule.next_after(Timestamp(0)).expect("a first tick");
            let before = schedule.last_until(Timestamp(first.0 - 1));
            assert!(before.is_none_or(|tick| tick == Timestamp(0)), "{text} {zone} {before:?}");
        }
    }
    let year_end = at("4998-12-31T23:59:59Z");
    assert_eq!(schedule("* * * * * *").last_until(TIMESTAMP_MAX), Some(year_end));
}
