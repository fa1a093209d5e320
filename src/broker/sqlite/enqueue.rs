//! Enqueue: a batch, all of it or nothing.

use rusqlite::params;

use super::fault::Step;
use super::group;
use super::lock::{self, Contest};
use super::place::Place;
use super::room::{self, Room};
use super::task::{GROUP, REMEMBER, count, due_at, kind_number, ms};
use super::timetable;
use super::txn::{Txn, mutant};
use crate::broker::check;
use crate::broker::{BATCH_MEMORY, Batch, Enqueued, Lock, NewTask, Ticket, Wake};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::state::State;
use crate::task::TaskId;

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
    let entry = match &batch.tick {
        None => None,
        Some(tick) => match timetable::seen(tx, &batch.queue, tick)? {
            None => return Ok(Some(vec![Enqueued::Late; batch.tasks.len()])),
            entry => entry,
        },
    };
    let queue = tx.queue_or_new(&batch.queue)?;
    let room = Room::read(tx, queue)?;
    if room.is_limited()
        && let (tasks, bytes) = room::new(tx, queue, batch)?
        && let Err(full) = room.check(batch, tasks, bytes)
    {
        if batch.tasks.iter().all(|task| task.lock.is_none()) {
            return Err(full.into());
        }
        // Whether those with locks would be stored is seen by storing them.
        let stored = tx.attempt(|tx| {
            let answers = write(tx, batch, queue, entry)?;
            room.check_stored(tx, queue, batch, &answers)?;
            Ok(answers)
        });
        return stored.map(Some);
    }
    write(tx, batch, queue, entry).map(Some)
}

/// Stores a batch that was not seen before and is within the limit of its queue.
fn write(tx: &mut Txn<'_>, batch: &Batch, queue: i64, entry: Option<i64>) -> Step<Vec<Enqueued>> {
    let (conn, now) = (tx.conn, tx.now());
    conn.prepare_cached(FORGET)?.execute([ms(now), FORGOTTEN_PER_BATCH])?;
    conn.prepare_cached(SEE)?.execute(params![batch.id.0, ms(now.plus(BATCH_MEMORY))])?;
    let answers = store(tx, batch, queue)?;
    if let (Some(entry), Some(tick)) = (entry, &batch.tick) {
        let stored =
            |answer: &&Enqueued| matches!(answer, Enqueued::Created | Enqueued::Replaced(_));
        let first = answers.iter().position(|answer| stored(&answer));
        let first = first.map(|at| batch.tasks[at].envelope.id());
        timetable::pass(tx, entry, tick, first)?;
    }
    Ok(answers)
}

fn store(tx: &mut Txn<'_>, batch: &Batch, queue: i64) -> Step<Vec<Enqueued>> {
    let (conn, now) = (tx.conn, tx.now());
    let mut any_remembered: bool =
        conn.prepare_cached(ANY_REMEMBERED)?.query_row([], |row| row.get(0))?;
    let mut remembered = conn.prepare_cached(REMEMBERED)?;
    let mut task = conn.prepare_cached(TASK)?;
    let mut record = conn.prepare_cached(RECORD)?;
    let mut fronts = tx.numbers(batch.tasks.iter().filter(|task| task.front).count())?;
    let mut answers = Vec::with_capacity(batch.tasks.len());
    // The number of a task that turns out to exist goes to the next one.
    let mut spare = None;
    for NewTask { envelope, due, front, lock, group, .. } in batch.tasks.iter() {
        let (id, header) = (envelope.id(), envelope.header());
        let front = if *front { fronts.pop() } else { None };
        if any_remembered
            && remembered.query_row(params![queue, id.as_bytes(), ms(now)], |row| row.get(0))?
        {
            answers.push(Enqueued::Existing);
            continue;
        }
        let (mut due, mut since, mut answer) = (due_at(*due, now), now, Enqueued::Created);
        let mut marks = if header.remember { REMEMBER } else { 0 };
        if let Some(lock) = lock {
            match contend(tx, queue, id, lock, due)? {
                Contest::Lost(answer) => {
                    answers.push(answer);
                    continue;
                }
                Contest::Won { due: then, since: first, answer: won } => {
                    (due, since, answer) = (then, first, won);
                }
            }
            // One that was replaced may be remembered.
            any_remembered |= answer != Enqueued::Created;
            marks |= lock::mark(lock);
        }
        if group.is_some() {
            marks |= GROUP;
        }
        let row = match spare.take() {
            Some(row) => row,
            None => tx.next()?,
        };
        let ticket = Ticket::of(id, header);
        let (state, at) = match group {
            _ if due > now => (State::Scheduled, Some(ms(due))),
            Some(_) => (State::Aggregating, Some(row)),
            None => (State::Pending, None),
        };
        let place = match front {
            Some(order) if at.is_none() => Place::front(ticket.priority, order),
            _ => Place::last(ticket.priority, row),
        };
        let created = task.execute(params![
            row,
            queue,
            id.as_bytes(),
            kind_number(ticket.kind),
            ticket.class,
            state.code(),
            place.0,
            marks,
            ms(now),
            at,
        ])?;
        if created == 0 {
            spare = Some(row);
            answers.push(Enqueued::Existing);
            continue;
        }
        record.execute(params![row, envelope.record()])?;
        if let Some(lock) = lock {
            lock::take(tx, (queue, row, id), lock, due, since)?;
        }
        if let Some(group) = group {
            group::store(tx, row, group)?;
        }
        tx.tally(queue).moved(None, Some(state));
        tx.tally(queue).bytes += count(envelope.record_len());
        match state {
            State::Aggregating => drop(group::enter(tx, queue, row, row)?),
            State::Scheduled => tx.wake(Wake::Due),
            _ => tx.wake(Wake::Ready),
        }
        answers.push(answer);
    }
    Ok(answers)
}

/// What becomes of a task that wants a lock. One that is known changes nothing for whoever holds it.
fn contend(tx: &mut Txn<'_>, queue: i64, id: TaskId, lock: &Lock, due: Timestamp) -> Step<Contest> {
    let mut known = tx.conn.prepare_cached(KNOWN)?;
    if known.query_row(params![queue, id.as_bytes(), ms(tx.now())], |row| row.get(0))? {
        return Ok(Contest::Lost(Enqueued::Existing));
    }
    lock::contend(tx, queue, id, lock, due)
}
