//! Ticks as people read them: on the wall clock of their zone, with what a change of clocks did to them.
//!
//! It decides nothing: it looks at ticks that were found, and at the time between them.

use std::fmt;

use jiff::Timestamp as Instant;
use jiff::civil::DateTime;
use jiff::tz::Offset;

use super::walk::{SPANS_MAX, Walk, instant};
use super::zone::Span;
use super::{Rule, Schedule};
use crate::clock::Timestamp;

/// A tick on the wall clock of its zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// When.
    pub tick: Timestamp,
    /// Date and time there: `2026-03-29 03:00:00`, with milliseconds if it has any.
    pub wall: String,
    /// The offset from UTC there: `+02:00`, with seconds if it has any.
    pub offset: String,
    /// The weekday there, in three letters.
    pub weekday: &'static str,
    /// What a change of clocks did to it, or to times between the tick before and this one.
    pub remarks: Vec<Remark>,
}

impl Occurrence {
    /// As RFC 3339, with the offset of the zone; in UTC where that offset has seconds, which RFC 3339 cannot tell.
    pub fn rfc3339(&self) -> String {
        match self.offset.len() {
            6 => format!("{}{}", self.wall.replace(' ', "T"), self.offset),
            _ => self.tick.to_string(),
        }
    }
}

/// What a change of clocks did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remark {
    /// This and whatever else was due in the gap does not exist, and ticks here: at the first moment after it.
    Moved {
        /// The first wall-clock time that was due in the gap.
        due: String,
    },
    /// This and whatever else was due in the gap does not exist, and does not tick.
    Skipped {
        /// The first wall-clock time that was due in the gap.
        due: String,
    },
    /// The wall-clock time of this tick comes twice; it ticks this first time alone.
    Once,
    /// The wall-clock time of this tick comes twice, and this is the first.
    First,
    /// The wall-clock time of this tick comes twice, and this is the second.
    Second,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Moved { due } => write!(f, "moved: {due} does not exist"),
            Self::Skipped { due } => write!(f, "before it skipped: {due} does not exist"),
            Self::Once => f.write_str("comes twice, ticks the first time"),
            Self::First => f.write_str("comes twice, the first"),
            Self::Second => f.write_str("comes twice, the second"),
        }
    }
}

impl Schedule {
    /// The ticks after this time, in order, as people read them.
    pub fn preview(&self, time: Timestamp) -> impl Iterator<Item = Occurrence> + '_ {
        self.iter_from(time).scan(time, |before, tick| {
            let after = std::mem::replace(before, tick);
            Some(self.occurrence(after, tick))
        })
    }

    fn occurrence(&self, after: Timestamp, tick: Timestamp) -> Occurrence {
        // No tick lies beyond what an instant can be.
        let at = instant(tick).unwrap_or(Instant::MAX);
        let offset = self.zone.offset(at);
        let wall = offset.to_datetime(at);
        let ms = tick.0 % 1_000;
        let fraction = if ms == 0 { String::new() } else { format!(".{ms:03}") };
        let remarks = match &self.rule {
            Rule::Every(_) => Vec::new(),
            Rule::Calendar(calendar) => self.walk(calendar).remarks(after, tick),
        };
        Occurrence {
            tick,
            wall: format!("{}{fraction}", written(wall)),
            offset: offset_written(offset),
            weekday: ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
                [usize::from(wall.weekday().to_sunday_zero_offset().unsigned_abs() % 7)],
            remarks,
        }
    }
}

impl Walk<'_> {
    fn remarks(&self, after: Timestamp, tick: Timestamp) -> Vec<Remark> {
        let mut remarks = Vec::new();
        let (Some(after), Some(tick)) = (instant(after), instant(tick)) else { return remarks };
        let mut span = self.zone.span(after);
        for _ in 0..SPANS_MAX {
            let Some(change) = span.ends.filter(|change| change.at <= tick) else { break };
            let gap = change.gap();
            let due = (!gap.is_empty()).then(|| self.calendar.at_or_after(&gap.start)).flatten();
            if let Some(due) = due.filter(|due| gap.contains(due)).map(written) {
                let moved = self.shifts && change.at == tick;
                remarks.push(if moved { Remark::Moved { due } } else { Remark::Skipped { due } });
            }
            span = self.zone.span(change.at);
        }
        remarks.extend(self.fold(&span, span.offset.to_datetime(tick)));
        remarks
    }

    /// Which time a wall-clock time of this span is.
    fn fold(&self, span: &Span, wall: DateTime) -> Option<Remark> {
        let first = span.ends.is_some_and(|change| change.fold().contains(&wall));
        let second = span.begins.is_some_and(|change| change.fold().contains(&wall));
        match (first, second) {
            (true, _) if self.once => Some(Remark::Once),
            (true, _) => Some(Remark::First),
            (_, true) => Some(Remark::Second),
            _ => None,
        }
    }
}

fn written(wall: DateTime) -> String {
    let (date, time) = (wall.date(), wall.time());
    format!("{date} {:02}:{:02}:{:02}", time.hour(), time.minute(), time.second())
}

fn offset_written(offset: Offset) -> String {
    let seconds = offset.seconds().unsigned_abs();
    let sign = if offset.is_negative() { '-' } else { '+' };
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    match seconds {
        0 => format!("{sign}{hours:02}:{minutes:02}"),
        _ => format!("{sign}{hours:02}:{minutes:02}:{seconds:02}"),
    }
}
