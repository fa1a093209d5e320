//! A time zone by its name, as spans of time with one offset from UTC each.
//!
//! Names are looked up in the system's database, which its updates keep true, then in the one that is compiled in.
//! What a schedule makes of a change of clocks is not decided here.

use std::ops::Range;

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone, TimeZoneDatabase, db};
use jiff::{SignedDuration, Timestamp as Instant};

use crate::error::{Error, Result, suggestion};

/// Longest name of a time zone, in bytes.
pub const ZONE_BYTES_MAX: usize = 64;

#[derive(Clone)]
pub(super) struct Zone(TimeZone);

impl Zone {
    pub(super) fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    pub(super) fn named(name: &str) -> Result<Self> {
        let shown: String = name.chars().take(ZONE_BYTES_MAX).collect();
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'-' | b'+');
        // A name is looked up as a file, so no dots.
        let starts = name.starts_with(|c: char| c.is_ascii_alphabetic());
        if !starts || name.len() > ZONE_BYTES_MAX || !name.bytes().all(legal) {
            return Err(Error::invalid(format!(
                "the time zone {shown:?} is not a name; use one of at most {ZONE_BYTES_MAX} bytes like Europe/Berlin, or UTC"
            )));
        }
        let bundled = TimeZoneDatabase::bundled();
        match db().get(name).or_else(|_| bundled.get(name)) {
            Ok(zone) if zone.iana_name().is_some() && !zone.is_unknown() => Ok(Self(zone)),
            _ => {
                let known: Vec<_> = bundled.available().collect();
                let hint = suggestion(name, known.iter().map(|known| known.as_str()));
                Err(Error::invalid(format!(
                    "there is no time zone {shown:?}{hint}; use an IANA name like Europe/Berlin, or UTC"
                )))
            }
        }
    }

    pub(super) fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    pub(super) fn offset(&self, at: Instant) -> Offset {
        self.0.to_offset(at)
    }

    /// The span this moment is in.
    pub(super) fn span(&self, at: Instant) -> Span {
        let after = at.checked_add(SignedDuration::from_nanos(1)).unwrap_or(at);
        Span {
            offset: self.offset(at),
            begins: self.0.preceding(after).next().map(|found| self.change(found.timestamp())),
            ends: self.0.following(at).next().map(|found| self.change(found.timestamp())),
        }
    }

    fn change(&self, at: Instant) -> Change {
        let before = at.checked_sub(SignedDuration::from_secs(1)).unwrap_or(at);
        Change { at, before: self.offset(before), after: self.offset(at) }
    }
}

/// The time from one change of clocks to the next.
pub(super) struct Span {
    pub(super) offset: Offset,
    pub(super) begins: Option<Change>,
    pub(super) ends: Option<Change>,
}

/// A moment at which clocks are set; to the same time, if only the name of the time changes.
#[derive(Clone, Copy)]
pub(super) struct Change {
    /// The first moment of the span after it.
    pub(super) at: Instant,
    before: Offset,
    after: Offset,
}

impl Change {
    /// The wall clock that ends here: what the old clocks would show.
    pub(super) fn old_wall(&self) -> DateTime {
        self.before.to_datetime(self.at)
    }

    /// What the new clocks show.
    pub(super) fn new_wall(&self) -> DateTime {
        self.after.to_datetime(self.at)
    }

    /// The wall-clock times that do not exist; empty where clocks go back.
    pub(super) fn gap(&self) -> Range<DateTime> {
        self.old_wall()..self.new_wall()
    }

    /// The wall-clock times that come twice; empty where clocks go forward.
    pub(super) fn fold(&self) -> Range<DateTime> {
        self.new_wall()..self.old_wall()
    }
}
