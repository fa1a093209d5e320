//! A batch of seals: one epoch, and one call of the random generator for all their nonces.
//!
//! Nonces die with the batch and are never kept for the next, so two clones of a virtual machine repeat
//! none as long as a batch does not outlive one call. Hence: make it, use it, drop it.

use std::fmt;
use std::sync::Arc;

use ring::aead::NONCE_LEN;
use ring::rand::SecureRandom;

use crate::codec::{Codec, PAYLOAD_BYTES_MAX};
use crate::envelope::{Envelope, Header};
use crate::error::{Error, Result};
use crate::seal::Sealer;
use crate::seal::blob::{self, Purpose, Sealed, Seat};
use crate::seal::epoch::{Epoch, no_random};
use crate::seal::opened::pack;
use crate::task::TaskId;

/// Most nonces of one draw; a larger batch draws again.
const DRAW_MAX: usize = 4096;

/// Seals several blobs at the price of one epoch look-up and one system call.
pub struct SealBatch {
    sealer: Sealer,
    epoch: Arc<Epoch>,
    /// `nonces[used..]` are fresh.
    nonces: Vec<[u8; NONCE_LEN]>,
    used: usize,
    aad: Vec<u8>,
}

impl SealBatch {
    pub(crate) fn new(sealer: Sealer, seals: usize) -> Result<Self> {
        let seals = seals.clamp(1, DRAW_MAX);
        let (epoch, nonces) = draw(&sealer, seals)?;
        Ok(Self { sealer, epoch, nonces, used: 0, aad: Vec::new() })
    }

    /// Seals a task. The body is at most [`PAYLOAD_BYTES_MAX`] bytes, written with the header's codec;
    /// `headers` are at most [`HEADERS_MAX`](super::HEADERS_MAX) entries and
    /// [`HEADERS_BYTES_MAX`](super::HEADERS_BYTES_MAX) bytes. Over a limit it
    /// [`is_too_large`](Error::is_too_large), a bad field [`is_invalid`](Error::is_invalid).
    pub fn envelope(
        &mut self,
        id: TaskId,
        header: Header,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Result<Envelope> {
        if body.len() > PAYLOAD_BYTES_MAX {
            return Err(Error::too_large(format!(
                "a payload of {} bytes is over the limit of {PAYLOAD_BYTES_MAX}; store the data elsewhere \
                 and enqueue where it is",
                body.len()
            )));
        }
        let bytes = header.encode()?;
        let packed = pack(headers)?;
        let length = (packed.len() as u32).to_be_bytes();
        let seat = Seat { purpose: Purpose::Payload, task: id, attempt: 0, header: &bytes };
        let sealed = self.parts(&seat, header.codec, &[&length, &packed, body])?;
        Ok(Envelope::new(id, header, bytes, sealed))
    }

    /// Seals a blob. A payload's attempt other than 0 [`is_invalid`](Error::is_invalid), a plaintext over
    /// the limit [`is_too_large`](Error::is_too_large).
    pub fn seal(&mut self, seat: &Seat<'_>, codec: Codec, plaintext: &[u8]) -> Result<Sealed> {
        self.parts(seat, codec, &[plaintext])
    }

    fn parts(&mut self, seat: &Seat<'_>, codec: Codec, parts: &[&[u8]]) -> Result<Sealed> {
        if self.used == self.nonces.len() {
            (self.epoch, self.nonces) = draw(&self.sealer, self.nonces.len())?;
            self.used = 0;
        }
        let nonce = self.nonces[self.used];
        self.used += 1;
        blob::seal(&self.epoch, nonce, self.sealer.namespace(), seat, codec, parts, &mut self.aad)
    }
}

/// An epoch with room for `seals`, and as many nonces.
fn draw(sealer: &Sealer, seals: usize) -> Result<(Arc<Epoch>, Vec<[u8; NONCE_LEN]>)> {
    let epoch = sealer.epochs().sealing(sealer.random(), seals as u64)?;
    let mut nonces = vec![[0; NONCE_LEN]; seals];
    sealer.random().fill(nonces.as_flattened_mut()).map_err(|_| no_random())?;
    Ok((epoch, nonces))
}

impl fmt::Debug for SealBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealBatch {{ used: {} of {} }}", self.used, self.nonces.len())
    }
}
