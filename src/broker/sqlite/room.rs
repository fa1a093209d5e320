//! Room: how many tasks and bytes an enqueue may add to a queue.

use std::collections::HashSet;

use rusqlite::params;

use super::enqueue::KNOWN;
use super::fault::Step;
use super::task::{count, ms};
use super::txn::Txn;
use crate::broker::{Batch, Enqueued, NewTask};
use crate::error::{Error, Result};

pub(super) const ROOM: &str = "SELECT most, bytes_most, n0 + n1 + n2 + n3 + n6 + n7,
    coalesce(bytes, 0) FROM oncue_queue WHERE row = ?1";

/// The limits of a queue, and what it holds.
pub(super) struct Room {
    most: Option<i64>,
    bytes_most: Option<i64>,
    live: i64,
    bytes: i64,
    /// What of the bytes this transaction has yet to write.
    tallied: i64,
}

impl Room {
    pub(super) fn read(tx: &mut Txn<'_>, queue: i64) -> Step<Self> {
        let (live, tallied) = (tx.live_change(queue), tx.tally(queue).bytes);
        let mut query = tx.conn.prepare_cached(ROOM)?;
        Ok(query.query_row([queue], |row| {
            Ok(Self {
                most: row.get(0)?,
                bytes_most: row.get(1)?,
                live: row.get::<_, i64>(2)? + live,
                bytes: row.get::<_, i64>(3)? + tallied,
                tallied,
            })
        })?)
    }

    /// Whether there is any limit.
    pub(super) fn is_limited(&self) -> bool {
        self.most.is_some() || self.bytes_most.is_some()
    }

    /// Whether so many tasks and bytes more are too many. What adds nothing is always let in.
    pub(super) fn check(&self, batch: &Batch, tasks: i64, bytes: i64) -> Result<()> {
        let is_beyond = |most: &i64, held: i64, new: i64| new > 0 && held + new > *most;
        let full = |most: i64, unit: &str| {
            Error::full(format!("queue {} is at its limit of {most} {unit}", batch.queue))
        };
        if let Some(most) = self.most.filter(|most| is_beyond(most, self.live, tasks)) {
            return Err(full(most, "tasks"));
        }
        match self.bytes_most.filter(|most| is_beyond(most, self.bytes, bytes)) {
            Some(most) => Err(full(most, "bytes")),
            None => Ok(()),
        }
    }

    /// The same, of what was stored since this was read.
    pub(super) fn check_stored(
        &self,
        tx: &mut Txn<'_>,
        queue: i64,
        batch: &Batch,
        answers: &[Enqueued],
    ) -> Result<()> {
        let is_new = |answer: &&Enqueued| **answer == Enqueued::Created;
        let tasks = count(answers.iter().filter(is_new).count());
        let bytes = tx.tally(queue).bytes - self.tallied;
        self.check(batch, tasks, bytes)
    }
}

/// How many tasks of a batch are neither there nor remembered, and their bytes.
pub(super) fn new(tx: &Txn<'_>, queue: i64, batch: &Batch) -> Step<(i64, i64)> {
    let mut known = tx.conn.prepare_cached(KNOWN)?;
    let (mut ids, mut bytes) = (HashSet::new(), 0);
    for NewTask { envelope, .. } in batch.tasks.iter() {
        let id = envelope.id();
        let key = params![queue, id.as_bytes(), ms(tx.now())];
        if !known.query_row(key, |row| row.get(0))? && ids.insert(id) {
            bytes += envelope.record_len();
        }
    }
    Ok((count(ids.len()), count(bytes)))
}
