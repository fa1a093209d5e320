//! Amounts as people write them: `10s`, `256MiB`.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Reads a string, and says what is to stand in it if there is none.
struct Text(&'static str);

impl de::Visitor<'_> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

/// A time, such as `10s` or `1h 30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time(pub(super) Duration);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = from.deserialize_str(Text("a time, such as \"10s\""))?;
        let time = humantime::parse_duration(&text);
        time.map(Self)
            .map_err(|error| de::Error::custom(format!("{text:?}: {error}; write \"10s\"")))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(self.0))
    }
}

/// Units of bytes, largest first.
const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
/// What has no end.
const UNLIMITED: &str = "unlimited";

/// A number of bytes, such as `256MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bytes(pub(super) u64);

impl Bytes {
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text == UNLIMITED {
            return Some(Self(u64::MAX));
        }
        let (number, size) = UNITS
            .iter()
            .find_map(|(unit, size)| text.strip_suffix(unit).map(|number| (number, *size)))?;
        number.trim().parse::<u64>().ok()?.checked_mul(size).map(Self)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = from.deserialize_str(Text("a size, such as \"256MiB\", or \"unlimited\""))?;
        Self::parse(&text).ok_or_else(|| {
            de::Error::custom(format!("{text:?} is no size; write \"256MiB\" or \"{UNLIMITED}\""))
        })
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.0 == u64::MAX {
            return to.serialize_str(UNLIMITED);
        }
        let fits = UNITS.iter().find(|(_, size)| self.0 > 0 && self.0.is_multiple_of(*size));
        let (unit, size) = fits.unwrap_or(&UNITS[3]);
        to.collect_str(&format_args!("{}{unit}", self.0 / size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written_back() {
        for (text, bytes) in
            [("256MiB", 256 << 20), ("1GiB", 1 << 30), ("12B", 12), ("unlimited", u64::MAX)]
        {
            assert_eq!(Bytes::parse(text), Some(Bytes(bytes)));
            let written = serde_json::to_string(&Bytes(bytes)).expect("JSON");
            assert_eq!(written, format!("{text:?}"));
        }
        for wrong in ["", "MiB", "12", "-1B", "99999999999GiB", "1 mb"] {
            assert_eq!(Bytes::parse(wrong), None, "{wrong}");
        }
    }
}
