//! The clear header of a task: what brokers, workers and people may know of it without a key.
//!
//! Written once and authenticated with the payload, so it is never altered: what changes legally is in
//! the [trail](crate::task::Trail). It is the one thing decoded before authentication, hence its fixed
//! shape and its bounds. Stored as a format version byte and a flat bincode struct; times are u64 ms.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::{TIMESTAMP_MAX, Timestamp};
use crate::codec::{self, Codec};
use crate::error::{Error, Result};
use crate::outcome::Limits;
use crate::queue::{Kind, NAME_BYTES_MAX, QueueName};

/// Newest header format this version writes and reads.
const VERSION: u8 = 1;
/// Largest stored header, in bytes.
pub const HEADER_BYTES_MAX: usize = 4096;
/// Most extensions of one header.
pub const EXTENSIONS_MAX: usize = 16;
/// Highest priority.
pub const PRIORITY_MAX: u8 = 9;

/// What is known of a task in clear.
///
/// Durations have ms precision: rounded up when stored, so that none becomes zero by rounding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Names the handler.
    pub kind: Kind,
    /// The queue it was first enqueued to.
    pub queue: QueueName,
    /// How the payload is written.
    pub codec: Codec,
    /// The version of the payload's shape.
    pub schema: u16,
    /// When it was enqueued.
    pub created: Timestamp,
    /// How many times a failed run is repeated.
    pub max_retry: u32,
    /// How long one run may take; zero means no limit.
    pub timeout: Duration,
    /// After this no run starts and a running one is stopped.
    pub deadline: Option<Timestamp>,
    /// After this the first run does not start.
    pub expires: Option<Timestamp>,
    /// How long it is kept once completed; zero: gone at once.
    pub retention: Duration,
    /// Which of ten pending lists it waits in: 0 (the default) to [`PRIORITY_MAX`].
    pub priority: u8,
    /// The class in its ticket, for limits and fair shares; 0 unless used.
    pub class: u8,
    /// The group it is aggregated in: 1 to 64 visible ASCII characters.
    pub group: Option<String>,
    /// Made from the caller's own key: the id is remembered after the task is gone.
    pub remember: bool,
    /// How its uniqueness is kept; 0 means none.
    pub unique: u8,
    /// Reserved, 0 today; unknown bits are kept and mean nothing.
    pub flags: u32,
    /// What later versions add; at most [`EXTENSIONS_MAX`].
    pub extensions: Vec<Extension>,
}

/// A field that a later version added to the header.
#[derive(Clone, PartialEq, Eq)]
pub struct Extension {
    /// Says which.
    pub tag: u8,
    /// Whether a reader that does not know the tag must refuse the task.
    pub critical: bool,
    /// Its value.
    pub data: Vec<u8>,
}

impl Extension {
    fn flat(&self) -> (u8, bool, Cow<'_, [u8]>) {
        (self.tag, self.critical, Cow::Borrowed(&self.data))
    }
}

impl fmt::Debug for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tag, critical, data } = self;
        write!(f, "Extension {{ tag: {tag}, critical: {critical}, bytes: {} }}", data.len())
    }
}

/// The stored form, field for field. Golden: format 1 never changes.
#[derive(Serialize, Deserialize)]
struct Flat<'a> {
    version: u8,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    queue: Cow<'a, str>,
    codec: u8,
    schema: u16,
    created: u64,
    max_retry: u32,
    timeout: u64,
    deadline: Option<u64>,
    expires: Option<u64>,
    retention: u64,
    priority: u8,
    class: u8,
    group: Option<Cow<'a, str>>,
    remember: bool,
    unique: u8,
    flags: u32,
    extensions: Vec<(u8, bool, Cow<'a, [u8]>)>,
}

impl Header {
    /// A header with the defaults of a task that names no options.
    pub fn new(kind: Kind, queue: QueueName, created: Timestamp) -> Self {
        Self {
            kind,
            queue,
            codec: Codec::Json,
            schema: 1,
            created,
            max_retry: 25,
            timeout: Duration::from_secs(30 * 60),
            deadline: None,
            expires: None,
            retention: Duration::ZERO,
            priority: 0,
            class: 0,
            group: None,
            remember: false,
            unique: 0,
            flags: 0,
            extensions: Vec::new(),
        }
    }

    /// The stored form. A field out of its bounds [`is_invalid`](Error::is_invalid), more than
    /// [`HEADER_BYTES_MAX`] bytes [`is_too_large`](Error::is_too_large).
    pub fn encode(&self) -> Result<Vec<u8>> {
        if let Some(fault) = self.fault() {
            return Err(Error::invalid(fault));
        }
        let flat = Flat {
            version: VERSION,
            kind: self.kind.as_str().into(),
            queue: self.queue.as_str().into(),
            codec: self.codec as u8,
            schema: self.schema,
            created: self.created.0,
            max_retry: self.max_retry,
            timeout: millis(self.timeout),
            deadline: self.deadline.map(|time| time.0),
            expires: self.expires.map(|time| time.0),
            retention: millis(self.retention),
            priority: self.priority,
            class: self.class,
            group: self.group.as_deref().map(Cow::Borrowed),
            remember: self.remember,
            unique: self.unique,
            flags: self.flags,
            extensions: self.extensions.iter().map(Extension::flat).collect(),
        };
        codec::to_bincode(&flat, HEADER_BYTES_MAX)
    }

    /// Reads a stored header. A newer format, or an unknown critical extension,
    /// [`is_newer`](Error::is_newer); all else that is not a header [`is_corrupt`](Error::is_corrupt).
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        match bytes.first() {
            Some(&VERSION) if bytes.len() <= HEADER_BYTES_MAX => {}
            Some(version) if *version > VERSION => {
                return Err(Error::newer(format!(
                    "header format {version} is newer than {VERSION}; upgrade this process"
                )));
            }
            _ => return Err(Error::corrupt(format!("{} bytes are no header", bytes.len()))),
        }
        let flat: Flat<'_> = codec::from_bincode(bytes, HEADER_BYTES_MAX)?;
        let corrupt = |error: Error| Error::corrupt("header with a bad name").because(error);
        let extension = |(tag, critical, data): (u8, bool, Cow<'_, [u8]>)| Extension {
            tag,
            critical,
            data: data.into_owned(),
        };
        let header = Self {
            kind: Kind::parse(&flat.kind).map_err(corrupt)?,
            queue: QueueName::parse(&flat.queue).map_err(corrupt)?,
            codec: Codec::from_byte(flat.codec)?,
            schema: flat.schema,
            created: Timestamp(flat.created),
            max_retry: flat.max_retry,
            timeout: Duration::from_millis(flat.timeout),
            deadline: flat.deadline.map(Timestamp),
            expires: flat.expires.map(Timestamp),
            retention: Duration::from_millis(flat.retention),
            priority: flat.priority,
            class: flat.class,
            group: flat.group.map(Cow::into_owned),
            remember: flat.remember,
            unique: flat.unique,
            flags: flat.flags,
            extensions: flat.extensions.into_iter().map(extension).collect(),
        };
        if let Some(fault) = header.fault() {
            return Err(Error::corrupt(fault));
        }
        match header.extensions.iter().find(|extension| extension.critical) {
            Some(Extension { tag, .. }) => Err(Error::newer(format!(
                "header extension {tag} is critical and unknown here; upgrade this process"
            ))),
            None => Ok(header),
        }
    }

    /// The limits that the policy decides by.
    pub fn limits(&self) -> Limits {
        Limits { max_retry: self.max_retry, deadline: self.deadline, retention: self.retention }
    }

    /// What is out of bounds.
    fn fault(&self) -> Option<&'static str> {
        let late = |time: &Timestamp| *time > TIMESTAMP_MAX;
        let plain = |group: &str| {
            (1..=NAME_BYTES_MAX).contains(&group.len())
                && group.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if self.priority > PRIORITY_MAX {
            Some("a priority is 0 to 9")
        } else if [Some(self.created), self.deadline, self.expires].iter().flatten().any(late) {
            Some("a time lies beyond the year 9999")
        } else if !self.group.as_deref().is_none_or(plain) {
            Some("a group is 1 to 64 visible ASCII characters")
        } else if self.extensions.len() > EXTENSIONS_MAX {
            Some("a header has at most 16 extensions")
        } else {
            None
        }
    }
}

/// Whole milliseconds, rounded up.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOLDEN: &[u8] = include_bytes!("../../tests/data/header-v1.bin");

    fn plain() -> Header {
        let name = "file:digest";
        let queue = QueueName::parse("mail").expect("name");
        Header::new(Kind::parse(name).expect("name"), queue, Timestamp(1_700_000_000_000))
    }

    /// Every field set, none to its default.
    fn full() -> Header {
        Header {
            codec: Codec::Bincode,
            schema: 300,
            max_retry: 70_000,
            timeout: Duration::from_millis(1_500),
            deadline: Some(Timestamp(1_700_000_100_000)),
            expires: Some(TIMESTAMP_MAX),
            retention: Duration::from_secs(86_400),
            priority: 9,
            class: 251,
            group: Some("tenant-7".into()),
            remember: true,
            unique: 2,
            flags: 0x8000_0001,
            extensions: vec![Extension { tag: 200, critical: false, data: vec![0, 255, 7] }],
            ..plain()
        }
    }

    #[test]
    fn format_1_is_golden() {
        // Only for a new format, under a new name: what is written is kept for ever.
        if std::env::var_os("ONCUE_WRITE_GOLDEN").is_some_and(|write| write == "1") {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/header-v1.bin");
            return std::fs::write(path, full().encode().expect("encodes")).expect("written");
        }
        assert_eq!(full().encode().expect("encodes"), GOLDEN);
        assert_eq!(Header::decode(GOLDEN).expect("decodes"), full());
        assert_eq!(plain().encode().expect("encodes").len(), 45);
    }

    #[test]
    fn what_comes_from_a_newer_version_is_told() {
        let mut bytes = GOLDEN.to_vec();
        bytes[0] = 2;
        assert!(Header::decode(&bytes).expect_err("version").is_newer());
        bytes[0] = 0;
        assert!(Header::decode(&bytes).expect_err("version").is_corrupt());
        let mut header = full();
        header.extensions[0].critical = true;
        let error = Header::decode(&header.encode().expect("encodes")).expect_err("critical");
        assert!(error.is_newer() && error.to_string().contains("200"), "{error}");
    }

    #[test]
    fn out_of_bounds_is_refused_both_ways() {
        let late = Timestamp(TIMESTAMP_MAX.0 + 1);
        let extension = Extension { tag: 1, critical: false, data: Vec::new() };
        for bad in [
            Header { priority: 10, ..plain() },
            Header { created: late, ..plain() },
            Header { deadline: Some(late), ..plain() },
            Header { group: Some(String::new()), ..plain() },
            Header { group: Some("a\nb".into()), ..plain() },
            Header { extensions: vec![extension.clone(); 17], ..plain() },
        ] {
            assert!(bad.encode().expect_err("bounds").is_invalid());
        }
        let big = Extension { data: vec![0; HEADER_BYTES_MAX], ..extension };
        let big = Header { extensions: vec![big], ..plain() };
        assert!(big.encode().expect_err("size").is_too_large());
        let mut bytes = plain().encode().expect("encodes");
        let priority = bytes.len() - 7;
        bytes[priority] = 10;
        assert!(Header::decode(&bytes).expect_err("priority").is_corrupt());
        bytes[priority] = 9;
        assert!(Header::decode(&bytes).is_ok(), "the control: only the priority was wrong");
        bytes[2] = b'F';
        assert!(Header::decode(&bytes).expect_err("name").is_corrupt());
    }

    #[test]
    fn length_bombs_are_refused() {
        let bytes = plain().encode().expect("encodes");
        let (list, kind) = (&bytes[..bytes.len() - 1], &bytes[..1]);
        for length in [&[0xfb, 0xff, 0xff][..], &[0xfc, 0xff, 0xff, 0xff, 0xff], &[0xfd; 9]] {
            for start in [list, kind] {
                let mut bomb = [start, length].concat();
                assert!(Header::decode(&bomb).is_err());
                bomb.resize(HEADER_BYTES_MAX, 0);
                assert!(Header::decode(&bomb).is_err());
                bomb.push(0);
                assert!(Header::decode(&bomb).expect_err("long").is_corrupt());
            }
        }
        assert!(Header::decode(&bytes).is_ok());
    }

    #[test]
    fn only_the_whole_header_decodes() {
        for length in 0..GOLDEN.len() {
            assert!(Header::decode(&GOLDEN[..length]).is_err(), "{length} bytes");
        }
        assert!(Header::decode(&[GOLDEN, b"\0"].concat()).expect_err("trailing").is_corrupt());
    }

    #[test]
    fn a_short_timeout_does_not_become_none() {
        let header = Header { timeout: Duration::from_nanos(1), ..plain() };
        let back = Header::decode(&header.encode().expect("encodes")).expect("decodes");
        assert_eq!(back.timeout, Duration::from_millis(1));
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Header::decode(&bytes);
            let _ = Header::decode(&[&[VERSION], &bytes[..]].concat());
        }

        #[test]
        fn what_an_altered_header_decodes_to_is_in_bounds(at in 0..GOLDEN.len(), byte: u8) {
            let mut bytes = GOLDEN.to_vec();
            bytes[at] = byte;
            if let Ok(header) = Header::decode(&bytes) {
                prop_assert!(header.fault().is_none());
                let _ = (header.created.to_string(), header.encode()?);
            }
        }
    }
}
