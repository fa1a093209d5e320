//! Locks: who holds a name, what happens to those who want it too, and when it is let go.
//!
//! A task has a mark for its lock until that is released; the names themselves say who holds them, so that a release
//! that comes late frees nothing that another task took.

use rusqlite::{Connection, OptionalExtension, params};

use super::fault::Step;
use super::found::Found;
use super::inspect;
use super::task::{self, LOCK, ms, time};
use super::txn::Txn;
use crate::broker::{Conflict, Enqueued, Hold, LOCK_NAMES_MAX, Lock, LockName};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::queue::QueueName;
use crate::task::TaskId;

pub(super) const HOLDER: &str = "SELECT owner, id, since FROM oncue_lock
    WHERE queue = ?1 AND name = ?2 AND (until IS NULL OR until > ?3)";
const TAKE: &str = "INSERT INTO oncue_lock (queue, name, owner, id, since, until)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (queue, name) DO UPDATE
    SET owner = excluded.owner, id = excluded.id, since = excluded.since, until = excluded.until";
pub(super) const FREE: &str = "DELETE FROM oncue_lock WHERE owner = ?1";

/// What may release a lock.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// The first claim of its task.
    Started,
    /// The end of its task.
    Ended,
    /// Its task was deleted or replaced.
    Removed,
}

impl Event {
    fn releases(self, hold: i64) -> bool {
        let until = |hold: Hold| i64::from(hold.code());
        match self {
            Self::Started => hold == until(Hold::UntilStart),
            Self::Ended => hold == until(Hold::UntilStart) || hold == until(Hold::UntilEnd),
            Self::Removed => hold != 0,
        }
    }
}

/// The mark of a task with this lock.
pub(super) fn mark(lock: &Lock) -> i64 {
    i64::from(lock.hold.code()) << LOCK.trailing_zeros()
}

/// Releases the lock of a task if this does; answers its marks from then on, which are the caller's to write.
pub(super) fn release(tx: &Txn<'_>, row: i64, marks: i64, event: Event) -> Step<i64> {
    let hold = (marks & LOCK) >> LOCK.trailing_zeros();
    if !event.releases(hold) {
        return Ok(marks);
    }
    tx.conn.prepare_cached(FREE)?.execute([row])?;
    Ok(marks & !LOCK)
}

/// What became of a task that wants a lock.
pub(super) enum Contest {
    /// It gets it.
    Won {
        /// When the task is due.
        due: Timestamp,
        /// When the lock was first taken.
        since: Timestamp,
        /// Created, or replaced.
        answer: Enqueued,
    },
    /// It is not stored.
    Lost(Enqueued),
}

/// Sees who holds the lock, and does to them what it says.
pub(super) fn contend(
    tx: &mut Txn<'_>,
    queue: i64,
    id: TaskId,
    lock: &Lock,
    due: Timestamp,
) -> Step<Contest> {
    let holders = holders(tx, queue, id, lock)?;
    let latest = |since: Timestamp| match lock.within {
        Some(within) => due.min(since.plus(within)),
        None => due,
    };
    let Some(first) = holders.first().map(|holder| holder.id) else {
        return Ok(Contest::Won { due, since: tx.now(), answer: Enqueued::Created });
    };
    if lock.conflict == Conflict::Keep {
        return Ok(Contest::Lost(Enqueued::Held(first)));
    }
    let mut since = tx.now();
    let mut waiting = Vec::with_capacity(holders.len());
    for holder in &holders {
        match Found::by_row(tx, queue, holder.owner)?.filter(Found::is_waiting) {
            Some(found) => waiting.push(found),
            None => return Ok(Contest::Lost(Enqueued::Held(holder.id))),
        }
        since = since.min(holder.since);
    }
    let due = latest(since);
    if lock.conflict == Conflict::Reschedule {
        for found in waiting {
            found.reschedule(tx, due)?;
        }
        return Ok(Contest::Lost(Enqueued::Moved(first)));
    }
    for found in waiting {
        found.delete(tx)?;
    }
    Ok(Contest::Won { due, since, answer: Enqueued::Replaced(first) })
}

struct Holder {
    owner: i64,
    id: TaskId,
    since: Timestamp,
}

/// The other tasks that hold any of these names, by name; more than one only if index keys were changed.
fn holders(tx: &Txn<'_>, queue: i64, id: TaskId, lock: &Lock) -> Step<Vec<Holder>> {
    let mut query = tx.conn.prepare_cached(HOLDER)?;
    let mut holders: Vec<Holder> = Vec::new();
    for name in &lock.names {
        let holder = query.query_row(params![queue, name.0, ms(tx.now())], |row| {
            Ok(Holder { owner: row.get(0)?, id: task::id(row, 1)?, since: time(row.get(2)?) })
        });
        holders.extend(holder.optional()?.filter(|holder| {
            holder.id != id && holders.iter().all(|known| known.owner != holder.owner)
        }));
    }
    Ok(holders)
}

/// Takes a lock under all its names.
pub(super) fn take(
    tx: &Txn<'_>,
    (queue, row, id): (i64, i64, TaskId),
    lock: &Lock,
    due: Timestamp,
    since: Timestamp,
) -> Step<()> {
    let until = lock.lasts.map(|lasts| ms(due.max(tx.now()).plus(lasts)));
    let mut take = tx.conn.prepare_cached(TAKE)?;
    for name in &lock.names {
        take.execute(params![queue, name.0, row, id.as_bytes(), ms(since), until])?;
    }
    Ok(())
}

/// How many names can be asked for at once.
pub(super) fn check(names: &[LockName]) -> Result<()> {
    if names.len() <= LOCK_NAMES_MAX {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{} names of a lock; ask for at most {LOCK_NAMES_MAX}",
        names.len()
    )))
}

/// The task that holds a lock under the first of these names that is held.
pub(super) fn holder(
    conn: &Connection,
    queue: &QueueName,
    names: &[LockName],
    now: Timestamp,
) -> Step<Option<TaskId>> {
    let Some(queue) = inspect::queue_row(conn, queue)? else { return Ok(None) };
    let mut query = conn.prepare_cached(HOLDER)?;
    for name in names {
        let holder = query.query_row(params![queue, name.0, ms(now)], |row| task::id(row, 1));
        if let Some(holder) = holder.optional()? {
            return Ok(Some(holder));
        }
    }
    Ok(None)
}
