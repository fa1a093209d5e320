//! One task in the tables: what its row tells, how it is claimed, and how it goes.

use rusqlite::{OptionalExtension, Row, params};

use super::fault::Step;
use super::found::ARCHIVE;
use super::group;
use super::lock::{self, Event};
use super::note;
use super::place::Place;
use super::txn::{Txn, mutant};
use crate::broker::{Cause, Claim, KEY_MEMORY, Ticket};
use crate::clock::{TIMESTAMP_MAX, Timestamp};
use crate::envelope::Stored;
use crate::error::{Error, Result};
use crate::queue::KindHash;
use crate::state::{Reason, State};
use crate::task::{Due, TaskId, Trail};

/// Marks: its id is remembered once it is gone.
pub(super) const REMEMBER: i64 = 1;
/// Marks: it has a row in `oncue_trail`.
pub(super) const TRAIL: i64 = 2;
/// Marks: it has a row in `oncue_result`.
pub(super) const RESULT: i64 = 4;
/// Marks: it is cancelled while it runs. An index finds it by that.
pub(super) const CANCELLED: i64 = 8;
/// Marks: once it is due it goes before all that waits in its line.
pub(super) const FRONT: i64 = 16;
/// Marks: it has rows in `oncue_note`.
pub(super) const NOTE: i64 = 32;
/// Marks: the hold of the lock it has not released, by code; 0: there is none.
pub(super) const LOCK: i64 = 64 | 128;
/// Marks: it has a row in `oncue_grouped`.
pub(super) const GROUP: i64 = 256;

// Two reads by row: as a join SQLite would plan it anew for every task.
pub(super) const TASK: &str =
    "SELECT id, kind, class, place, marks FROM oncue_task NOT INDEXED WHERE row = ?1";
pub(super) const RECORD: &str = "SELECT record FROM oncue_record WHERE row = ?1";
const TRAIL_READ: &str = "SELECT trail FROM oncue_trail WHERE row = ?1";
pub(super) const HOLD: &str = "UPDATE oncue_task SET state = 2, session = ?2 WHERE row = ?1";
/// Of a task with a group: while it gathers it has a number where others have a time.
pub(super) const HOLD_GROUPED: &str =
    "UPDATE oncue_task SET state = 2, session = ?2, at = NULL WHERE row = ?1";
pub(super) const MARK: &str = "UPDATE oncue_task SET marks = marks | ?2 WHERE row = ?1";
pub(super) const MARKS: &str = "UPDATE oncue_task SET marks = ?2 WHERE row = ?1";
pub(super) const DELETE_TASK: &str = "DELETE FROM oncue_task WHERE row = ?1";
pub(super) const LENGTH: &str = "SELECT length(record) FROM oncue_record WHERE row = ?1";
const DELETE_RECORD: &str = "DELETE FROM oncue_record WHERE row = ?1";
const DELETE_TRAIL: &str = "DELETE FROM oncue_trail WHERE row = ?1";
const DELETE_RESULT: &str = "DELETE FROM oncue_result WHERE row = ?1";
const REMEMBERED: &str = "INSERT INTO oncue_remembered (queue, id, until) VALUES (?1, ?2, ?3)
    ON CONFLICT (queue, id) DO UPDATE SET until = max(until, excluded.until)";

/// A time as it is stored.
pub(super) fn ms(time: Timestamp) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}

/// A stored time.
pub(super) fn time(ms: i64) -> Timestamp {
    Timestamp(u64::try_from(ms).unwrap_or(0))
}

/// A count as it is stored, or as a limit of a query.
pub(super) fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A kind as it is stored.
pub(super) fn kind_number(kind: KindHash) -> i64 {
    // Forty bits always fit.
    i64::try_from(kind.number()).unwrap_or(0)
}

/// A stored kind.
pub(super) fn kind_hash(number: i64) -> KindHash {
    let [_, _, _, a, b, c, d, e] = number.to_be_bytes();
    KindHash([a, b, c, d, e])
}

/// The id in a column. One that is no id, which only a foreign hand can write, is cut or filled up: such a
/// task is found by its row alone.
pub(super) fn id(row: &Row<'_>, column: usize) -> rusqlite::Result<TaskId> {
    let mut id = [0; 16];
    for (to, from) in id.iter_mut().zip(row.get_ref(column)?.as_blob()?) {
        *to = *from;
    }
    Ok(TaskId::from_bytes(id))
}

/// Claims a task for a session, whatever it looks like: one damaged task must not keep the others from being
/// claimed. What cannot be read is handed on as such; none if not even its id can be, so that nobody could
/// settle it: then it is archived.
pub(super) fn claim(tx: &mut Txn<'_>, row: i64, session: i64, cause: Cause) -> Step<Option<Claim>> {
    let mut task = tx.conn.prepare_cached(TASK)?;
    let found = task.query_row([row], |found| {
        let is_id = found.get_ref(0)?.as_blob()?.len() == size_of::<TaskId>();
        Ok((is_id.then(|| ticket(found)).transpose()?, found.get::<_, i64>(4)?))
    })?;
    let (Some(ticket), marks) = found else {
        let marks = lock::release(tx, row, found.1, Event::Ended)?;
        let mut archive = tx.conn.prepare_cached(ARCHIVE)?;
        archive.execute(params![row, ms(tx.now()), Reason::Unopenable.code(), marks])?;
        return Ok(None);
    };
    let trail = if marks & TRAIL == 0 { Ok(Trail::default()) } else { trail(tx, row)? };
    let mut record = tx.conn.prepare_cached(RECORD)?;
    let record: Option<Vec<u8>> = record.query_row([row], |found| found.get(0)).optional()?;
    let stored = Stored::found(ticket.id, record, trail.as_ref().err());
    let hold = if marks & GROUP == 0 { HOLD } else { HOLD_GROUPED };
    tx.conn.prepare_cached(hold)?.execute([row, session])?;
    if cause == Cause::Dequeued {
        let left = lock::release(tx, row, marks, Event::Started)?;
        if left != marks {
            tx.conn.prepare_cached(MARKS)?.execute([row, left])?;
        }
    }
    Ok(Some(Claim { ticket, cause, stored, trail: trail.unwrap_or_default(), group: None }))
}

fn ticket(row: &Row<'_>) -> rusqlite::Result<Ticket> {
    Ok(Ticket {
        id: id(row, 0)?,
        priority: Place(row.get(3)?).priority(),
        class: u8::try_from(row.get::<_, i64>(2)?).unwrap_or(0),
        kind: kind_hash(row.get(1)?),
        claim: 0,
    })
}

fn trail(tx: &Txn<'_>, row: i64) -> Step<Result<Trail>> {
    let mut query = tx.conn.prepare_cached(TRAIL_READ)?;
    let bytes: Option<Vec<u8>> = query.query_row([row], |row| row.get(0)).optional()?;
    Ok(match bytes {
        Some(bytes) => Trail::decode(&bytes),
        None => Err(Error::corrupt("a task lost its trail")),
    })
}

/// Sets marks of a task.
pub(super) fn mark(tx: &Txn<'_>, row: i64, marks: i64) -> Step<()> {
    tx.conn.prepare_cached(MARK)?.execute([row, marks])?;
    Ok(())
}

/// When a task is due; at once, if it was before.
pub(super) fn due_at(due: Due, now: Timestamp) -> Timestamp {
    match due {
        Due::Now => now,
        Due::At(at) => at.min(TIMESTAMP_MAX).max(now),
        Due::In(delay) => now.plus(delay),
    }
}

/// A task that is about to go.
pub(super) struct Going {
    pub(super) row: i64,
    pub(super) queue: i64,
    pub(super) id: TaskId,
    pub(super) marks: i64,
    pub(super) from: State,
    /// When it ended.
    pub(super) ended: Timestamp,
}

/// Deletes a task and all that hangs on it, but for a lock that only time releases; its id may be remembered.
pub(super) fn go(tx: &mut Txn<'_>, going: &Going) -> Step<()> {
    let Going { row, queue, marks, .. } = *going;
    lock::release(tx, row, marks, Event::Ended)?;
    if tx.counts_bytes(queue)? {
        let mut length = tx.conn.prepare_cached(LENGTH)?;
        let length: Option<i64> = length.query_row([row], |row| row.get(0)).optional()?;
        tx.tally(queue).bytes -= length.unwrap_or(0);
    }
    if marks & GROUP != 0 {
        group::forget(tx, row, going.from)?;
    }
    tx.conn.prepare_cached(DELETE_TASK)?.execute([row])?;
    tx.conn.prepare_cached(DELETE_RECORD)?.execute([row])?;
    if marks & TRAIL != 0 {
        tx.conn.prepare_cached(DELETE_TRAIL)?.execute([row])?;
    }
    if marks & RESULT != 0 {
        tx.conn.prepare_cached(DELETE_RESULT)?.execute([row])?;
    }
    if marks & NOTE != 0 {
        tx.conn.prepare_cached(note::DELETE)?.execute([row])?;
    }
    let until = going.ended.plus(KEY_MEMORY);
    if marks & REMEMBER != 0 && until > tx.now() && !mutant!(tx, ForgetKey) {
        let mut remember = tx.conn.prepare_cached(REMEMBERED)?;
        remember.execute(params![queue, going.id.as_bytes(), ms(until)])?;
    }
    tx.tally(queue).moved(Some(going.from), None);
    Ok(())
}
