//! How values become bytes, and the only file that names bincode.
//!
//! bincode 2.0.1 is unmaintained (RUSTSEC-2025-0141) and trusts lengths, so it is fenced in here: slices
//! only, always a limit, `consumed == len`, and only flat types of ours or payloads that were
//! authenticated first. Payloads are JSON unless a task type asks otherwise.

use bincode::config::{self, Configuration};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Largest encoded payload or result, before sealing: 256 KiB.
pub const PAYLOAD_BYTES_MAX: usize = 256 * 1024;

/// How a payload is written. The byte is part of the sealed record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
#[non_exhaustive]
pub enum Codec {
    /// JSON: readable everywhere, tolerant of added fields. The default.
    Json = 1,
    /// bincode: small and fast, no schema evolution; not for recursive types or `flatten`, `untagged`,
    /// `skip_serializing_if`.
    Bincode = 2,
}

impl Codec {
    /// The codec stored as `byte`.
    pub fn from_byte(byte: u8) -> Result<Self> {
        match byte {
            1 => Ok(Self::Json),
            2 => Ok(Self::Bincode),
            _ => Err(Error::newer(format!("payload codec {byte} is unknown to this version"))),
        }
    }

    /// Writes a payload; over [`PAYLOAD_BYTES_MAX`] it [`is_too_large`](Error::is_too_large).
    pub fn encode<T: Serialize + ?Sized>(self, value: &T) -> Result<Vec<u8>> {
        let bytes = match self {
            Self::Json => serde_json::to_vec(value).map_err(|error| {
                Error::invalid("payload cannot be written as JSON").because(error)
            })?,
            Self::Bincode => to_bincode(value, PAYLOAD_BYTES_MAX)?,
        };
        if bytes.len() > PAYLOAD_BYTES_MAX {
            return Err(too_large(bytes.len(), PAYLOAD_BYTES_MAX));
        }
        Ok(bytes)
    }

    /// Reads a payload; what does not decode whole [`is_corrupt`](Error::is_corrupt).
    pub fn decode<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T> {
        match self {
            Self::Json => serde_json::from_slice(bytes).map_err(|error| {
                Error::corrupt("payload does not have the shape of its task").because(error)
            }),
            Self::Bincode => from_bincode(bytes, PAYLOAD_BYTES_MAX),
        }
    }
}

fn too_large(bytes: usize, max: usize) -> Error {
    Error::too_large(format!(
        "{bytes} bytes are over the limit of {max}; store the data elsewhere and enqueue where it is"
    ))
}

const STANDARD: Configuration = config::standard();

/// Writes a value of ours as bincode, at most `max` bytes.
pub(crate) fn to_bincode<T: Serialize + ?Sized>(value: &T, max: usize) -> Result<Vec<u8>> {
    // Room for a header or a small payload, so that writing one allocates once.
    let mut bytes = Vec::with_capacity(max.min(128));
    bincode::serde::encode_into_std_write(value, &mut bytes, STANDARD)
        .map_err(|error| Error::invalid("value cannot be written as bincode").because(error))?;
    if bytes.len() > max { Err(too_large(bytes.len(), max)) } else { Ok(bytes) }
}

/// Reads a value from the whole of `bytes`. The limit that bincode counts against is 1 MiB; `max`
/// bounds the input, so no length field can ask for more than a small multiple of it.
pub(crate) fn from_bincode<'a, T: Deserialize<'a>>(bytes: &'a [u8], max: usize) -> Result<T> {
    const LIMIT: usize = 1 << 20;
    if bytes.len() > max {
        return Err(too_large(bytes.len(), max));
    }
    let (value, consumed) =
        bincode::serde::borrow_decode_from_slice(bytes, STANDARD.with_limit::<LIMIT>())
            .map_err(|error| Error::corrupt("bincode record does not decode").because(error))?;
    if consumed != bytes.len() {
        return Err(Error::corrupt(format!("{} trailing bytes", bytes.len() - consumed)));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_trailing_bytes_are_refused() {
        let big = "x".repeat(PAYLOAD_BYTES_MAX);
        for codec in [Codec::Json, Codec::Bincode] {
            assert!(codec.encode(&big).expect_err("over").is_too_large());
            assert!(codec.encode(&big[..PAYLOAD_BYTES_MAX - 5]).is_ok());
        }
        let mut bytes = Codec::Bincode.encode(&(1u8, "a")).expect("encodes");
        bytes.push(0);
        assert!(Codec::Bincode.decode::<(u8, String)>(&bytes).expect_err("trailing").is_corrupt());
        let length_bomb = [&[0xfd][..], &[0xff; 8]].concat();
        assert!(Codec::Bincode.decode::<String>(&length_bomb).is_err());
        assert!(Codec::from_byte(9).expect_err("future").is_newer());
    }
}
