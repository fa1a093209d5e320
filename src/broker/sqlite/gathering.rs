//! Gatherings: the openings of groups. How they close, and how the closed ones are claimed, whole.
//!
//! At most one gathering of a queue, kind and name is open; any number are closed and wait in the line of their kind,
//! before what is pending there.

use std::collections::{HashSet, VecDeque};

use rusqlite::{Connection, OptionalExtension, Row};

use super::dequeue::hold;
use super::fault::Step;
use super::group;
use super::inspect;
use super::place::Place;
use super::task::{count, kind_hash, ms, time};
use super::txn::{Txn, mutant};
use crate::broker::{Cause, Claim, Gathering, PAGE_ROWS_MAX, Wake};
use crate::clock::Timestamp;
use crate::queue::QueueName;
use crate::state::State;

/// How early the mutant closes.
const EARLY_MS: i64 = 1_000;
/// Most closed gatherings one sweep looks at. What lies beyond is seen once those before it have gone.
const LOOK_MAX: usize = 4_096;

pub(super) const NEXT: &str = "SELECT closes FROM oncue_gathering INDEXED BY oncue_gathering_closes
    WHERE queue = ?1 AND closes IS NOT NULL ORDER BY closes LIMIT 1";
pub(super) const DUE: &str = "SELECT row FROM oncue_gathering INDEXED BY oncue_gathering_closes
    WHERE queue = ?1 AND closes <= ?2 ORDER BY closes, row";
pub(super) const CLOSE: &str =
    "UPDATE oncue_gathering SET closes = NULL, closed = ?2, turn = ?3 WHERE row = ?1";
pub(super) const CLOSED: &str =
    "SELECT row, turn, tasks FROM oncue_gathering INDEXED BY oncue_gathering_closed
    WHERE queue = ?1 AND kind = ?2 AND turn > 0 ORDER BY turn";
pub(super) const AFTER: &str =
    "SELECT kind, turn, row, closed FROM oncue_gathering INDEXED BY oncue_gathering_closed
    WHERE queue = ?1 AND (kind, turn) > (?2, ?3) AND turn IS NOT NULL
    ORDER BY kind, turn LIMIT 1";
pub(super) const MEMBERS: &str = "SELECT row FROM oncue_grouped INDEXED BY oncue_grouped_in
    WHERE gathering = ?1 ORDER BY joined";
const LIST: &str = "SELECT kind, name, tasks, since, closes FROM oncue_gathering
    WHERE queue = ?1 ORDER BY since, row LIMIT ?2";

/// One that waits to be claimed.
pub(super) struct Closed {
    pub(super) row: i64,
    /// Where it stands among the lines of other kinds.
    pub(super) place: Place,
    pub(super) tasks: usize,
}

fn early(tx: &Txn<'_>) -> i64 {
    if mutant!(tx, CloseEarly) { EARLY_MS } else { 0 }
}

/// When the next one of a queue closes by itself.
pub(super) fn next(tx: &Txn<'_>, queue: i64) -> Step<Option<Timestamp>> {
    let mut next = tx.conn.prepare_cached(NEXT)?;
    let next: Option<i64> = next.query_row([queue], |row| row.get(0)).optional()?;
    Ok(next.map(|next| time(next - early(tx))))
}

/// Closes those that are due, the longest due first.
pub(super) fn close_due(tx: &mut Txn<'_>, queue: i64, limit: usize) -> Step<()> {
    let mut due = tx.conn.prepare_cached(DUE)?;
    let due = due.query_map([queue, ms(tx.now()) + early(tx)], |row| row.get(0))?;
    let due: Vec<i64> = due.take(limit).collect::<Result<_, _>>()?;
    due.into_iter().try_for_each(|gathering| close(tx, gathering))
}

/// Closes one: what comes later opens another.
pub(super) fn close(tx: &mut Txn<'_>, gathering: i64) -> Step<()> {
    let turn = tx.next()?;
    tx.conn.prepare_cached(CLOSE)?.execute([gathering, ms(tx.now()), turn])?;
    tx.wake(Wake::Ready);
    Ok(())
}

/// The closed ones of a kind, in line.
pub(super) fn closed(tx: &Txn<'_>, queue: i64, kind: i64, limit: usize) -> Step<VecDeque<Closed>> {
    let mut query = tx.conn.prepare_cached(CLOSED)?;
    let closed = query.query_map([queue, kind], |row| {
        let (place, tasks) = (Place::last(0, row.get(1)?), row.get::<_, i64>(2)?);
        Ok(Closed { row: row.get(0)?, place, tasks: usize::try_from(tasks).unwrap_or(0) })
    })?;
    Ok(closed.take(limit).collect::<Result<_, _>>()?)
}

/// Tasks of closed ones of kinds that are not `known`, closed since `cutoff` or longer.
pub(super) fn overdue(
    tx: &Txn<'_>,
    queue: i64,
    known: &HashSet<i64>,
    cutoff: Timestamp,
    max: usize,
) -> Step<Vec<i64>> {
    let mut after = tx.conn.prepare_cached(AFTER)?;
    let (mut rows, mut key) = (Vec::new(), (-1, 0));
    for _ in 0..LOOK_MAX {
        if rows.len() >= max {
            break;
        }
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
        let found = after.query_row([queue, key.0, key.1], read).optional()?;
        let Some((kind, turn, gathering, closed)): Option<(i64, i64, i64, i64)> = found else {
            break;
        };
        if known.contains(&kind) {
            key = (kind, i64::MAX);
            continue;
        }
        key = (kind, turn);
        if closed <= ms(cutoff) {
            rows.extend(members(tx, gathering, max - rows.len())?);
        }
    }
    Ok(rows)
}

/// The tasks of one in the order in which they joined it.
pub(super) fn members(tx: &Txn<'_>, gathering: i64, limit: usize) -> Step<Vec<i64>> {
    let mut members = tx.conn.prepare_cached(MEMBERS)?;
    let rows = members.query_map([gathering], |row| row.get(0))?;
    Ok(rows.take(limit).collect::<Result<_, _>>()?)
}

/// Puts tasks of gatherings into the hands of a session.
pub(super) fn take(
    tx: &mut Txn<'_>,
    members: &[i64],
    queue: i64,
    session: i64,
    cause: Cause,
) -> Step<Vec<Claim>> {
    members.iter().try_for_each(|row| group::leave(tx, *row))?;
    hold(tx, members, queue, session, cause, State::Aggregating)
}

/// Every one of a queue, the oldest first; at most a page.
pub(super) fn list(conn: &Connection, queue: &QueueName) -> Step<Vec<Gathering>> {
    let Some(queue) = inspect::queue_row(conn, queue)? else { return Ok(Vec::new()) };
    let mut query = conn.prepare_cached(LIST)?;
    let gatherings = query.query_map([queue, count(PAGE_ROWS_MAX)], |row| {
        Ok(Gathering {
            kind: kind_hash(row.get(0)?),
            name: row.get(1)?,
            tasks: u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0),
            since: time(row.get(3)?),
            closes: row.get::<_, Option<i64>>(4)?.map(time),
        })
    })?;
    Ok(gatherings.collect::<Result<_, _>>()?)
}
