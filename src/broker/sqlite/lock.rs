//! Locks: who holds a name, what happens to those who want it too, and when it is let go.
//!
//! A task has a mark for its lock until that is released; the names themselves say who holds them, so that a release
//! that comes late frees nothing that another task took.

use rusqlite::{Connection, OptionalExtension, params};

use super::fault::Step;
use super::found::Found;
use super::inspect;
use super::task::{self, LOCK, ms, time};
use super::txn::{Txn, mutant};
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
pub(super) const MOVE: &str = "UPDATE oncue_lock SET until = ?2 WHERE owner = ?1";
pub(super) const FREE: &str = "DELETE FROM oncue_lock WHERE owner = ?1";
#[cfg(feature = "failpoints")]
const STEAL: &str = "DELETE FROM oncue_lock
    WHERE queue = (SELECT queue FROM oncue_task WHERE row = ?1)";

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
    if !event.releases(hold) || event == Event::Ended && mutant!(tx, LeakLock) {
        return Ok(marks);
    }
    #[cfg(feature = "failpoints")]
    if event == Event::Ended && mutant!(tx, StealLock) {
        tx.conn.execute(STEAL, [row])?;
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
    let mut query = tx.conn.prepare_cached(HOLDER)?;
    let mut holders: Vec<Holder> = Vec::new();
    for name in &lock.names {
        let holder = query.query_row(params![queue, name.0, ms(tx.now())], |row| {
            Ok(Holder { owner: row.get(0)?, id: task::id(row, 1)?, since: time(row.get(2)?) })
        });
        holders.extend(holder.optional()?.filter(|holder| holder.id != id));
    }
    let Some(Holder { owner, id: held_by, since }) = holders.first().copied() else {
        return Ok(Contest::Won { due, since: tx.now(), answer: Enqueued::Created });
    };
    let held = Contest::Lost(Enqueued::Held(held_by));
    // Several hold it, each under another name, only while index keys change.
    let is_alone = holders.iter().all(|holder| holder.owner == owner);
    if lock.conflict == Conflict::Keep || !is_alone {
        return Ok(held);
    }
    let Some(found) = Found::by_row(tx, queue, owner)?.filter(Found::is_waiting) else {
        return Ok(held);
    };
    let due = lock.within.map_or(due, |within| due.min(since.plus(within)));
    if lock.conflict == Conflict::Replace {
        found.delete(tx)?;
        return Ok(Contest::Won { due, since, answer: Enqueued::Replaced(held_by) });
    }
    found.reschedule(tx, due)?;
    tx.conn.prepare_cached(MOVE)?.execute(params![owner, until(tx, lock, due)])?;
    Ok(Contest::Lost(Enqueued::Moved(held_by)))
}

/// Who holds a name.
#[derive(Clone, Copy)]
struct Holder {
    owner: i64,
    id: TaskId,
    since: Timestamp,
}

/// When a lock is released at the latest, of a task that is due then.
fn until(tx: &Txn<'_>, lock: &Lock, due: Timestamp) -> Option<i64> {
    lock.lasts.map(|lasts| ms(due.max(tx.now()).plus(lasts)))
}

/// Takes a lock under all its names.
pub(super) fn take(
    tx: &Txn<'_>,
    (queue, row, id): (i64, i64, TaskId),
    lock: &Lock,
    due: Timestamp,
    since: Timestamp,
) -> Step<()> {
    let until = until(tx, lock, due);
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
