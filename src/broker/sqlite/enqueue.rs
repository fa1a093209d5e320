//! Enqueue: a batch, all of it or nothing.

use std::collections::HashSet;

use rusqlite::params;

use super::fault::Step;
use super::place::Place;
use super::task::{REMEMBER, kind_number, ms};
use super::txn::{Txn, mutant};
use crate::broker::check;
use crate::broker::{BATCH_MEMORY, Batch, Enqueued, NewTask, Ticket, Wake};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::state::State;
use crate::task::Due;

/// Old batch ids forgotten for each new one: two, so that they never pile up.
const FORGOTTEN_PER_BATCH: i64 = 2;

pub(super) const SEEN: &str =
    "SELECT EXISTS (SELECT 1 FROM oncue_batch WHERE id = ?1 AND until > ?2)";
const SEE: &str = "INSERT INTO oncue_batch (id, until) VALUES (?1, ?2)
    ON CONFLICT (id) DO UPDATE SET until = excluded.until";
pub(super) const FORGET: &str = "DELETE FROM oncue_batch WHERE until <= ?1
    AND row IN (SELECT row FROM oncue_batch ORDER BY row LIMIT ?2 + 0)";
const ANY_REMEMBERED: &str = "SELECT EXISTS (SELECT 1 FROM oncue_remembered)";
pub(super) const REMEMBERED: &str =
    "SELECT EXISTS (SELECT 1 FROM oncue_remembered WHERE queue = ?1 AND id = ?2 AND until > ?3)";
pub(super) const LIMIT: &str = "SELECT most FROM oncue_queue WHERE row = ?1";
const LIVE: &str = "SELECT n0 + n1 + n2 + n3 + n6 + n7 FROM oncue_queue WHERE row = ?1";
pub(super) const KNOWN: &str =
    "SELECT EXISTS (SELECT 1 FROM oncue_task WHERE queue = ?1 AND id = ?2)
    OR EXISTS (SELECT 1 FROM oncue_remembered WHERE queue = ?1 AND id = ?2 AND until > ?3)";
const TASK: &str = "INSERT INTO oncue_task
    (row, queue, id, kind, class, lane, state, place, marks, since, at)
    VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (queue, id) DO NOTHING";
const RECORD: &str = "INSERT INTO oncue_record (row, record) VALUES (?1, ?2)";

/// Checks what can be checked without the database.
pub(super) fn check(batch: &Batch) -> Result<()> {
    if batch.replicas > 0 {
        return Err(Error::invalid("a SQLite file has no replicas to wait for; leave them out"));
    }
    check::batch(batch)
}

/// Stores a batch that was checked.
pub(super) fn enqueue(tx: &mut Txn<'_>, batch: &Batch) -> Step<Option<Vec<Enqueued>>> {
    let (conn, now) = (tx.conn, tx.now());
    let seen =
        conn.prepare_cached(SEEN)?.query_row(params![batch.id.0, ms(now)], |row| row.get(0))?;
    if seen && !mutant!(tx, ForgetBatch) {
        return Ok(Some(vec![Enqueued::Existing; batch.tasks.len()]));
    }
    let queue = tx.queue_or_new(&batch.queue)?;
    let limit: Option<i64> = conn.prepare_cached(LIMIT)?.query_row([queue], |row| row.get(0))?;
    if let Some(limit) = limit
        && let created = new(tx, queue, batch)?
        && created > 0
        && live(tx, queue)? + created > limit
    {
        return Err(
            Error::full(format!("queue {} is at its limit of {limit} tasks", batch.queue)).into()
        );
    }
    conn.prepare_cached(FORGET)?.execute([ms(now), FORGOTTEN_PER_BATCH])?;
    conn.prepare_cached(SEE)?.execute(params![batch.id.0, ms(now.plus(BATCH_MEMORY))])?;
    store(tx, batch, queue).map(Some)
}

/// How many tasks of a queue have not ended.
fn live(tx: &Txn<'_>, queue: i64) -> Step<i64> {
    let stored: i64 = tx.conn.prepare_cached(LIVE)?.query_row([queue], |row| row.get(0))?;
    Ok(stored + tx.live_change(queue))
}

/// How many tasks of a batch are neither there nor remembered.
fn new(tx: &Txn<'_>, queue: i64, batch: &Batch) -> Step<i64> {
    let mut known = tx.conn.prepare_cached(KNOWN)?;
    let mut ids = HashSet::new();
    for NewTask { envelope, .. } in batch.tasks.iter() {
        let id = envelope.id();
        if !known.query_row(params![queue, id.as_bytes(), ms(tx.now())], |row| row.get(0))? {
            ids.insert(id);
        }
    }
    Ok(super::task::count(ids.len()))
}

fn store(tx: &mut Txn<'_>, batch: &Batch, queue: i64) -> Step<Vec<Enqueued>> {
    let (conn, now) = (tx.conn, tx.now());
    let any_remembered: bool =
        conn.prepare_cached(ANY_REMEMBERED)?.query_row([], |row| row.get(0))?;
    let mut remembered = conn.prepare_cached(REMEMBERED)?;
    let mut task = conn.prepare_cached(TASK)?;
    let mut record = conn.prepare_cached(RECORD)?;
    let mut answers = Vec::with_capacity(batch.tasks.len());
    // The number of a task that turns out to exist goes to the next one.
    let mut spare = None;
    for NewTask { envelope, due, .. } in batch.tasks.iter() {
        let (id, header) = (envelope.id(), envelope.header());
        if any_remembered
            && remembered.query_row(params![queue, id.as_bytes(), ms(now)], |row| row.get(0))?
        {
            answers.push(Enqueued::Existing);
            continue;
        }
        let row = match spare.take() {
            Some(row) => row,
            None => tx.next()?,
        };
        let ticket = Ticket::of(id, header);
        let at = due_after(*due, now);
        let state = if at.is_some() { State::Scheduled } else { State::Pending };
        let created = task.execute(params![
            row,
            queue,
            id.as_bytes(),
            kind_number(ticket.kind),
            ticket.class,
            state.code(),
            Place::last(ticket.priority, row).0,
            if header.remember { REMEMBER } else { 0 },
            ms(now),
            at.map(ms),
        ])?;
        if created == 0 {
            spare = Some(row);
            answers.push(Enqueued::Existing);
            continue;
        }
        record.execute(params![row, envelope.record()])?;
        tx.tally(queue).moved(None, Some(state));
        tx.wake(if at.is_some() { Wake::Due } else { Wake::Ready });
        answers.push(Enqueued::Created);
    }
    Ok(answers)
}

/// When a task is due, unless it is already.
fn due_after(due: Due, now: Timestamp) -> Option<Timestamp> {
    let at = match due {
        Due::Now => now,
        Due::At(at) => at.min(crate::clock::TIMESTAMP_MAX),
        Due::In(delay) => now.plus(delay),
    };
    (at > now).then_some(at)
}
