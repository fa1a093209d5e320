//! What people do to queues: pause, limit; and how a task is cancelled, whoever has it.

use rusqlite::params;

use super::fault::Step;
use super::found::Found;
use super::task::{self, CANCELLED};
use super::txn::Txn;
use crate::broker::{Cancelled, Setting, Wake};
use crate::queue::QueueName;
use crate::state::{Reason, State};
use crate::task::TaskId;

pub(super) const MARKED: &str = "SELECT id FROM oncue_task INDEXED BY oncue_task_cancelled
    WHERE session = ?1 AND marks & 8 <> 0 LIMIT 1000";
const PAUSE: &str = "UPDATE oncue_queue SET paused = ?2 WHERE row = ?1";
const LIMIT: &str = "UPDATE oncue_queue SET most = ?2 WHERE row = ?1";
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

/// Changes a setting of a queue.
pub(super) fn set(tx: &mut Txn<'_>, queue: &QueueName, setting: &Setting) -> Step<Option<()>> {
    let row = tx.queue_or_new(queue)?;
    match setting {
        Setting::Paused(paused) => {
            tx.conn.prepare_cached(PAUSE)?.execute(params![row, paused])?;
            tx.wake(Wake::Ready);
        }
        Setting::Limit(limit) => {
            let limit = limit.map(|limit| i64::try_from(limit).unwrap_or(i64::MAX));
            tx.conn.prepare_cached(LIMIT)?.execute(params![row, limit])?;
        }
        _ => return Err(crate::error::Error::invalid("this setting is not built yet").into()),
    }
    Ok(Some(()))
}
