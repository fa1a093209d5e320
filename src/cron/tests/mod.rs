//! Tests of schedules: known answers, hostile text, and what holds for all of them.

mod calendar;
mod clocks;
mod contract;
mod hostile;
mod properties;

use super::Schedule;
use crate::clock::Timestamp;

/// A moment in RFC 3339.
#[track_caller]
fn at(text: &str) -> Timestamp {
    let time: jiff::Timestamp = text.parse().expect("RFC 3339");
    Timestamp(time.as_millisecond().try_into().expect("since 1970"))
}

#[track_caller]
fn schedule(text: &str) -> Schedule {
    Schedule::parse(text).expect(text)
}

/// The next ticks, as RFC 3339 in the zone of the schedule.
#[track_caller]
fn shown(schedule: &Schedule, from: &str, count: usize) -> Vec<String> {
    schedule.preview(at(from)).take(count).map(|tick| tick.rfc3339()).collect()
}
