//! Sealing: what leaves the process unreadable, and what comes back opened or refused.
//!
//! A [`Sealer`] turns bytes into [`Sealed`] ones and back. Every blob is bound to its [`Seat`] and to the
//! namespace; altered or moved, it does not open. Keys come from a [`Keyring`], that from a [`KeySource`].
//! It hides neither sizes nor times, and whoever holds a key can both seal and open.
//!
//! ```
//! use oncue::codec::Codec;
//! use oncue::seal::{Keyring, Purpose, Seat, Sealer};
//! use oncue::task::TaskId;
//!
//! let sealer = Sealer::new(Keyring::generate()?, "prod")?;
//! let seat = Seat { purpose: Purpose::Result, task: TaskId::fresh(), attempt: 1, header: b"" };
//! let sealed = sealer.seal(&seat, Codec::Json, b"42")?;
//! assert_eq!(&*sealer.open(&seat, sealed.as_bytes())?.plaintext, b"42");
//!
//! let elsewhere = Seat { attempt: 2, ..seat };
//! assert!(sealer.open(&elsewhere, sealed.as_bytes()).unwrap_err().is_tampered());
//! # Ok::<(), oncue::Error>(())
//! ```

mod batch;
mod blob;
mod epoch;
mod index;
mod key;
mod keyring;
mod opened;
mod source;
#[cfg(feature = "cron")]
mod template;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ring::rand::SystemRandom;

pub use batch::SealBatch;
pub(crate) use blob::key_id;
pub use blob::{OVERHEAD, Purpose, SEALED_BYTES_MAX, Sealed, Seat};
pub use index::CALLER_KEY_BYTES_MAX;
pub use key::KeyState;
pub use keyring::{KEYRING_BYTES_MAX, KEYS_MAX, Keyring};
pub use opened::{HEADERS_BYTES_MAX, HEADERS_MAX, Opened, OpenedTask, Plaintext};
pub use source::{COMMAND_TIME_MAX, CommandKeys, EnvKeys, FileKeys, KeySource};

use crate::codec::Codec;
use crate::envelope::Stored;
use crate::error::{Error, Result};
use crate::queue::{Kind, QueueName};
use crate::task::{TaskId, Trail};
use blob::Blob;
use epoch::Epochs;

/// Seals and opens for one namespace. Cheap to clone; clones share keyring and epochs.
#[derive(Clone)]
pub struct Sealer(Arc<Inner>);

struct Inner {
    namespace: String,
    random: SystemRandom,
    epochs: ArcSwap<Epochs>,
}

impl Sealer {
    /// A sealer for `namespace`, which follows the grammar of a queue's name; else it
    /// [`is_invalid`](Error::is_invalid).
    pub fn new(keyring: Keyring, namespace: &str) -> Result<Self> {
        QueueName::parse(namespace)
            .map_err(|error| Error::invalid("bad namespace").because(error))?;
        Ok(Self(Arc::new(Inner {
            namespace: namespace.to_owned(),
            random: SystemRandom::new(),
            epochs: ArcSwap::from_pointee(Epochs::new(keyring)),
        })))
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.0.namespace
    }

    /// The keyring in use.
    pub fn keyring(&self) -> Arc<Keyring> {
        Arc::clone(self.0.epochs.load().keyring())
    }

    /// Puts another keyring to use, at once and in every clone; opens a new epoch. A batch under way
    /// keeps its key.
    pub fn replace_keyring(&self, keyring: Keyring) {
        self.0.epochs.store(Arc::new(Epochs::new(keyring)));
    }

    /// Makes ready for about `n` seals. Without an active key it [`is_key`](Error::is_key).
    pub fn batch(&self, n: usize) -> Result<SealBatch> {
        SealBatch::new(self.clone(), n)
    }

    /// Seals one blob; see [`SealBatch::seal`].
    pub fn seal(&self, seat: &Seat<'_>, codec: Codec, plaintext: &[u8]) -> Result<Sealed> {
        self.batch(1)?.seal(seat, codec, plaintext)
    }

    /// Opens a blob that belongs to `seat`.
    ///
    /// Refusals, told apart by the error: [`is_tampered`](Error::is_tampered) (altered, cut, or of another
    /// seat or namespace), [`is_newer`](Error::is_newer), [`is_unknown_key`](Error::is_unknown_key),
    /// [`is_retired_key`](Error::is_retired_key), [`is_wrong_key`](Error::is_wrong_key). An alteration of
    /// the bytes that name the key looks like the matching key error.
    pub fn open(&self, seat: &Seat<'_>, sealed: &[u8]) -> Result<Opened> {
        let blob = Blob::parse(sealed, seat.purpose)?;
        let epoch = self.0.epochs.load().opening(&blob)?;
        blob.open(&epoch, self.namespace(), seat)
    }

    /// Opens a task's payload; refusals as in [`open`](Self::open). Proves its id and header, too.
    pub fn open_task(&self, stored: &Stored) -> Result<OpenedTask> {
        let header = stored.header_bytes();
        let seat = Seat { purpose: Purpose::Payload, task: stored.id(), attempt: 0, header };
        opened::unpack(self.open(&seat, stored.sealed())?)
    }

    /// The message of a task's last failure, if there is one and it opens.
    pub(crate) fn open_failure(&self, stored: &Stored, trail: &Trail) -> Option<String> {
        let detail = trail.error.as_ref()?;
        let (task, header) = (stored.id(), stored.header_bytes());
        let seat = Seat { purpose: Purpose::Error, task, attempt: detail.attempt, header };
        let opened = self.open(&seat, &detail.sealed).ok()?;
        Some(String::from_utf8_lossy(&opened.plaintext).into_owned())
    }

    /// The id that a caller's own key stands for: of 1 to [`CALLER_KEY_BYTES_MAX`] bytes, else it
    /// [`is_invalid`](Error::is_invalid). Without an index key it [`is_key`](Error::is_key).
    pub fn derive_id(&self, queue: &QueueName, kind: &Kind, key: &str) -> Result<TaskId> {
        let ids = self.derive_ids(queue, kind, key)?;
        ids.first().copied().ok_or_else(|| Error::key("the keyring has no index key"))
    }

    /// Every id that a caller's own key may stand for while index keys rotate: newest first, the first
    /// being [`derive_id`](Self::derive_id)'s.
    pub fn derive_ids(&self, queue: &QueueName, kind: &Kind, key: &str) -> Result<Vec<TaskId>> {
        index::derive_ids(self.0.epochs.load().keyring(), self.namespace(), queue, kind, key)
    }

    /// The names of the lock over tasks of this kind that are alike in `what`: by what, and its value. One under each
    /// index key. Without an index key it [`is_key`](Error::is_key).
    pub(crate) fn derive_locks(
        &self,
        queue: &QueueName,
        kind: &Kind,
        what: [&str; 2],
    ) -> Result<Vec<[u8; 16]>> {
        index::derive_locks(self.0.epochs.load().keyring(), self.namespace(), queue, kind, what)
    }

    fn epochs(&self) -> Arc<Epochs> {
        self.0.epochs.load_full()
    }

    fn random(&self) -> &SystemRandom {
        &self.0.random
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer {{ namespace: {:?}, {:?} }}", self.namespace(), self.keyring())
    }
}
