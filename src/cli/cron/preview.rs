//! `oncue cron preview`: the next ticks of a schedule, as JSON or for people.

use std::fmt;
use std::time::{Duration, SystemTime};

use clap::ValueEnum;
use oncue::Result;
use oncue::clock::{Clock, SystemClock, Timestamp};
use oncue::cron::{Gap, Occurrence, Overlap, Schedule, Shape};
use serde::Serialize;

use crate::cli::output::{Output, list};

/// Most ticks shown.
const COUNT_MAX: i64 = 1_000;

#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    /// The schedule, quoted
    #[arg(value_name = "SPEC")]
    schedule: String,
    /// The time zone, by its IANA name [default: UTC]
    #[arg(long, value_name = "AREA/CITY")]
    zone: Option<String>,
    /// Show ticks after this time, which is not included [default: now]
    #[arg(long, value_name = "RFC3339", value_parser = moment)]
    from: Option<Timestamp>,
    /// Ticks, 1 to 1000
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=COUNT_MAX))]
    count: u16,
    /// A fixed time that does not exist ticks at the first moment after the gap, or not
    #[arg(long, value_enum, default_value_t)]
    gap: GapPolicy,
    /// A fixed time that comes twice ticks the first time, or both times
    #[arg(long, value_enum, default_value_t)]
    overlap: OverlapPolicy,
}

#[derive(Clone, Copy, Default, ValueEnum)]
pub(super) enum GapPolicy {
    #[default]
    Shift,
    Skip,
}

#[derive(Clone, Copy, Default, ValueEnum)]
pub(super) enum OverlapPolicy {
    #[default]
    First,
    Both,
}

impl From<GapPolicy> for Gap {
    fn from(policy: GapPolicy) -> Self {
        match policy {
            GapPolicy::Shift => Self::Shift,
            GapPolicy::Skip => Self::Skip,
        }
    }
}

impl From<OverlapPolicy> for Overlap {
    fn from(policy: OverlapPolicy) -> Self {
        match policy {
            OverlapPolicy::First => Self::First,
            OverlapPolicy::Both => Self::Both,
        }
    }
}

pub(super) fn run(args: &Args, output: Output) -> Result<()> {
    let mut schedule =
        Schedule::parse(&args.schedule)?.gap(args.gap.into()).overlap(args.overlap.into());
    if let Some(zone) = &args.zone {
        schedule = schedule.zone(zone)?;
    }
    let from = args.from.unwrap_or_else(|| SystemClock.now());
    let occurrences: Vec<_> = schedule.preview(from).take(usize::from(args.count)).collect();
    output.print(&Previewed {
        times: occurrences.iter().map(Occurrence::rfc3339).collect(),
        promise: promise(&schedule, args),
        complete: occurrences.len() == usize::from(args.count),
        occurrences,
    })
}

/// What happens where clocks change, in words.
fn promise(schedule: &Schedule, args: &Args) -> String {
    let zone = schedule.zone_name();
    match schedule.shape() {
        Shape::Every => format!(
            "time elapsed since 1970 in UTC, shown in {zone}; changes of clocks do nothing to it"
        ),
        Shape::Interval => format!(
            "an interval in {zone}: ticks whenever the clock shows a time that matches, \
             never in a gap, both times in an overlap"
        ),
        Shape::Fixed => {
            let gap = match args.gap {
                GapPolicy::Shift => "ticks at the first moment after the gap",
                GapPolicy::Skip => "is skipped",
            };
            let overlap = match args.overlap {
                OverlapPolicy::First => "the first time",
                OverlapPolicy::Both => "both times",
            };
            format!(
                "fixed times in {zone}: one that does not exist {gap}, one that comes twice ticks {overlap}"
            )
        }
    }
}

/// RFC 3339 with any offset; without one it is UTC.
fn moment(text: &str) -> Result<Timestamp, String> {
    let refused = |why: &dyn fmt::Display| {
        format!("{why}; use RFC 3339 from 1970 on, like 2026-03-29T00:00:00+01:00")
    };
    let (local, offset) = match text.len().checked_sub(6).and_then(|at| text.split_at_checked(at)) {
        Some((local, offset)) if offset.starts_with(['+', '-']) && offset.as_bytes()[3] == b':' => {
            if !local.ends_with(|c: char| c.is_ascii_digit()) {
                return Err(refused(&"the offset does not follow a time of day"));
            }
            (local, offset)
        }
        _ => (text, "+00:00"),
    };
    let number = |from: usize, end: u64| {
        let digits = &offset.as_bytes()[from..from + 2];
        let tens = |digits: &[u8]| digits.iter().fold(0, |n, b| n * 10 + u64::from(b - b'0'));
        let all = digits.iter().all(u8::is_ascii_digit);
        all.then(|| tens(digits)).filter(|number| *number < end)
    };
    let (Some(hours), Some(minutes)) = (number(1, 24), number(4, 60)) else {
        return Err(refused(&"the offset is not one of -23:59 to +23:59"));
    };
    let local = humantime::parse_rfc3339_weak(local).map_err(|error| refused(&error))?;
    let offset_by = Duration::from_secs((hours * 60 + minutes) * 60);
    let time = match offset.starts_with('-') {
        true => local.checked_add(offset_by),
        false => local.checked_sub(offset_by),
    };
    let time = time.filter(|time| *time >= SystemTime::UNIX_EPOCH);
    time.map(Timestamp::from).ok_or_else(|| refused(&"the time is out of range"))
}

/// In JSON the times alone.
#[derive(Serialize)]
#[serde(transparent)]
struct Previewed {
    times: Vec<String>,
    #[serde(skip)]
    occurrences: Vec<Occurrence>,
    #[serde(skip)]
    promise: String,
    #[serde(skip)]
    complete: bool,
}

impl fmt::Display for Previewed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.occurrences.is_empty() {
            let mut table = list(["time", "offset", "day", "remark"]);
            for tick in &self.occurrences {
                let remarks: Vec<_> = tick.remarks.iter().map(ToString::to_string).collect();
                table.add_row([&tick.wall, &tick.offset, tick.weekday, &remarks.join("; ")]);
            }
            writeln!(f, "{table}")?;
        }
        if !self.complete {
            writeln!(f, "no further tick up to the year 4998")?;
        }
        f.write_str(&self.promise)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_may_have_any_offset_or_none() {
        for (text, expected) in [
            ("1970-01-02T00:00:00Z", Some(86_400_000)),
            ("1970-01-02T00:00:00", Some(86_400_000)),
            ("1970-01-02 00:00:00.250Z", Some(86_400_250)),
            ("1970-01-02T00:00:00+02:00", Some(79_200_000)),
            ("1970-01-01T00:00:00-00:30", Some(1_800_000)),
            ("9999-12-31T23:59:59+00:00", Some(253_402_300_799_000)),
            ("9999-12-31T23:59:59-23:59", Some(253_402_300_799_999)),
            ("1970-01-01T00:00:00+00:01", None),
            ("1969-12-31T23:59:59Z", None),
            ("1970-01-02T00:00:00Z+02:00", None),
            ("1970-01-02T00:00:00+24:00", None),
            ("1970-01-02T00:00:00+0a:00", None),
            ("+00:00", None),
            ("1970-01-02+02:00", None),
            ("ä00:00", None),
            ("", None),
        ] {
            assert_eq!(moment(text).ok(), expected.map(Timestamp), "{text:?}");
        }
    }
}
