//! The days and times that six fields name, on a calendar without a time zone: croner behind two questions.
//!
//! Time zones are no business of this file, nor of croner: of its two ways to treat clocks that change it offers
//! no choice. It is asked about wall-clock times only.

use std::sync::Arc;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use croner::time::CronDateTime;
use jiff::civil::{DateTime, date};

use crate::error::{Error, Result};

/// The first of 28 years, before the year 5000 where croner's search ends, in which each date meets each weekday:
/// what does not match in them never does.
const CYCLE: i16 = 4972;

/// What matches, by wall clock.
#[derive(Clone)]
pub(super) struct Calendar {
    cron: Arc<Cron>,
    fixed: bool,
}

impl Calendar {
    /// Of six fields as `syntax` writes them.
    pub(super) fn new(fields: &str, fixed: bool) -> Result<Self> {
        let parser = CronParser::builder().seconds(Seconds::Required).year(Year::Optional).build();
        let cron = parser.parse(fields).map_err(|error| {
            Error::invalid(format!("the schedule {fields:?} is not understood; see docs/cron.md"))
                .because(error)
        })?;
        let calendar = Self { cron: Arc::new(cron), fixed };
        match calendar.at_or_after(&date(CYCLE, 1, 1).at(0, 0, 0, 0)) {
            Some(_) => Ok(calendar),
            None => Err(Error::invalid(
                "the schedule never ticks: no month it names has the day it names; correct the day of month or the month",
            )),
        }
    }

    /// Whether it names times of day, not intervals.
    pub(super) fn is_fixed(&self) -> bool {
        self.fixed
    }

    /// The first match, this time included. croner looks at whole seconds, and ends with the year 5000. Between two
    /// matches lie at most 40 years (a fifth Monday in February), so that is its longest search.
    pub(super) fn at_or_after<T: CronDateTime>(&self, time: &T) -> Option<T> {
        self.cron.find_next_occurrence(time, true).ok()
    }

    /// The last match, this time included.
    pub(super) fn at_or_before(&self, time: &DateTime) -> Option<DateTime> {
        self.cron.find_previous_occurrence(time, true).ok()
    }
}
