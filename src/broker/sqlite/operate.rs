//! What people do to tasks and queues: cancel, pause, limit.

use rusqlite::{OptionalExtension, params};

use super::fault::Step;
use super::task::{CANCELLED, ms};
use super::txn::Txn;
use crate::broker::{Cancelled, Setting, Wake};
use crate::queue::QueueName;
use crate::state::{Reason, State};
use crate::task::TaskId;

const FIND: &str = "SELECT row, state FROM oncue_task WHERE queue = ?1 AND id = ?2";
const ARCHIVE: &str = "UPDATE oncue_task SET state = ?2, at = ?3, reason = ?4, session = NULL,
    marks = marks & ~?5 WHERE row = ?1";
const MARK: &str = "UPDATE oncue_task SET marks = marks | ?2 WHERE row = ?1";
pub(super) const MARKED: &str = "SELECT id FROM oncue_task INDEXED BY oncue_task_cancelled
    WHERE session = ?1 AND marks >= 8 LIMIT 1000";
const PAUSE: &str = "UPDATE oncue_queue SET paused = ?2 WHERE row = ?1";
const LIMIT: &str = "UPDATE oncue_queue SET most = ?2 WHERE row = ?1";
const ORDERED: &str = "UPDATE oncue_meta SET value = value + 1 WHERE name = 'orders'";

/// Cancels a task.
pub(super) fn cancel(tx: &mut Txn<'_>, queue: &QueueName, id: TaskId) -> Step<Option<Cancelled>> {
    let Some(queue) = tx.queue(queue)? else { return Ok(Some(Cancelled::Missing)) };
    let mut find = tx.conn.prepare_cached(FIND)?;
    let found: Option<(i64, u8)> = find
        .query_row(params![queue, id.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((row, state)) = found else { return Ok(Some(Cancelled::Missing)) };
    Ok(Some(match State::from_code(state) {
        Some(State::Completed | State::Archived) | None => Cancelled::Ended,
        Some(State::Active) => {
            tx.conn.prepare_cached(MARK)?.execute([row, CANCELLED])?;
            ordered(tx)?;
            Cancelled::Asked
        }
        Some(waiting) => {
            archive(tx, queue, row, waiting)?;
            Cancelled::Archived
        }
    }))
}

/// A task that is not to run again is archived as cancelled.
pub(super) fn archive(tx: &mut Txn<'_>, queue: i64, row: i64, from: State) -> Step<()> {
    let (to, reason) = (State::Archived, Reason::Cancelled);
    let now = ms(tx.now());
    let mut archive = tx.conn.prepare_cached(ARCHIVE)?;
    archive.execute(params![row, to.code(), now, reason.code(), CANCELLED])?;
    tx.tally(queue).moved(Some(from), Some(to));
    tx.wake(Wake::Settled);
    Ok(())
}

/// The cancelled tasks in the hands of these sessions, by row.
pub(super) fn cancelled(tx: &Txn<'_>, sessions: &[i64]) -> Step<Vec<TaskId>> {
    let mut query = tx.conn.prepare_cached(MARKED)?;
    let mut marked = Vec::new();
    for session in sessions {
        let ids = query.query_map([session], |row| super::task::id(row, 0))?;
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
pub(super) fn set(tx: &mut Txn<'_>, queue: &QueueName, setting: Setting) -> Step<Option<()>> {
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
    }
    Ok(Some(()))
}
