//! The timetable: what is to be enqueued again and again, and which tick came last.
//!
//! A broker keeps entries and computes no times: what is in an entry is not its business. That a tick is enqueued once,
//! however many schedulers there are and however late one of them is, is: see [`Tick`].

use crate::clock::Timestamp;
#[cfg(any(feature = "sqlite", feature = "redis", feature = "cron"))]
use crate::error::{Error, Result};
use crate::queue::QueueName;
use crate::task::TaskId;

use super::{Broker, Reply};

/// Longest name of an entry, in bytes.
pub const ENTRY_NAME_BYTES_MAX: usize = 64;
/// Most bytes of what is in an entry: 64 KiB.
pub const ENTRY_BYTES_MAX: usize = 64 * 1024;
/// Most entries of one queue.
pub const ENTRIES_MAX: usize = 10_000;
/// How many ticks are remembered of an entry, the latest.
pub const TICKS_KEPT: usize = 100;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The queue its tasks go to.
    pub queue: QueueName,
    /// Its name, unique in its queue: 1 to [`ENTRY_NAME_BYTES_MAX`] bytes.
    pub name: String,
    /// What it says; at most [`ENTRY_BYTES_MAX`].
    pub body: Vec<u8>,
    /// Grows with every change.
    pub version: u64,
    /// The last tick that was enqueued, or passed over; at first when the entry was made, by the broker's clock.
    pub last: Timestamp,
    /// The latest ticks for which something was enqueued and the first task of each, the oldest first; at most
    /// [`TICKS_KEPT`].
    pub ticks: Vec<(Timestamp, TaskId)>,
}

/// A tick: its batch is stored only if the entry still is as it was seen, and then the tick is its last one, in the same
/// moment. Otherwise nothing is stored, and every task is [`Enqueued::Late`](super::Enqueued::Late). The batch
/// may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tick {
    /// The entry, of the queue of the batch.
    pub entry: String,
    /// The version seen.
    pub version: u64,
    /// The last tick seen.
    pub last: Timestamp,
    /// The tick; after `last`.
    pub at: Timestamp,
}

/// Keeps the timetable.
pub trait Timetable: Broker {
    /// Every entry, by queue and name.
    fn entries(&self) -> Reply<Vec<Entry>>;

    /// Writes what is in an entry, if its version is `seen`; 0: if there is none yet. Answers whether it was written.
    /// The last tick and the history of one that is there stay.
    fn write_entry(&self, queue: QueueName, name: String, body: Vec<u8>, seen: u64) -> Reply<bool>;

    /// Removes an entry with its history; false if there is none.
    fn remove_entry(&self, queue: QueueName, name: String) -> Reply<bool>;
}

/// Whether this may be the name of an entry.
#[cfg(any(feature = "sqlite", feature = "redis", feature = "cron"))]
pub(crate) fn check_name(name: &str) -> Result<()> {
    let fits = (1..=ENTRY_NAME_BYTES_MAX).contains(&name.len());
    if fits && name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{name:?} is no name of an entry; use 1 to {ENTRY_NAME_BYTES_MAX} visible ASCII characters"
    )))
}
