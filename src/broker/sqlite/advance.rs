//! Advance: what is due becomes pending or joins its group, groups close, what was kept long enough or is too many goes,
//! what is too old to matter is forgotten. If nothing is due it only reads.

use rusqlite::{OptionalExtension, params};

use super::fault::Step;
use super::forget;
use super::found::READY;
use super::gathering;
use super::group;
use super::keep::Standing;
use super::place::Place;
use super::task::{self, FRONT, Going, go, ms, time};
use super::txn::{Txn, mutant};
use crate::broker::{Advanced, Wake};
use crate::clock::Timestamp;
use crate::queue::QueueName;
use crate::state::State;
use crate::task::TaskId;

/// Most tasks one call moves, whatever its limit: others want the lock, too.
const ADVANCE_MAX: usize = 2_000;
/// How early the mutant is.
const EARLY_MS: i64 = 1_000;

pub(super) const NEXT: &str = "SELECT at FROM oncue_task INDEXED BY oncue_task_at
    WHERE queue = ?1 AND state = ?2 AND at IS NOT NULL ORDER BY at LIMIT 1";
pub(super) const DUE: &str =
    "SELECT row, at, place, id, marks, since FROM oncue_task INDEXED BY oncue_task_at
    WHERE queue = ?1 AND state = ?2 AND at <= ?3 ORDER BY at, row";
#[cfg(feature = "failpoints")]
const LAST: &str =
    "SELECT row, at, place, id, marks, since FROM oncue_task INDEXED BY oncue_task_at
    WHERE queue = ?1 AND state = ?2 AND at <= ?3 ORDER BY at DESC, row DESC";

/// Moves what is due. Outside a transaction it answers only if nothing is.
pub(super) fn advance(tx: &mut Txn<'_>, queue: &QueueName, limit: usize) -> Step<Option<Advanced>> {
    let Some(queue) = tx.queue(queue)? else { return Ok(Some(Advanced::default())) };
    let horizon = horizon(tx);
    if !tx.is_writing() {
        let standing = Standing::read(tx, queue)?;
        let next = next(tx, queue, &standing)?;
        let is_due = next.is_some_and(|next| ms(next) <= horizon) || standing.is_over();
        let idle = (!is_due || limit == 0) && !forget::is_due(tx, queue)?;
        return Ok(idle.then(|| Advanced::new(0, 0, next, is_due)));
    }
    let limit = limit.min(ADVANCE_MAX);
    let moved = make_ready(tx, queue, horizon, limit)?;
    gathering::close_due(tx, queue, limit)?;
    let expired = expire(tx, queue, horizon, limit - moved)?;
    let standing = Standing::read(tx, queue)?;
    let trimmed = standing.trim(tx, queue, limit - moved - expired)?;
    forget::forget(tx, queue)?;
    let standing = Standing::read(tx, queue)?;
    let next = next(tx, queue, &standing)?;
    let more = next.is_some_and(|next| ms(next) <= horizon) || standing.is_over();
    Ok(Some(Advanced::new(moved, expired + trimmed, next, more)))
}

fn horizon(tx: &Txn<'_>) -> i64 {
    ms(tx.now()) + if mutant!(tx, AdvanceEarly) { EARLY_MS } else { 0 }
}

/// When the next task is due, or is kept for too long, or the next group closes.
fn next(tx: &Txn<'_>, queue: i64, standing: &Standing) -> Step<Option<Timestamp>> {
    let mut first = tx.conn.prepare_cached(NEXT)?;
    let mut next: Option<i64> = None;
    let states = [State::Scheduled, State::Retry, State::Completed];
    let ends = if mutant!(tx, NeverExpire) { 2 } else { 3 };
    for state in &states[..ends] {
        let at = first.query_row(params![queue, state.code()], |row| row.get(0)).optional()?;
        next = next.into_iter().chain(at).min();
    }
    let closes = if standing.gathers() { gathering::next(tx, queue)? } else { None };
    let kept = standing.next(tx, queue)?;
    Ok(next.map(time).into_iter().chain(closes).chain(kept).min())
}

/// A row that is due.
pub(super) struct Due {
    pub(super) row: i64,
    at: i64,
    pub(super) place: Place,
    pub(super) id: TaskId,
    pub(super) marks: i64,
    since: i64,
}

/// Rows of a state that are due by then.
pub(super) fn due(
    tx: &Txn<'_>,
    queue: i64,
    state: State,
    horizon: i64,
    limit: usize,
) -> Step<Vec<Due>> {
    read(tx, DUE, queue, state, horizon, limit)
}

/// Rows of a state that are due first, whenever that is.
pub(super) fn first(tx: &Txn<'_>, queue: i64, state: State, limit: usize) -> Step<Vec<Due>> {
    #[cfg(feature = "failpoints")]
    if mutant!(tx, TrimNewest) {
        return read(tx, LAST, queue, state, i64::MAX, limit);
    }
    due(tx, queue, state, i64::MAX, limit)
}

fn read(
    tx: &Txn<'_>,
    sql: &str,
    queue: i64,
    state: State,
    horizon: i64,
    limit: usize,
) -> Step<Vec<Due>> {
    let mut query = tx.conn.prepare_cached(sql)?;
    let due = query.query_map(params![queue, state.code(), horizon], |row| {
        Ok(Due {
            row: row.get(0)?,
            at: row.get(1)?,
            place: Place(row.get(2)?),
            id: task::id(row, 3)?,
            marks: row.get(4)?,
            since: row.get(5)?,
        })
    })?;
    Ok(due.take(limit).collect::<Result<_, _>>()?)
}

fn make_ready(tx: &mut Txn<'_>, queue: i64, horizon: i64, limit: usize) -> Step<usize> {
    let mut all: Vec<(State, Due)> = Vec::new();
    for state in [State::Scheduled, State::Retry] {
        all.extend(due(tx, queue, state, horizon, limit)?.into_iter().map(|due| (state, due)));
    }
    // First due, first served.
    all.sort_by_key(|(_, due)| (due.at, due.row));
    all.truncate(limit);
    let is_front = |due: &Due| due.marks & FRONT != 0;
    let mut fronts = tx.numbers(all.iter().filter(|(_, due)| is_front(due)).count())?;
    let mut ready = tx.conn.prepare_cached(READY)?;
    for (state, due) in &all {
        if group::join_unless_alone(tx, queue, due.row, due.marks, *state)? {
            continue;
        }
        let order = if is_front(due) { fronts.pop() } else { None };
        let order = order.map_or_else(|| tx.next(), Ok)?;
        let place = due.place.due(is_front(due), order);
        ready.execute([due.row, ms(tx.now()), place.0, due.marks & !FRONT])?;
        tx.tally(queue).moved(Some(*state), Some(State::Pending));
    }
    if !all.is_empty() {
        tx.wake(Wake::Ready);
    }
    Ok(all.len())
}

fn expire(tx: &mut Txn<'_>, queue: i64, horizon: i64, limit: usize) -> Step<usize> {
    if mutant!(tx, NeverExpire) {
        return Ok(0);
    }
    let over = due(tx, queue, State::Completed, horizon, limit)?;
    for Due { row, id, marks, since, .. } in &over {
        let (row, id, marks, ended) = (*row, *id, *marks, time(*since));
        go(tx, &Going { row, queue, id, marks, from: State::Completed, ended })?;
    }
    Ok(over.len())
}
