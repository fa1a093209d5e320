//! The immutable record of a task: a clear header and what is sealed.
//!
//! An [`Envelope`] goes to a broker and only [`seal`](crate::seal) makes one; a [`Stored`] comes back
//! from a broker and only `seal` opens it. Two types, one way each: so plaintext cannot reach a broker.
//! Where a task stands is not in here.
//!
//! ```text
//! record = u16 big-endian header length || header || sealed
//! ```

mod extras;
mod header;

use std::fmt;

pub use extras::{TAG_BYTES_MAX, TAGS_MAX};
pub use header::{EXTENSIONS_MAX, Extension, HEADER_BYTES_MAX, Header, PRIORITY_MAX};

use crate::error::{Error, Result};
use crate::seal::{SEALED_BYTES_MAX, Sealed};
use crate::task::TaskId;

/// Bytes before the header.
const PREFIX: usize = 2;
/// Largest record of a task, in bytes.
pub const RECORD_BYTES_MAX: usize = PREFIX + HEADER_BYTES_MAX + SEALED_BYTES_MAX;

/// A sealed task on its way to a broker.
#[derive(Clone)]
pub struct Envelope {
    id: TaskId,
    header: Header,
    bytes: Vec<u8>,
    sealed: Sealed,
}

impl Envelope {
    /// `bytes` is `header` encoded, as it was sealed with.
    pub(crate) fn new(id: TaskId, header: Header, bytes: Vec<u8>, sealed: Sealed) -> Self {
        debug_assert!((1..=HEADER_BYTES_MAX).contains(&bytes.len()));
        Self { id, header, bytes, sealed }
    }

    /// A record that was made ready before and kept elsewhere meanwhile: of the form of what is sealed, or refused.
    pub(crate) fn kept(stored: &Stored) -> Result<Self> {
        let (id, header, bytes) = (stored.id(), stored.header()?, stored.header_bytes());
        Ok(Self::new(id, header, bytes.to_vec(), Sealed::payload(stored.sealed().to_vec())?))
    }

    /// Whose it is.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// What is known of the task in clear.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Length of [`record`](Self::record), in bytes.
    pub fn record_len(&self) -> usize {
        PREFIX + self.bytes.len() + self.sealed.len()
    }

    /// What a broker stores: at most [`RECORD_BYTES_MAX`] bytes.
    pub fn record(&self) -> Vec<u8> {
        let mut record = Vec::with_capacity(self.record_len());
        record.extend_from_slice(&(self.bytes.len() as u16).to_be_bytes());
        record.extend_from_slice(&self.bytes);
        record.extend_from_slice(self.sealed.as_bytes());
        record
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        sizes(f, "Envelope", self.id, self.bytes.len(), self.sealed.len())
    }
}

/// A task's record as a broker returned it: not yet authenticated.
#[derive(Clone)]
pub struct Stored {
    id: TaskId,
    record: Vec<u8>,
    sealed: usize,
}

impl Stored {
    /// Takes a record apart; what has no header of 1 to [`HEADER_BYTES_MAX`] bytes, or is longer than
    /// [`RECORD_BYTES_MAX`], [`is_corrupt`](Error::is_corrupt).
    pub fn parse(id: TaskId, record: Vec<u8>) -> Result<Self> {
        let header = match record.first_chunk() {
            Some(length) => usize::from(u16::from_be_bytes(*length)),
            None => 0,
        };
        let sealed = PREFIX + header;
        if (1..=HEADER_BYTES_MAX).contains(&header)
            && (sealed..=RECORD_BYTES_MAX).contains(&record.len())
        {
            Ok(Self { id, record, sealed })
        } else {
            let length = record.len();
            Err(Error::corrupt(format!("task {id}: {length} bytes are no record of a task")))
        }
    }

    /// Stands in for a record that is missing or cannot be taken apart: no header, opens never. So a broker
    /// hands on what it cannot read like any other task, and whoever opens tasks says what becomes of it.
    #[cfg(any(test, feature = "sqlite", feature = "redis"))]
    pub(crate) fn damaged(id: TaskId) -> Self {
        Self { id, record: vec![0; PREFIX], sealed: PREFIX }
    }

    /// The same for a task of which something was written by a newer version: so does its header.
    #[cfg(any(test, feature = "sqlite", feature = "redis"))]
    pub(crate) fn newer(id: TaskId) -> Self {
        Self { id, record: vec![0, 1, u8::MAX], sealed: PREFIX + 1 }
    }

    /// A record as a broker found it, `fault` being why what it keeps beside it cannot be read.
    #[cfg(any(test, feature = "sqlite", feature = "redis"))]
    pub(crate) fn found(id: TaskId, record: Option<Vec<u8>>, fault: Option<&Error>) -> Self {
        match (fault, record) {
            (Some(error), _) if error.is_newer() => Self::newer(id),
            (None, Some(record)) => Self::parse(id, record).unwrap_or_else(|_| Self::damaged(id)),
            _ => Self::damaged(id),
        }
    }

    /// Whose it says it is: the broker's word, authenticated when opened.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// The stored header.
    pub fn header_bytes(&self) -> &[u8] {
        &self.record[PREFIX..self.sealed]
    }

    /// Reads the header, see [`Header::decode`]; not authenticated until the task is opened.
    pub fn header(&self) -> Result<Header> {
        Header::decode(self.header_bytes())
    }

    pub(crate) fn sealed(&self) -> &[u8] {
        &self.record[self.sealed..]
    }

    /// Length of the sealed part, in bytes.
    pub fn sealed_len(&self) -> usize {
        self.record.len() - self.sealed
    }

    /// The id of the key it says it is sealed with; none if the sealed part is cut short.
    pub fn key_id(&self) -> Option<u32> {
        crate::seal::key_id(self.sealed())
    }

    /// Length of the record, in bytes.
    pub fn record_len(&self) -> usize {
        self.record.len()
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        sizes(f, "Stored", self.id, self.sealed - PREFIX, self.sealed_len())
    }
}

fn sizes(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    id: TaskId,
    header: usize,
    sealed: usize,
) -> fmt::Result {
    write!(f, "{name} {{ id: {id}, header: {header} bytes, sealed: {sealed} bytes }}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: TaskId = TaskId::from_bytes([7; 16]);

    #[test]
    fn a_record_is_split_where_it_says() {
        let stored = Stored::parse(ID, b"\x00\x02abXYZ".to_vec()).expect("parses");
        assert_eq!((stored.header_bytes(), stored.sealed()), (&b"ab"[..], &b"XYZ"[..]));
        assert_eq!((stored.id(), stored.sealed_len(), stored.record_len()), (ID, 3, 7));
        assert_eq!(stored.key_id(), None);
        assert_eq!(
            format!("{stored:?}"),
            format!("Stored {{ id: {ID}, header: 2 bytes, sealed: 3 bytes }}")
        );
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let long = [&[0x10, 0x01][..], &[1; 5000]].concat();
        let huge = [&[0x00, 0x01][..], &vec![1; RECORD_BYTES_MAX - 1]].concat();
        for bad in [&b""[..], b"\0", b"\0\0", b"\0\0abc", b"\0\x04abc", &long, &huge] {
            assert!(Stored::parse(ID, bad.to_vec()).expect_err("bad").is_corrupt());
        }
        assert!(Stored::parse(ID, huge[..huge.len() - 1].to_vec()).is_ok());
        assert!(Stored::parse(ID, b"\0\x03abc".to_vec()).is_ok());
    }

    #[test]
    fn what_stands_in_for_a_record_has_no_header() {
        assert!(Stored::damaged(ID).header().expect_err("damaged").is_corrupt());
        assert!(Stored::newer(ID).header().expect_err("newer").is_newer());
        assert_eq!((Stored::damaged(ID).sealed_len(), Stored::newer(ID).sealed_len()), (0, 0));
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(stored) = Stored::parse(ID, bytes) {
                let _ = (stored.header(), stored.key_id(), format!("{stored:?}"));
            }
        }
    }
}
