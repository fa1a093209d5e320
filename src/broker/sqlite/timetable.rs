//! The timetable: entries, and the ticks that came last.

use rusqlite::{Connection, OptionalExtension, params};

use super::fault::Step;
use super::task::{self, count, ms, time};
use super::txn::{Txn, mutant};
use crate::broker::{ENTRIES_MAX, Entry, TICKS_KEPT, Tick, Wake, check_name};
use crate::error::Error;
use crate::queue::QueueName;
use crate::task::TaskId;

const ALL: &str = "SELECT e.row, q.name, e.name, e.body, e.version, e.last
    FROM oncue_entry e JOIN oncue_queue q ON q.row = e.queue ORDER BY q.name, e.name";
pub(super) const TICKS: &str = "SELECT at, id FROM oncue_tick WHERE entry = ?1 ORDER BY at";
pub(super) const FIND: &str =
    "SELECT row, version, last FROM oncue_entry WHERE queue = ?1 AND name = ?2";
pub(super) const COUNT: &str = "SELECT count(*) FROM oncue_entry WHERE queue = ?1";
const NEW: &str = "INSERT INTO oncue_entry (queue, name, body, version, last)
    VALUES (?1, ?2, ?3, (SELECT value + 1 FROM oncue_meta WHERE name = 'entries'), ?4)";
const WRITE: &str = "UPDATE oncue_entry SET body = ?2, version = version + 1 WHERE row = ?1";
const REMOVE: &str = "DELETE FROM oncue_entry WHERE row = ?1";
const REMOVE_TICKS: &str = "DELETE FROM oncue_tick WHERE entry = ?1";
const REMOVED: &str = "UPDATE oncue_meta SET value = max(value, ?1) WHERE name = 'entries'";
pub(super) const PASS: &str = "UPDATE oncue_entry SET last = ?2 WHERE row = ?1";
const TICK: &str = "INSERT INTO oncue_tick (entry, at, id) VALUES (?1, ?2, ?3)
    ON CONFLICT (entry, at) DO UPDATE SET id = excluded.id";
pub(super) const FORGET: &str = "DELETE FROM oncue_tick WHERE entry = ?1 AND at <=
    (SELECT at FROM oncue_tick WHERE entry = ?1 ORDER BY at DESC LIMIT 1 OFFSET ?2 + 0)";

/// Every entry.
pub(super) fn entries(conn: &Connection) -> Step<Vec<Entry>> {
    let mut query = conn.prepare_cached(ALL)?;
    let mut ticks = conn.prepare_cached(TICKS)?;
    let mut rows = query.query([])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        // No call of ours makes or reaches a queue or an entry without a proper name, or a tick without an id. What
        // others wrote harms no other entry.
        let Ok(queue) = QueueName::parse(row.get_ref(1)?.as_str().unwrap_or("")) else { continue };
        let name = row.get_ref(2)?.as_str().unwrap_or("").to_owned();
        if check_name(&name).is_err() {
            continue;
        }
        let ticks = ticks
            .query_map([row.get::<_, i64>(0)?], |tick| {
                let at = time(tick.get(0)?);
                Ok(task::id(tick, 1).ok().map(|id| (at, id)))
            })?
            .filter_map(Result::transpose)
            .collect::<Result<_, _>>()?;
        let body = row.get(3)?;
        let version = u64::try_from(row.get::<_, i64>(4)?).unwrap_or(0);
        all.push(Entry { queue, name, body, version, last: time(row.get(5)?), ticks });
    }
    Ok(all)
}

/// An entry as ticks and writes are compared with it.
struct Stand {
    row: i64,
    version: i64,
    last: i64,
}

fn find(tx: &Txn<'_>, queue: i64, name: &str) -> Step<Option<Stand>> {
    let mut query = tx.conn.prepare_cached(FIND)?;
    let found = query.query_row(params![queue, name], |row| {
        Ok(Stand { row: row.get(0)?, version: row.get(1)?, last: row.get(2)? })
    });
    Ok(found.optional()?)
}

/// Writes what is in an entry, if its version is the one seen.
pub(super) fn write(
    tx: &mut Txn<'_>,
    queue: &QueueName,
    name: &str,
    body: &[u8],
    seen: u64,
) -> Step<Option<bool>> {
    let found = match tx.queue(queue)? {
        Some(queue) => find(tx, queue, name)?,
        None => None,
    };
    match found {
        Some(stand) if seen != 0 && i64::try_from(seen) == Ok(stand.version) => {
            tx.conn.prepare_cached(WRITE)?.execute(params![stand.row, body])?;
        }
        None if seen == 0 => {
            let row = tx.queue_or_new(queue)?;
            let entries: i64 = tx.conn.prepare_cached(COUNT)?.query_row([row], |row| row.get(0))?;
            if entries >= count(ENTRIES_MAX) {
                return Err(Error::full(format!(
                    "queue {queue} has {ENTRIES_MAX} entries in the timetable; remove some"
                ))
                .into());
            }
            let mut new = tx.conn.prepare_cached(NEW)?;
            new.execute(params![row, name, body, ms(tx.now())])?;
        }
        _ => return Ok(Some(false)),
    }
    tx.wake(Wake::Due);
    Ok(Some(true))
}

/// Removes an entry with its history.
pub(super) fn remove(tx: &mut Txn<'_>, queue: &QueueName, name: &str) -> Step<Option<bool>> {
    let Some(queue) = tx.queue(queue)? else { return Ok(Some(false)) };
    let Some(stand) = find(tx, queue, name)? else { return Ok(Some(false)) };
    tx.conn.prepare_cached(REMOVE)?.execute([stand.row])?;
    tx.conn.prepare_cached(REMOVE_TICKS)?.execute([stand.row])?;
    tx.conn.prepare_cached(REMOVED)?.execute([stand.version])?;
    tx.wake(Wake::Due);
    Ok(Some(true))
}

/// The row of the entry if it still is as this tick saw it.
pub(super) fn seen(tx: &mut Txn<'_>, queue: &QueueName, tick: &Tick) -> Step<Option<i64>> {
    let Some(queue) = tx.queue(queue)? else { return Ok(None) };
    let stand = find(tx, queue, &tick.entry)?.filter(|stand| {
        let is_last = ms(tick.last) == stand.last || mutant!(tx, TickTwice);
        i64::try_from(tick.version) == Ok(stand.version) && is_last
    });
    Ok(stand.map(|stand| stand.row))
}

/// A tick is the last one of its entry now; `first` is the first task that was stored for it.
pub(super) fn pass(tx: &Txn<'_>, entry: i64, tick: &Tick, first: Option<TaskId>) -> Step<()> {
    let at = ms(tick.at);
    tx.conn.prepare_cached(PASS)?.execute([entry, at])?;
    if let Some(first) = first {
        tx.conn.prepare_cached(TICK)?.execute(params![entry, at, first.as_bytes()])?;
        tx.conn.prepare_cached(FORGET)?.execute([entry, count(TICKS_KEPT)])?;
    }
    Ok(())
}
