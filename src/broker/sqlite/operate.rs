//! How a task is cancelled, whoever has it, and how workers hear of it.

use super::fault::Step;
use super::found::Found;
use super::task::{self, CANCELLED};
use super::txn::Txn;
use crate::broker::{Cancelled, Wake};
use crate::queue::QueueName;
use crate::state::{Reason, State};
use crate::task::TaskId;

pub(super) const MARKED: &str = "SELECT id FROM oncue_task INDEXED BY oncue_task_cancelled
    WHERE session = ?1 AND marks & 8 <> 0 LIMIT 1000";
const ORDERED: &str = "UPDATE oncue_meta SET value = value + 1 WHERE name = 'orders'";

/// Cancels a task.
pub(super) fn cancel(tx: &mut Txn<'_>, queue: &QueueName, id: TaskId) -> Step<Option<Cancelled>> {
    let Some(queue) = tx.queue(queue)? else { return Ok(Some(Cancelled::Missing)) };
    let Some(found) = Found::by_id(tx, queue, id)? else { return Ok(Some(Cancelled::Missing)) };
    Ok(Some(match found.state {
        State::Completed | State::Archived => Cancelled::Ended,
        State::Active => {
            task::mark(tx, found.row, CANCELLED)?;
            ordered(tx)?;
            Cancelled::Asked
        }
        _ => {
            found.archive(tx, Reason::Cancelled)?;
            Cancelled::Archived
        }
    }))
}

/// The cancelled tasks in the hands of these sessions, by row.
pub(super) fn cancelled(tx: &Txn<'_>, sessions: &[i64]) -> Step<Vec<TaskId>> {
    let mut query = tx.conn.prepare_cached(MARKED)?;
    let mut marked = Vec::new();
    for session in sessions {
        let ids = query.query_map([session], |row| task::id(row, 0))?;
        marked.extend(ids.collect::<Result<Vec<_>, _>>()?);
    }
    Ok(marked)
}

/// Some worker was told something.
pub(super) fn ordered(tx: &mut Txn<'_>) -> Step<()> {
    tx.conn.prepare_cached(ORDERED)?.execute([])?;
    tx.wake(Wake::Ordered);
    Ok(())
}
