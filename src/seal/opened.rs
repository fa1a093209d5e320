//! What was sealed, opened again: held in memory that is wiped when dropped.
//!
//! The plaintext of a payload is `u32 length || sealed headers || body`: big-endian, the headers bincode,
//! length 0 if there are none. Other purposes have no headers.

use std::fmt;
use std::ops::Deref;

use zeroize::Zeroizing;

use crate::codec::{self, Codec};
use crate::error::{Error, Result};

/// Most sealed headers of one task.
pub const HEADERS_MAX: usize = 16;
/// Largest sealed headers of one task together, encoded, in bytes.
pub const HEADERS_BYTES_MAX: usize = 4096;

/// Opened bytes; `Debug` shows how many, dropping wipes them.
pub struct Plaintext {
    bytes: Zeroizing<Vec<u8>>,
    start: usize,
}

impl Plaintext {
    pub(crate) fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self { bytes, start: 0 }
    }
}

impl Deref for Plaintext {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

impl fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plaintext {{ bytes: {} }}", self.len())
    }
}

/// An opened blob.
#[derive(Debug)]
pub struct Opened {
    /// How the plaintext is written.
    pub codec: Codec,
    /// What was sealed.
    pub plaintext: Plaintext,
}

/// An opened task.
pub struct OpenedTask {
    /// Its sealed headers: name and value.
    pub headers: Vec<(String, String)>,
    /// How the body is written.
    pub codec: Codec,
    /// The encoded payload.
    pub body: Plaintext,
}

impl fmt::Debug for OpenedTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { headers, codec, body } = self;
        write!(f, "OpenedTask {{ headers: {}, {codec:?}, {body:?} }}", headers.len())
    }
}

/// The stored form of sealed headers; empty if there are none.
pub(crate) fn pack(headers: &[(String, String)]) -> Result<Vec<u8>> {
    if headers.is_empty() {
        return Ok(Vec::new());
    }
    if headers.len() > HEADERS_MAX {
        return Err(Error::too_large(format!(
            "{} headers are over the limit of {HEADERS_MAX}",
            headers.len()
        )));
    }
    if headers.iter().any(|(name, _)| name.is_empty() || name.contains(['\r', '\n'])) {
        return Err(Error::invalid("a header's name is not empty and has no line break"));
    }
    codec::to_bincode(headers, HEADERS_BYTES_MAX)
}

/// Takes the plaintext of a payload apart.
pub(crate) fn unpack(opened: Opened) -> Result<OpenedTask> {
    let Opened { codec, plaintext: mut body } = opened;
    let corrupt = || Error::corrupt("the sealed payload does not have the shape of one");
    let (length, rest) = body.split_first_chunk().ok_or_else(corrupt)?;
    let length = u32::from_be_bytes(*length) as usize;
    let packed = rest.get(..length).ok_or_else(corrupt)?;
    let headers = match packed {
        [] => Vec::new(),
        _ => codec::from_bincode(packed, HEADERS_BYTES_MAX)?,
    };
    body.start = size_of::<u32>() + length;
    Ok(OpenedTask { headers, codec, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    fn opened(bytes: &[u8]) -> Opened {
        Opened { codec: Codec::Json, plaintext: Plaintext::new(Zeroizing::new(bytes.to_vec())) }
    }

    #[test]
    fn headers_are_bounded() {
        assert!(pack(&[]).expect("none").is_empty());
        assert!(pack(&vec![header("a", ""); HEADERS_MAX]).is_ok());
        let many = vec![header("a", ""); HEADERS_MAX + 1];
        assert!(pack(&many).expect_err("many").is_too_large());
        let big = [header("a", &"x".repeat(HEADERS_BYTES_MAX))];
        assert!(pack(&big).expect_err("big").is_too_large());
        for name in ["", "a\nb", "a\rb"] {
            assert!(pack(&[header(name, "v")]).expect_err("name").is_invalid());
        }
    }

    #[test]
    fn a_malformed_payload_is_corrupt() {
        for bad in [&b""[..], b"\0\0\0", b"\0\0\0\x02a", b"\xff\xff\xff\xff", b"\0\0\0\x01\x05"] {
            assert!(unpack(opened(bad)).expect_err("bad").is_corrupt());
        }
        let task = unpack(opened(b"\0\0\0\0body")).expect("opens");
        assert_eq!((&*task.body, task.headers.len()), (&b"body"[..], 0));
        assert_eq!(format!("{task:?}"), "OpenedTask { headers: 0, Json, Plaintext { bytes: 4 } }");
    }
}
