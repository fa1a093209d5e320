//! Schedules: when a periodic task is due, as a pure function of time.
//!
//! A [`Schedule`] is the text of a cron specification, a time zone, and what to do where clocks change; the
//! contract of all three is written in `docs/cron.md`. Every process computes the same ticks from the same
//! schedule. It does not know what is due, and enqueues nothing. croner matches, jiff knows the zones; neither
//! stands in the API.

mod calendar;
mod jitter;
mod preview;
mod syntax;
mod walk;
mod zone;

#[cfg(test)]
mod tests;

use std::fmt;
use std::iter::successors;
use std::str::FromStr;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use calendar::Calendar;
pub use preview::{Occurrence, Remark};
use syntax::Pattern;
pub use syntax::{EVERY_MAX, EVERY_MIN, TEXT_BYTES_MAX};
use walk::Walk;
pub use zone::ZONE_BYTES_MAX;
use zone::Zone;

/// Most ticks that one call of [`Schedule::ticks`] returns.
pub const TICKS_MAX: usize = 1_000;

/// The last millisecond of the year 4998, UTC: no schedule ticks after it. croner ends with the year 5000, which
/// begins and ends at other moments in other zones.
pub const TICK_MAX: Timestamp = Timestamp(95_586_047_999_999);

/// What becomes of a fixed time that does not exist, since clocks go forward over it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Gap {
    /// It ticks at the first moment after the gap; several such times of one gap tick once.
    #[default]
    Shift,
    /// It does not tick.
    Skip,
}

/// What becomes of a fixed time that comes twice, since clocks go back over it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Overlap {
    /// It ticks the first time.
    #[default]
    First,
    /// It ticks both times.
    Both,
}

/// How a schedule treats clocks that change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// It names times of day: no `*` and no `/` in its second, minute and hour. [`Gap`] and [`Overlap`] apply.
    Fixed,
    /// It ticks whenever the clock shows a time that matches: never in a gap, both times in an overlap.
    Interval,
    /// `@every`: time elapsed since the Unix epoch, whatever clocks show.
    Every,
}

/// When a periodic task is due.
///
/// ```
/// use oncue::cron::{Gap, Schedule};
///
/// let nightly = Schedule::parse("30 2 * * *")?.zone("Europe/Berlin")?.gap(Gap::Skip);
/// let now = std::time::SystemTime::now().into();
/// assert!(nightly.next_after(now).is_some_and(|tick| tick > now));
/// # Ok::<(), oncue::Error>(())
/// ```
#[derive(Clone)]
pub struct Schedule {
    text: Box<str>,
    rule: Rule,
    zone: Zone,
    /// Whether the text names the zone.
    zoned: bool,
    gap: Gap,
    overlap: Overlap,
    jitter: Duration,
}

#[derive(Clone)]
enum Rule {
    /// Every so many milliseconds since the Unix epoch.
    Every(u64),
    Calendar(Calendar),
}

impl Schedule {
    /// Reads a specification: five fields, six with seconds first, `@daily` and its like, or `@every 90s`; before
    /// any of them `CRON_TZ=Area/City` or `TZ=Area/City`.
    ///
    /// # Errors
    /// Whatever is not in the grammar, is out of bounds, or never comes to pass [`is_invalid`](Error::is_invalid).
    pub fn parse(text: &str) -> Result<Self> {
        let parsed = syntax::parse(text)?;
        let rule = match parsed.pattern {
            Pattern::Every(period) => Rule::Every(period),
            Pattern::Fields { fields, fixed } => Rule::Calendar(Calendar::new(&fields, fixed)?),
        };
        Ok(Self {
            text: text.trim().into(),
            rule,
            zone: parsed.zone.map_or(Ok(Zone::utc()), Zone::named)?,
            zoned: parsed.zone.is_some(),
            gap: Gap::default(),
            overlap: Overlap::default(),
            jitter: Duration::ZERO,
        })
    }

    /// The time zone, by its IANA name. Without one it is UTC. `@every` knows no zone: it only shows in it.
    ///
    /// # Errors
    /// An unknown zone, and one that is not the zone which the text names, [`is_invalid`](Error::is_invalid).
    pub fn zone(mut self, name: &str) -> Result<Self> {
        let zone = Zone::named(name)?;
        if self.zoned && zone.name() != self.zone.name() {
            return Err(Error::invalid(format!(
                "the schedule names the time zone {}, and {} is given beside it; leave one of them out",
                self.zone.name(),
                zone.name()
            )));
        }
        self.zone = zone;
        Ok(self)
    }

    /// What becomes of fixed times that do not exist.
    #[must_use]
    pub fn gap(mut self, gap: Gap) -> Self {
        self.gap = gap;
        self
    }

    /// What becomes of fixed times that come twice.
    #[must_use]
    pub fn overlap(mut self, overlap: Overlap) -> Self {
        self.overlap = overlap;
        self
    }

    /// Spreads entries of the same schedule over this time after each tick: see [`jittered`](Self::jittered).
    #[must_use]
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// The name of its time zone.
    pub fn zone_name(&self) -> &str {
        self.zone.name()
    }

    /// What becomes of times that do not exist or come twice, and its jitter.
    pub(crate) fn policies(&self) -> (Gap, Overlap, Duration) {
        (self.gap, self.overlap, self.jitter)
    }

    /// How it treats clocks that change.
    pub fn shape(&self) -> Shape {
        match &self.rule {
            Rule::Every(_) => Shape::Every,
            Rule::Calendar(calendar) if calendar.is_fixed() => Shape::Fixed,
            Rule::Calendar(_) => Shape::Interval,
        }
    }

    /// The first tick after this time; none if there is none up to [`TICK_MAX`].
    pub fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        if time >= TICK_MAX {
            return None;
        }
        let tick = match &self.rule {
            Rule::Every(period) => Timestamp((time.0 / period + 1) * period),
            Rule::Calendar(calendar) => self.walk(calendar).next_after(time)?,
        };
        (tick <= TICK_MAX).then_some(tick)
    }

    /// The last tick at this time or before; none if there is none since 1970.
    pub fn last_until(&self, time: Timestamp) -> Option<Timestamp> {
        let time = time.min(TICK_MAX);
        match &self.rule {
            Rule::Every(period) => Some(Timestamp(time.0 / period * period)),
            Rule::Calendar(calendar) => self.walk(calendar).last_until(time),
        }
    }

    /// All ticks after this time, in order.
    pub fn iter_from(&self, time: Timestamp) -> impl Iterator<Item = Timestamp> + '_ {
        successors(self.next_after(time), |tick| self.next_after(*tick))
    }

    /// The ticks after `from` and up to `to`, in order, at most [`TICKS_MAX`]; ask again from the last for more.
    pub fn ticks(&self, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
        self.iter_from(from).take_while(|tick| *tick <= to).take(TICKS_MAX).collect()
    }

    /// When this entry is to be enqueued for this tick: at the tick or later, by less than the jitter and before
    /// the next tick. The same on every machine, another from entry to entry and from tick to tick.
    pub fn jittered(&self, entry: &str, tick: Timestamp) -> Timestamp {
        let room = self.next_after(tick).map_or(Duration::MAX, |next| next.since(tick));
        tick.plus(jitter::delay(entry, tick, self.jitter.min(room)))
    }

    fn walk<'s>(&'s self, calendar: &'s Calendar) -> Walk<'s> {
        let fixed = calendar.is_fixed();
        Walk {
            calendar,
            zone: &self.zone,
            shifts: fixed && self.gap == Gap::Shift,
            once: fixed && self.overlap == Overlap::First,
        }
    }
}

/// The text it was parsed from.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schedule")
            .field("text", &self.text)
            .field("zone", &self.zone.name())
            .field("gap", &self.gap)
            .field("overlap", &self.overlap)
            .field("jitter", &self.jitter)
            .finish()
    }
}

impl FromStr for Schedule {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}
