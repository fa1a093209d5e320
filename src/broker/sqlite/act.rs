//! What people do to one task: run it, archive it, delete it, put it off, write another record in its place.

use rusqlite::{OptionalExtension, params};

use super::fault::Step;
use super::found::Found;
use super::task::{RECORD, count, due_at};
use super::txn::Txn;
use crate::broker::{Act, Acted};
use crate::envelope::{Envelope, Stored};
use crate::queue::QueueName;
use crate::state::{Reason, State};
use crate::task::TaskId;

const REPLACE: &str = "UPDATE oncue_record SET record = ?2 WHERE row = ?1";

/// Does this to a task that is not active.
pub(super) fn act(
    tx: &mut Txn<'_>,
    queue: &QueueName,
    id: TaskId,
    act: Act,
) -> Step<Option<Acted>> {
    let Some(found) = find(tx, queue, id)? else { return Ok(Some(Acted::Missing)) };
    let waits = found.is_waiting();
    match (act, found.state) {
        (Act::Run, State::Scheduled | State::Retry | State::Archived | State::Aggregating) => {
            found.make_ready(tx)?
        }
        (Act::Archive, _) if waits => found.archive(tx, Reason::Operator)?,
        (Act::Delete, state) if state != State::Active => found.delete(tx)?,
        (Act::Reschedule(due), _) if waits => found.reschedule(tx, due_at(due, tx.now()))?,
        (_, state) => return Ok(Some(Acted::Not(state))),
    }
    Ok(Some(Acted::Done))
}

fn find(tx: &mut Txn<'_>, queue: &QueueName, id: TaskId) -> Step<Option<Found>> {
    match tx.queue(queue)? {
        Some(queue) => Found::by_id(tx, queue, id),
        None => Ok(None),
    }
}

/// Writes another record in place of the one seen. That they belong together was checked.
pub(super) fn replace(tx: &mut Txn<'_>, seen: &Stored, envelope: &Envelope) -> Step<Option<Acted>> {
    let Some(found) = find(tx, &envelope.header().queue, envelope.id())? else {
        return Ok(Some(Acted::Missing));
    };
    if !found.is_waiting() {
        return Ok(Some(Acted::Not(found.state)));
    }
    let mut record = tx.conn.prepare_cached(RECORD)?;
    let record: Option<Vec<u8>> = record.query_row([found.row], |row| row.get(0)).optional()?;
    let record = record.unwrap_or_default();
    let longer = count(envelope.record_len()) - count(record.len());
    let present = Stored::parse(found.id, record);
    let is_seen = |present: &Stored| {
        (present.header_bytes(), present.sealed()) == (seen.header_bytes(), seen.sealed())
    };
    if !present.as_ref().is_ok_and(is_seen) {
        return Ok(Some(Acted::Changed));
    }
    tx.conn.prepare_cached(REPLACE)?.execute(params![found.row, envelope.record()])?;
    tx.tally(found.queue).bytes += longer;
    Ok(Some(Acted::Done))
}
