//! From a calendar to moments: the road through the spans of a time zone, forward and back.
//!
//! Within a span the wall clock runs with time, so a match of the calendar is one moment. Only where a span ends
//! there is something to decide: matches in a gap, and matches that a fold brings again.

use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp as Instant};

use super::calendar::Calendar;
use super::zone::{Span, Zone};
use crate::clock::Timestamp;

/// Most spans of a zone that one search goes through. Zones change clocks up to four times a year, and matches lie
/// at most 40 years apart.
pub(super) const SPANS_MAX: usize = 512;

const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// A calendar in a zone, and what holds where clocks change.
pub(super) struct Walk<'s> {
    pub(super) calendar: &'s Calendar,
    pub(super) zone: &'s Zone,
    /// Matches in a gap tick after it.
    pub(super) shifts: bool,
    /// Matches that come twice tick once.
    pub(super) once: bool,
}

impl Walk<'_> {
    pub(super) fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        let after = instant(time)?;
        let mut span = self.zone.span(after);
        let mut from = span.offset.to_datetime(after).checked_add(SECOND).ok()?;
        // The calendar has nothing from the first to right before the second.
        let mut known: Option<(DateTime, DateTime)> = None;
        for _ in 0..SPANS_MAX {
            from = from.max(self.opens(&span));
            let (asked, wall) = match known.filter(|(asked, wall)| *asked <= from && from <= *wall)
            {
                Some(known) => known,
                None => (from, self.calendar.at_or_after(&from)?),
            };
            known = Some((asked, wall));
            let Some(change) = span.ends.filter(|change| change.old_wall() <= wall) else {
                return timestamp(span.offset, wall);
            };
            if self.shifts && change.gap().contains(&wall) {
                return u64::try_from(change.at.as_millisecond()).ok().map(Timestamp);
            }
            from = change.new_wall();
            span = self.zone.span(change.at);
        }
        None
    }

    pub(super) fn last_until(&self, time: Timestamp) -> Option<Timestamp> {
        let until = instant(time)?;
        let mut span = self.zone.span(until);
        let mut to = span.offset.to_datetime(until);
        // The calendar has nothing from right after the first to the second.
        let mut known: Option<(DateTime, DateTime)> = None;
        for _ in 0..SPANS_MAX {
            let (wall, asked) = match known.filter(|(wall, asked)| *wall <= to && to <= *asked) {
                Some(known) => known,
                None => (self.calendar.at_or_before(&to)?, to),
            };
            known = Some((wall, asked));
            let Some(change) = span.begins.filter(|_| wall < self.opens(&span)) else {
                return timestamp(span.offset, wall);
            };
            if self.shifts && change.gap().contains(&wall) {
                return u64::try_from(change.at.as_millisecond()).ok().map(Timestamp);
            }
            to = change.old_wall().checked_sub(SECOND).ok()?;
            span = self.zone.span(change.at.checked_sub(SECOND).ok()?);
        }
        None
    }

    /// The first wall-clock time of a span whose match ticks in it: that of its beginning, unless it was there
    /// before and ticked then.
    fn opens(&self, span: &Span) -> DateTime {
        match span.begins {
            Some(change) if self.once => change.new_wall().max(change.old_wall()),
            Some(change) => change.new_wall(),
            None => DateTime::MIN,
        }
    }
}

/// Its whole second: all that is looked for are whole seconds.
pub(super) fn instant(time: Timestamp) -> Option<Instant> {
    Instant::from_second(i64::try_from(time.0 / 1_000).ok()?).ok()
}

/// None before 1970.
fn timestamp(offset: Offset, wall: DateTime) -> Option<Timestamp> {
    let at = offset.to_timestamp(wall).ok()?;
    u64::try_from(at.as_millisecond()).ok().map(Timestamp)
}
