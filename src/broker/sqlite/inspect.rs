//! The reading side: counts, pages, one task. Plain queries on whatever connection it is given.

use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};

use super::fault::Step;
use super::line;
use super::setting;
use super::task::{self, count, time};
use super::txn::Txn;
use crate::broker::{Kept, Listing, Page, QueueStats, TaskView};
use crate::clock::Timestamp;
use crate::envelope::Stored;
use crate::error::Error;
use crate::queue::QueueName;
use crate::state::{Reason, State};
use crate::task::{TaskId, Trail};

/// A page ends early after this many bytes of records: 16 MiB.
const PAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

const QUEUE: &str = "SELECT row FROM oncue_queue WHERE name = ?1";
const QUEUES: &str = "SELECT name FROM oncue_queue ORDER BY name";
const STATS: &str =
    "SELECT row, name, completed, failed, n0, n1, n2, n3, n4, n5, n6, n7, paused, most,
    bytes, trimmed FROM oncue_queue ORDER BY name";
const KEY_READ: &str = "SELECT proof FROM oncue_key WHERE id = ?1";
const KEY_WRITE: &str = "INSERT INTO oncue_key (id, proof) VALUES (?1, ?2)";

/// The names of all queues.
pub(super) fn queues(conn: &Connection) -> Step<Vec<QueueName>> {
    let mut query = conn.prepare_cached(QUEUES)?;
    let mut rows = query.query([])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        // No call of ours makes or reaches a queue without a proper name.
        all.extend(QueueName::parse(row.get_ref(0)?.as_str().unwrap_or("")));
    }
    Ok(all)
}

/// Every queue with its counts.
pub(super) fn stats(conn: &Connection) -> Step<Vec<QueueStats>> {
    let mut query = conn.prepare_cached(STATS)?;
    let mut rows = query.query([])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        // No call of ours makes or reaches a queue without a proper name.
        let name = row.get_ref(1)?.as_str().unwrap_or("");
        let Ok(name) = QueueName::parse(name) else { continue };
        let mut stats = QueueStats::empty(name);
        (stats.completed, stats.failed) = (number(row, 2)?, number(row, 3)?);
        for (at, count) in stats.counts.iter_mut().enumerate() {
            *count = number(row, 4 + at)?;
        }
        stats.paused = row.get(12)?;
        let limit: Option<i64> = row.get(13)?;
        stats.limit = limit.and_then(|limit| u64::try_from(limit).ok());
        let bytes: Option<i64> = row.get(14)?;
        stats.bytes = bytes.map(|bytes| u64::try_from(bytes).unwrap_or(0));
        stats.trimmed = number(row, 15)?;
        stats.settings = setting::read(conn, row.get(0)?)?;
        if stats.count(State::Pending) > 0 {
            stats.oldest = line::oldest(conn, row.get(0)?)?.map(time);
        }
        all.push(stats);
    }
    Ok(all)
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    Ok(u64::try_from(number).unwrap_or(0))
}

/// A query for views by way of this index.
fn views(index: &str, which: &str) -> String {
    format!(
        "SELECT t.id, t.state, t.at, t.reason, r.record, h.trail, k.attempt, k.sealed, t.row
         FROM oncue_task t {index} LEFT JOIN oncue_record r ON r.row = t.row
         LEFT JOIN oncue_trail h ON h.row = t.row
         LEFT JOIN oncue_result k ON k.row = t.row {which}"
    )
}

/// The row of a queue.
pub(super) fn queue_row(conn: &Connection, queue: &QueueName) -> Step<Option<i64>> {
    let mut query = conn.prepare_cached(QUEUE)?;
    Ok(query.query_row([queue.as_str()], |row| row.get(0)).optional()?)
}

/// One task.
pub(super) fn show(conn: &Connection, queue: &QueueName, id: TaskId) -> Step<Option<TaskView>> {
    let Some(queue) = queue_row(conn, queue)? else { return Ok(None) };
    let mut query = conn.prepare_cached(&views("", "WHERE t.queue = ?1 AND t.id = ?2"))?;
    let mut rows = query.query(params![queue, id.as_bytes()])?;
    match rows.next()? {
        Some(row) => view(row).map(Some),
        None => Ok(None),
    }
}

/// Where a page ends: the time of its last row where the state has one, and the row. Both only grow, so
/// that what changes in between moves no page.
struct Cursor {
    at: i64,
    row: i64,
}

impl Cursor {
    const START: Self = Self { at: -1, row: -1 };

    fn parse(text: Option<&str>) -> Step<Self> {
        let Some(text) = text else { return Ok(Self::START) };
        let parts = text.split_once('-').and_then(|(at, row)| {
            let hex = |part| i64::from_str_radix(part, 16).ok().filter(|number| *number >= 0);
            Some(Self { at: hex(at)?, row: hex(row)? })
        });
        parts.ok_or_else(|| Error::invalid("that is no cursor of a page before").into())
    }

    fn text(&self) -> String {
        format!("{:x}-{:x}", self.at, self.row)
    }
}

/// How a state is paged: by time where it has one, by when they joined where they gather, else in the order in which tasks
/// were enqueued.
pub(super) fn paging(state: State) -> String {
    match state {
        State::Scheduled
        | State::Retry
        | State::Completed
        | State::Archived
        | State::Aggregating => views(
            "INDEXED BY oncue_task_at",
            "WHERE t.queue = ?1 AND t.state = ?2 AND t.at IS NOT NULL AND (t.at, t.row) > (?3, ?4)
             ORDER BY t.at, t.row LIMIT ?5 + 0",
        ),
        // Few are active, and an index has them; they are sorted.
        State::Active => views(
            "INDEXED BY oncue_task_held",
            "WHERE t.session IS NOT NULL AND t.queue = ?1 AND t.state = ?2 AND t.row > max(?3, ?4)
             ORDER BY t.row LIMIT ?5 + 0",
        ),
        _ => views(
            "NOT INDEXED",
            "WHERE t.queue = ?1 AND t.state = ?2 AND t.row > max(?3, ?4)
             ORDER BY t.row LIMIT ?5 + 0",
        ),
    }
}

/// One page.
pub(super) fn list(conn: &Connection, page: &Page) -> Step<Listing> {
    let mut cursor = Cursor::parse(page.cursor.as_deref())?;
    let mut listing = Listing { tasks: Vec::new(), cursor: None };
    let Some(queue) = queue_row(conn, &page.queue)? else { return Ok(listing) };
    let mut query = conn.prepare_cached(&paging(page.state))?;
    // One more than asked for tells whether there is another page.
    let keys: [&dyn ToSql; 5] =
        [&queue, &page.state.code(), &cursor.at, &cursor.row, &count(page.rows + 1)];
    let mut rows = query.query(keys)?;
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        if listing.tasks.len() == page.rows || bytes > PAGE_BYTES_MAX {
            listing.cursor = Some(cursor.text());
            break;
        }
        let view = view(row)?;
        cursor = Cursor { at: row.get::<_, Option<i64>>(2)?.unwrap_or(0), row: row.get(8)? };
        bytes += view.stored.record_len();
        listing.tasks.push(view);
    }
    Ok(listing)
}

/// A row as a reader sees it. What cannot be read is shown as damage: it must not hide the others.
fn view(row: &Row<'_>) -> Step<TaskView> {
    let id = task::id(row, 0)?;
    let state = u8::try_from(row.get::<_, i64>(1)?).ok().and_then(State::from_code);
    let state = state.ok_or_else(|| Error::corrupt(format!("task {id} is in no state")))?;
    let at: Option<Timestamp> = row.get::<_, Option<i64>>(2)?.map(time);
    let reason = row.get::<_, Option<i64>>(3)?.and_then(|reason| u8::try_from(reason).ok());
    let record: Option<Vec<u8>> = row.get(4)?;
    let stored = record.and_then(|record| Stored::parse(id, record).ok());
    let trail: Option<Vec<u8>> = row.get(5)?;
    let attempt = row.get::<_, Option<i64>>(6)?.and_then(|attempt| u32::try_from(attempt).ok());
    let result = match attempt {
        Some(attempt) => Some(Kept { attempt, sealed: row.get(7)? }),
        None => None,
    };
    Ok(TaskView {
        state,
        until: at.filter(|_| !matches!(state, State::Archived | State::Aggregating)),
        reason: reason.and_then(Reason::from_code),
        stored: stored.unwrap_or_else(|| Stored::damaged(id)),
        trail: trail.and_then(|trail| Trail::decode(&trail).ok()).unwrap_or_default(),
        result,
    })
}

/// Compares check values of keys; writes those that are new.
pub(super) fn check_keys(tx: &mut Txn<'_>, checks: &[(u32, [u8; 8])]) -> Step<Option<()>> {
    let mut read = tx.conn.prepare_cached(KEY_READ)?;
    let mut new = Vec::new();
    for (id, proof) in checks {
        let seen: Option<Vec<u8>> = read.query_row([id], |row| row.get(0)).optional()?;
        match seen {
            Some(seen) if seen != proof => {
                return Err(Error::wrong_key(format!(
                    "key {id} is not the key of that id that was used here before; load the right one"
                ))
                .into());
            }
            Some(_) => {}
            None if tx.is_writing() => new.push((id, proof)),
            None => return Ok(None),
        }
    }
    let mut write = tx.conn.prepare_cached(KEY_WRITE)?;
    for (id, proof) in new {
        write.execute(params![id, proof])?;
    }
    Ok(Some(()))
}
