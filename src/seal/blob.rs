//! The bytes of a sealed blob: suite 1, HKDF-SHA-256 and AES-256-GCM, committing.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 1 | magic `9A`, never the first byte of UTF-8 |
//! | 1 | 1 | suite |
//! | 2 | 1 | purpose |
//! | 3 | 1 | codec |
//! | 4 | 4 | key id |
//! | 8 | 16 | epoch salt |
//! | 24 | 32 | key commitment |
//! | 56 | 12 | nonce |
//! | 68 | n | ciphertext |
//! | 68+n | 16 | tag |
//!
//! Authenticated beside it: `"oncue/aad/v1\0" || bytes[0..68] || lp(namespace) || task id || attempt u32 ||
//! lp(header)`, big-endian, `lp` a u32 length prefix. Which key and which nonce is not decided here.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, Tag};
use zeroize::Zeroizing;

use crate::codec::{Codec, PAYLOAD_BYTES_MAX};
use crate::error::{Error, Result};
use crate::seal::epoch::{Epoch, SALT_BYTES};
use crate::seal::opened::{HEADERS_BYTES_MAX, Opened, Plaintext};
use crate::task::TaskId;

const MAGIC: u8 = 0x9a;
/// The one suite this version knows.
pub(crate) const SUITE: u8 = 1;
const COMMITMENT: usize = 24;
const NONCE: usize = 56;
const HEAD: usize = 68;
const TAG: usize = 16;
const AAD: &[u8] = b"oncue/aad/v1\0";

/// What sealing adds to a plaintext, in bytes.
pub const OVERHEAD: usize = HEAD + TAG;
/// Largest plaintext: a payload with its sealed headers.
pub(crate) const PLAINTEXT_BYTES_MAX: usize = 4 + HEADERS_BYTES_MAX + PAYLOAD_BYTES_MAX;
/// Largest sealed blob, in bytes.
pub const SEALED_BYTES_MAX: usize = OVERHEAD + PLAINTEXT_BYTES_MAX;

/// Bytes that are sealed: made only here, or recognised by their form.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

impl Sealed {
    /// A payload that was sealed before and comes back by way of somebody else's database. Bytes of any other form are
    /// refused, so plaintext cannot pass for one; whether it opens is found out by whoever opens it.
    pub(crate) fn payload(bytes: Vec<u8>) -> Result<Self> {
        Blob::parse(&bytes, Purpose::Payload)?;
        Ok(Self(bytes))
    }

    /// The bytes, safe to store anywhere.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, safe to store anywhere.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// How many bytes: the plaintext and [`OVERHEAD`].
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed {{ bytes: {} }}", self.len())
    }
}

/// What a blob is for. The byte is part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Purpose {
    /// The payload of a task.
    Payload = 1,
    /// What a handler returned.
    Result = 2,
    /// Why a run failed.
    Error = 3,
    /// How far a run has come.
    Progress = 4,
    /// The payload that a schedule enqueues again and again.
    CronTemplate = 5,
    /// What an aggregated group became.
    Group = 6,
    /// An operator's overrides of a task's limits.
    Overrides = 7,
    /// What the runs of a task said.
    Log = 8,
    /// What came of the effects of a task.
    Effects = 9,
}

/// Where a blob belongs: authenticated with it, so it opens nowhere else.
#[derive(Clone, Copy)]
pub struct Seat<'a> {
    /// What it is for.
    pub purpose: Purpose,
    /// Whose it is.
    pub task: TaskId,
    /// Of which attempt; 0 for a payload.
    pub attempt: u32,
    /// The task's stored header, or empty where there is none.
    pub header: &'a [u8],
}

impl fmt::Debug for Seat<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { purpose, task, attempt, header } = self;
        let bytes = header.len();
        write!(f, "Seat {{ {purpose:?}, task: {task}, attempt: {attempt}, header: {bytes} bytes }}")
    }
}

/// Writes what is authenticated beside the plaintext into `aad`, which is a buffer to re-use.
fn authenticate(aad: &mut Vec<u8>, head: &[u8], namespace: &str, seat: &Seat<'_>) {
    // Lengths fit: head and namespace are short, a header is at most HEADER_BYTES_MAX.
    aad.clear();
    aad.reserve(AAD.len() + head.len() + namespace.len() + seat.header.len() + 28);
    aad.extend_from_slice(AAD);
    aad.extend_from_slice(head);
    aad.extend_from_slice(&(namespace.len() as u32).to_be_bytes());
    aad.extend_from_slice(namespace.as_bytes());
    aad.extend_from_slice(seat.task.as_bytes());
    aad.extend_from_slice(&seat.attempt.to_be_bytes());
    aad.extend_from_slice(&(seat.header.len() as u32).to_be_bytes());
    aad.extend_from_slice(seat.header);
}

/// Seals the concatenation of `parts`. The nonce must never have been used in this epoch.
pub(crate) fn seal(
    epoch: &Epoch,
    nonce: [u8; NONCE_LEN],
    namespace: &str,
    seat: &Seat<'_>,
    codec: Codec,
    parts: &[&[u8]],
    aad: &mut Vec<u8>,
) -> Result<Sealed> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    if length > PLAINTEXT_BYTES_MAX {
        return Err(Error::too_large(format!(
            "{length} bytes to seal are over the limit of {PLAINTEXT_BYTES_MAX}"
        )));
    }
    if seat.purpose == Purpose::Payload && seat.attempt != 0 {
        return Err(Error::invalid("a payload is sealed for attempt 0: all attempts share it"));
    }
    let mut bytes = Vec::with_capacity(OVERHEAD + length);
    bytes.extend_from_slice(&[MAGIC, SUITE, seat.purpose as u8, codec as u8]);
    bytes.extend_from_slice(&epoch.key_id().to_be_bytes());
    bytes.extend_from_slice(epoch.salt());
    bytes.extend_from_slice(epoch.commitment());
    bytes.extend_from_slice(&nonce);
    authenticate(aad, &bytes, namespace, seat);
    for part in parts {
        bytes.extend_from_slice(part);
    }
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = epoch
        .aead()
        .seal_in_place_separate_tag(nonce, Aad::from(&*aad), &mut bytes[HEAD..])
        .map_err(|_| Error::system("AES-256-GCM refused to seal"))?;
    bytes.extend_from_slice(tag.as_ref());
    Ok(Sealed(bytes))
}

/// A blob taken apart, nothing of it authenticated yet.
pub(crate) struct Blob<'a> {
    pub(crate) key_id: u32,
    pub(crate) salt: [u8; SALT_BYTES],
    pub(crate) commitment: &'a [u8],
    bytes: &'a [u8],
}

impl<'a> Blob<'a> {
    /// Takes apart what claims to be sealed for `purpose`.
    pub(crate) fn parse(bytes: &'a [u8], purpose: Purpose) -> Result<Self> {
        let tampered = |fault| Error::tampered(format!("{} bytes {fault}", bytes.len()));
        let (Some([magic, suite, byte, _]), Some(key_id)) = (bytes.first_chunk(), key_id(bytes))
        else {
            return Err(tampered("are too few for a sealed blob"));
        };
        if *magic != MAGIC {
            return Err(tampered("are no sealed blob"));
        }
        if *suite != SUITE {
            return Err(Error::newer(format!(
                "sealed by a newer version: suite {suite} is unknown here; upgrade this process"
            )));
        }
        if bytes.len() > SEALED_BYTES_MAX {
            return Err(tampered("are too many for a sealed blob"));
        }
        if *byte != purpose as u8 {
            return Err(Error::tampered(format!("sealed for purpose {byte}, not as {purpose:?}")));
        }
        let mut salt = [0; SALT_BYTES];
        salt.copy_from_slice(&bytes[8..COMMITMENT]);
        Ok(Self { key_id, salt, commitment: &bytes[COMMITMENT..NONCE], bytes })
    }

    /// Opens it with the epoch that its commitment was checked against.
    pub(crate) fn open(&self, epoch: &Epoch, namespace: &str, seat: &Seat<'_>) -> Result<Opened> {
        let tampered = |_| Error::tampered("altered, or of another task, attempt or namespace");
        let (head, rest) = self.bytes.split_at(HEAD);
        let (ciphertext, tag) = rest.split_at(rest.len() - TAG);
        let mut aad = Vec::new();
        authenticate(&mut aad, head, namespace, seat);
        let nonce = Nonce::try_assume_unique_for_key(&head[NONCE..]).map_err(tampered)?;
        let tag = Tag::try_from(tag).map_err(|_| tampered(ring::error::Unspecified))?;
        let mut bytes = Zeroizing::new(ciphertext.to_vec());
        epoch
            .aead()
            .open_in_place_separate_tag(nonce, Aad::from(&aad), tag, &mut bytes, 0..)
            .map_err(tampered)?;
        // The codec byte means something only now that it is authenticated.
        Ok(Opened { codec: Codec::from_byte(head[3])?, plaintext: Plaintext::new(bytes) })
    }
}

/// The id of the key that a blob says it is sealed with; none if it is too short for one.
pub(crate) fn key_id(bytes: &[u8]) -> Option<u32> {
    debug_assert_eq!(AES_256_GCM.tag_len(), TAG);
    let id = bytes.get(4..8).filter(|_| bytes.len() >= OVERHEAD)?;
    Some(u32::from_be_bytes(id.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use ring::hkdf;

    use super::*;
    use crate::seal::key::prk;

    struct Vector {
        prk: hkdf::Prk,
        id: u32,
        salt: [u8; SALT_BYTES],
        nonce: [u8; NONCE_LEN],
        namespace: String,
        codec: Codec,
        purpose: Purpose,
        task: TaskId,
        attempt: u32,
        header: Vec<u8>,
        plaintext: Vec<u8>,
        sealed: Vec<u8>,
    }

    impl Vector {
        fn read(value: &serde_json::Value) -> Self {
            let hex = |name: &str| {
                let text = value[name].as_str().expect("text");
                data_encoding::HEXLOWER.decode(text.as_bytes()).expect("hex")
            };
            let number =
                |name: &str| u32::try_from(value[name].as_u64().expect("number")).expect("u32");
            let purpose = match number("purpose") {
                1 => Purpose::Payload,
                2 => Purpose::Result,
                3 => Purpose::Error,
                4 => Purpose::Progress,
                5 => Purpose::CronTemplate,
                6 => Purpose::Group,
                _ => Purpose::Overrides,
            };
            Self {
                prk: prk(&hex("master")),
                id: number("kid"),
                salt: hex("salt").try_into().expect("16"),
                nonce: hex("nonce").try_into().expect("12"),
                namespace: String::from_utf8(hex("namespace")).expect("UTF-8"),
                codec: Codec::from_byte(number("codec") as u8).expect("codec"),
                purpose,
                task: TaskId::from_bytes(hex("task").try_into().expect("16")),
                attempt: number("attempt"),
                header: hex("header"),
                plaintext: hex("plaintext"),
                sealed: hex("sealed"),
            }
        }

        fn seat(&self) -> Seat<'_> {
            let Self { purpose, task, attempt, header, .. } = self;
            Seat { purpose: *purpose, task: *task, attempt: *attempt, header }
        }
    }

    #[test]
    fn the_independent_vectors_are_reproduced_and_open() {
        let file: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/data/seal-v1.json")).expect("JSON");
        let vectors = file["vectors"].as_array().expect("list");
        assert_eq!(vectors.len(), 24);
        for (number, value) in vectors.iter().enumerate() {
            let v = Vector::read(value);
            let epoch = Epoch::derive(&v.prk, v.id, v.salt).expect("derived");
            let parts = v.plaintext.split_at(v.plaintext.len() / 3);
            let mut aad = vec![1, 2, 3];
            let sealed = seal(
                &epoch,
                v.nonce,
                &v.namespace,
                &v.seat(),
                v.codec,
                &[parts.0, parts.1],
                &mut aad,
            )
            .expect("seals");
            assert!(sealed.as_bytes() == v.sealed, "vector {number} is not reproduced");
            let blob = Blob::parse(&v.sealed, v.purpose).expect("parses");
            assert_eq!((blob.key_id, blob.salt), (v.id, v.salt));
            assert_eq!(blob.commitment, epoch.commitment());
            let opened = blob.open(&epoch, &v.namespace, &v.seat()).expect("opens");
            assert_eq!(opened.codec, v.codec);
            assert!(*opened.plaintext == v.plaintext, "vector {number} opens to something else");
        }
    }

    #[test]
    fn a_payload_has_no_attempt_and_a_limit() {
        let epoch = Epoch::derive(&prk(&[9; 32]), 1, [1; SALT_BYTES]).expect("derived");
        let seat = |purpose, attempt| Seat {
            purpose,
            task: TaskId::from_bytes([1; 16]),
            attempt,
            header: b"",
        };
        let make = |seat, bytes: &[u8]| {
            seal(&epoch, [0; 12], "n", &seat, Codec::Json, &[bytes], &mut Vec::new())
        };
        assert!(make(seat(Purpose::Payload, 1), b"").expect_err("attempt").is_invalid());
        assert!(make(seat(Purpose::Error, 1), b"").is_ok());
        let bytes = vec![0; PLAINTEXT_BYTES_MAX + 1];
        assert!(make(seat(Purpose::Error, 1), &bytes).expect_err("big").is_too_large());
        let largest = make(seat(Purpose::Error, 1), &bytes[1..]).expect("fits");
        assert_eq!(largest.len(), SEALED_BYTES_MAX);
        assert!(Blob::parse(largest.as_bytes(), Purpose::Error).is_ok());
        let longer = [largest.as_bytes(), b"x"].concat();
        assert!(Blob::parse(&longer, Purpose::Error).err().expect("long").is_tampered());
    }
}
