//! The text of a schedule: its grammar and its bounds, all checked before croner sees a byte.
//!
//! croner passes over holes in lists and replaces names wherever they stand. Here each field is read by one narrow
//! grammar, names become numbers, and what is left over is an error that names the field. What matches is not
//! decided here.

use std::fmt::Write as _;
use std::time::Duration;

use crate::error::{Error, Result, suggestion};

/// Longest text of a schedule, in bytes.
pub const TEXT_BYTES_MAX: usize = 256;
/// Shortest period of `@every`.
pub const EVERY_MIN: Duration = Duration::from_secs(1);
/// Longest period of `@every`: ten years of 365.25 days.
pub const EVERY_MAX: Duration = Duration::from_secs(315_576_000);

const NICKNAMES: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];
const EVERY: &str = "@every";
const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// A text, taken apart.
pub(super) struct Parsed<'t> {
    pub(super) zone: Option<&'t str>,
    pub(super) pattern: Pattern,
}

pub(super) enum Pattern {
    /// A period in milliseconds.
    Every(u64),
    /// Six fields of numbers, seconds first; fixed if they name times of day.
    Fields { fields: String, fixed: bool },
}

pub(super) fn parse(text: &str) -> Result<Parsed<'_>> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Error::invalid(format!(
            "the schedule has {} bytes; at most {TEXT_BYTES_MAX} are allowed",
            text.len()
        )));
    }
    if let Some((at, c)) = text.char_indices().find(|(_, c)| !matches!(c, ' '..='~')) {
        return Err(Error::invalid(format!(
            "the schedule has {c:?} at byte {at}; use printable ASCII, and spaces between fields"
        )));
    }
    let text = text.trim();
    let zoned = text.strip_prefix("CRON_TZ=").or_else(|| text.strip_prefix("TZ="));
    let (zone, rest) = match zoned {
        None => (None, text),
        Some(zoned) => {
            let (zone, rest) = zoned.split_once(' ').unwrap_or((zoned, ""));
            (Some(zone), rest.trim())
        }
    };
    let pattern = if rest.starts_with('@') { named(rest)? } else { fields(rest)? };
    Ok(Parsed { zone, pattern })
}

/// What begins with `@`.
fn named(text: &str) -> Result<Pattern> {
    let (name, period) = text.split_once(' ').unwrap_or((text, ""));
    if name.eq_ignore_ascii_case(EVERY) {
        return every(period.trim());
    }
    if let Some((_, meant)) = NICKNAMES.iter().find(|(known, _)| text.eq_ignore_ascii_case(known)) {
        return fields(meant);
    }
    if name.eq_ignore_ascii_case("@reboot") {
        return Err(Error::invalid(
            "@reboot is not a time: a schedule belongs to a broker, not to a machine that starts; \
             enqueue the task where your program starts",
        ));
    }
    let known = NICKNAMES.iter().map(|(known, _)| *known).chain([EVERY]);
    let hint = suggestion(&name.to_ascii_lowercase(), known);
    Err(Error::invalid(format!(
        "{text:?} is no schedule{hint}; after @ there is hourly, daily, midnight, weekly, monthly, yearly, \
         annually alone, or every with a period"
    )))
}

fn every(text: &str) -> Result<Pattern> {
    let refused = |why: &str| {
        Error::invalid(format!(
            "the period {text:?} of @every {why}; use 1s to 10years in whole milliseconds, like 90s or 1h 30m"
        ))
    };
    let period =
        humantime::parse_duration(text).map_err(|error| refused("is no time").because(error))?;
    if !(EVERY_MIN..=EVERY_MAX).contains(&period) {
        return Err(refused("is out of bounds"));
    }
    if period.subsec_nanos() % 1_000_000 != 0 {
        return Err(refused("has a part of a millisecond"));
    }
    let period = u64::try_from(period.as_millis()).map_err(|_| refused("is out of bounds"))?;
    Ok(Pattern::Every(period))
}

/// One of the six.
struct Field {
    name: &'static str,
    min: u8,
    max: u8,
    names: &'static [&'static str],
    /// What it allows beside lists of numbers, ranges and steps.
    also: &'static str,
}

const FIELDS: [Field; 6] = [
    Field { name: "second", min: 0, max: 59, names: &[], also: "" },
    Field { name: "minute", min: 0, max: 59, names: &[], also: "" },
    Field { name: "hour", min: 0, max: 23, names: &[], also: "" },
    Field { name: "day of month", min: 1, max: 31, names: &[], also: ", L, LW, 15W" },
    Field { name: "month", min: 1, max: 12, names: &MONTHS, also: ", JAN to DEC" },
    Field { name: "weekday", min: 0, max: 7, names: &WEEKDAYS, also: ", SUN to SAT, 5L, 5#2" },
];
const DAY_OF_MONTH: &str = FIELDS[3].name;
const WEEKDAY: &str = FIELDS[5].name;

fn fields(text: &str) -> Result<Pattern> {
    // Bounded by the bytes of the text.
    let mut given: Vec<&str> = text.split_ascii_whitespace().collect();
    match given.len() {
        5 => given.insert(0, "0"),
        6 => {}
        count => {
            return Err(Error::invalid(format!(
                "the schedule {text:?} has {count} fields; use 5: minute, hour, day of month, month, weekday; \
                 or 6, with the second before them; or a name like @daily"
            )));
        }
    }
    let mut fields = String::with_capacity(2 * TEXT_BYTES_MAX);
    for (field, given) in FIELDS.iter().zip(&given) {
        field.read(given, &mut fields).map_err(|why| {
            Error::invalid(format!(
                "the {} field {given:?} {why}; allowed are * or a list of {} to {}, ranges 1-5, steps */5 and 1-5/2{}",
                field.name, field.min, field.max, field.also
            ))
        })?;
        fields.push(' ');
    }
    let fixed = !given[..3].iter().any(|field| field.contains(['*', '/']));
    Ok(Pattern::Fields { fields, fixed })
}

type Fault = String;

impl Field {
    /// Writes the field with numbers for names.
    fn read(&self, given: &str, out: &mut String) -> Result<(), Fault> {
        let days = [DAY_OF_MONTH, WEEKDAY].contains(&self.name);
        // A step of one leaves nothing out, and so must not count as a day that was named.
        if given == "*" || given == "*/1" || given == "?" && days {
            out.push('*');
            return Ok(());
        }
        let has = |mark: &str| given.split(',').any(|item| item.eq_ignore_ascii_case(mark));
        if has("L") && has("LW") {
            return Err("has both L and LW, of which croner would heed one".to_owned());
        }
        for (at, item) in given.split(',').enumerate() {
            if at > 0 {
                out.push(',');
            }
            self.item(item, out)?;
        }
        Ok(())
    }

    fn item(&self, item: &str, out: &mut String) -> Result<(), Fault> {
        let (span, step) =
            item.split_once('/').map_or((item, None), |(span, step)| (span, Some(step)));
        let step = step.map(|step| self.step(step)).transpose()?;
        match (span, step) {
            ("", None) => return Err("has nothing between its commas".to_owned()),
            ("*", None) => return Err("has * in a list".to_owned()),
            ("*", Some(_)) => out.push('*'),
            _ => match (span.split_once('-'), step) {
                (Some((low, high)), _) => self.range(low, high, out)?,
                (None, None) => self.one(span, out)?,
                (None, Some(step)) => {
                    let low = self.number(span)?;
                    return Err(format!(
                        "has a step without a range; say {low}-{}/{step}",
                        self.max
                    ));
                }
            },
        }
        step.map_or(Ok(()), |step| push(out, format_args!("/{step}")))
    }

    fn step(&self, text: &str) -> Result<u8, Fault> {
        match digits(text) {
            Some(step) if (1..=self.max).contains(&step) => Ok(step),
            _ => Err(format!("has the step {text:?}, which is not one of 1 to {}", self.max)),
        }
    }

    fn range(&self, low: &str, high: &str, out: &mut String) -> Result<(), Fault> {
        // A week ends with the Sunday it may also begin with.
        let sunday = self.name == WEEKDAY && high.eq_ignore_ascii_case("SUN");
        let (from, to) = (self.number(low)?, if sunday { 7 } else { self.number(high)? });
        if from > to {
            return Err(format!("has the range {low}-{high}, which goes backwards; make it two"));
        }
        push(out, format_args!("{from}-{to}"))
    }

    /// A number, or what stands for a day only the month tells.
    fn one(&self, item: &str, out: &mut String) -> Result<(), Fault> {
        let upper = item.to_ascii_uppercase();
        if self.name == DAY_OF_MONTH {
            if upper == "L" || upper == "LW" {
                return push(out, format_args!("{upper}"));
            }
            if let Some(day) = upper.strip_suffix('W') {
                return push(out, format_args!("{}W", self.number(day)?));
            }
        }
        if self.name == WEEKDAY {
            if let Some((day, which)) = upper.split_once('#') {
                let day = self.number(day)?;
                return match which {
                    "1" | "2" | "3" | "4" | "5" | "L" => push(out, format_args!("{day}#{which}")),
                    _ => Err(format!("has {item:?}; after # there is 1 to 5 or L")),
                };
            }
            if let Some(day) = upper.strip_suffix('L') {
                return push(out, format_args!("{}#L", self.number(day)?));
            }
        }
        push(out, format_args!("{}", self.number(item)?))
    }

    fn number(&self, text: &str) -> Result<u8, Fault> {
        let named = || self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        // Months count from 1, weekdays from 0, as their numbers do.
        let named = || named().and_then(|at| u8::try_from(at).ok()).map(|at| at + self.min);
        match digits(text).or_else(named) {
            Some(number) if (self.min..=self.max).contains(&number) => Ok(number),
            _ => Err(format!("has {text:?}, which is not one of {} to {}", self.min, self.max)),
        }
    }
}

/// One or two digits: no field has more.
fn digits(text: &str) -> Option<u8> {
    let small = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    small.then(|| text.parse().ok()).flatten()
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) -> Result<(), Fault> {
    out.write_fmt(text).map_err(|error| error.to_string())
}
