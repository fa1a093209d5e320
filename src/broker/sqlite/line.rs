//! The lines of pending tasks: one per lane and kind, each sorted by place, all in one index.
//!
//! A dequeue reads only the lines of the kinds it takes, so that nothing waits behind another kind; its
//! work grows with kinds and claims, not with the backlog. A walk jumps from group to group.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet, VecDeque};

use rusqlite::{Connection, OptionalExtension};

use super::fault::Step;
use super::place::Place;
use super::task::{count, kind_number};
use super::txn::{Txn, mutant};
use crate::broker::{Ask, Lane};
use crate::clock::Timestamp;

/// Most groups one walk looks at. What lies beyond is seen once those before it have gone.
const GROUPS_MAX: usize = 4_096;
/// Released tasks are sorted by their place, not by the time of their release: a walk looks at this many.
const RELEASED_LOOK: usize = 1_000;

// Limits are sums: a bare parameter there makes SQLite plan the query anew each time.
pub(super) const FIRST: &str = "SELECT row, place FROM oncue_task INDEXED BY oncue_task_pending
    WHERE state = 1 AND queue = ?1 AND lane = ?2 AND kind = ?3 AND place > ?4 ORDER BY place LIMIT ?5 + 0";
#[cfg(feature = "failpoints")]
const LAST: &str = "SELECT row, place FROM oncue_task INDEXED BY oncue_task_pending
    WHERE state = 1 AND queue = ?1 AND lane = ?2 AND kind = ?3 AND place < -?4 ORDER BY place DESC LIMIT ?5 + 0";
pub(super) const GROUP: &str =
    "SELECT lane, kind, place FROM oncue_task INDEXED BY oncue_task_pending
    WHERE state = 1 AND queue = ?1 AND (lane, kind, place) > (?2, ?3, ?4)
    ORDER BY lane, kind, place LIMIT 1";
pub(super) const SINCE: &str = "SELECT row, since FROM oncue_task INDEXED BY oncue_task_pending
    WHERE state = 1 AND queue = ?1 AND lane = ?2 AND kind = ?3 AND place BETWEEN ?4 AND ?5
    ORDER BY place LIMIT ?6 + 0";

/// A lane as it is stored.
pub(super) fn lane_number(lane: Lane) -> i64 {
    match lane {
        Lane::Shared => 0,
        Lane::Alone => 1,
    }
}

/// The front of one line, read in pieces.
struct Line {
    lane: i64,
    kind: i64,
    /// How many more may be taken from it.
    left: usize,
    /// Row and place, in order.
    read: VecDeque<(i64, i64)>,
    /// Read up to here.
    after: i64,
}

impl Line {
    fn read(&mut self, tx: &Txn<'_>, queue: i64, piece: usize) -> Step<()> {
        let limit = count(piece.min(self.left));
        #[cfg(feature = "failpoints")]
        if mutant!(tx, LastInFirstOut) {
            let mut query = tx.conn.prepare_cached(LAST)?;
            let mut rows = query.query([queue, self.lane, self.kind, self.after, limit])?;
            while let Some(row) = rows.next()? {
                let place: i64 = row.get(1)?;
                self.after = -place;
                self.read.push_back((row.get(0)?, -place));
            }
            return Ok(());
        }
        let mut query = tx.conn.prepare_cached(FIRST)?;
        let mut rows = query.query([queue, self.lane, self.kind, self.after, limit])?;
        while let Some(row) = rows.next()? {
            self.after = row.get(1)?;
            self.read.push_back((row.get(0)?, self.after));
        }
        Ok(())
    }
}

fn lines(tx: &Txn<'_>, queue: i64, ask: &Ask) -> Step<Vec<Line>> {
    let start = if mutant!(tx, LastInFirstOut) { -i64::MAX } else { -1 };
    let mut seen = HashSet::new();
    let mut kinds: Vec<(i64, usize)> = (ask.accept.iter())
        .map(|(kind, limit)| (kind_number(*kind), *limit))
        .filter(|(kind, limit)| *limit > 0 && seen.insert(*kind))
        .collect();
    if mutant!(tx, IgnoreAccept) {
        let mut all = tx.conn.prepare("SELECT DISTINCT kind FROM oncue_task WHERE queue = ?1")?;
        kinds =
            all.query_map([queue], |row| Ok((row.get(0)?, ask.max)))?.collect::<Result<_, _>>()?;
    }
    let mixed = [Lane::Shared, Lane::Alone];
    let lanes = if mutant!(tx, MixLanes) { &mixed[..] } else { &[ask.lane][..] };
    let line = |lane, (kind, left)| Line { lane, kind, left, read: VecDeque::new(), after: start };
    Ok(lanes
        .iter()
        .flat_map(|lane| kinds.iter().map(move |kind| line(lane_number(*lane), *kind)))
        .collect())
}

/// Whether there is anything to claim.
pub(super) fn is_empty(tx: &Txn<'_>, queue: i64, ask: &Ask) -> Step<bool> {
    for mut line in lines(tx, queue, ask)? {
        line.read(tx, queue, 1)?;
        if !line.read.is_empty() {
            return Ok(ask.max == 0);
        }
    }
    Ok(true)
}

/// The rows that stand first in the lines asked for, all kinds merged by place.
pub(super) fn first(tx: &Txn<'_>, queue: i64, ask: &Ask) -> Step<Vec<i64>> {
    let mut lines = lines(tx, queue, ask)?;
    let piece = ask.max / lines.len().max(1) + 1;
    let mut fronts = BinaryHeap::new();
    for (index, line) in lines.iter_mut().enumerate() {
        line.read(tx, queue, piece)?;
        fronts.extend(line.read.front().map(|(_, place)| Reverse((*place, index))));
    }
    let mut rows = Vec::with_capacity(ask.max);
    while rows.len() < ask.max
        && let Some(Reverse((_, index))) = fronts.pop()
    {
        let line = &mut lines[index];
        rows.extend(line.read.pop_front().map(|(row, _)| row));
        line.left -= 1;
        if line.read.is_empty() && line.left > 0 {
            line.read(tx, queue, piece)?;
        }
        fronts.extend(line.read.front().map(|(_, place)| Reverse((*place, index))));
    }
    Ok(rows)
}

/// Tasks of one lane, kind, priority and freshness.
struct Group {
    lane: i64,
    kind: i64,
    first: Place,
}

impl Group {
    /// The first group after a key.
    fn after(conn: &Connection, queue: i64, key: (i64, i64, i64)) -> Step<Option<Self>> {
        let mut query = conn.prepare_cached(GROUP)?;
        let group = query.query_row([queue, key.0, key.1, key.2], |row| {
            Ok(Self { lane: row.get(0)?, kind: row.get(1)?, first: Place(row.get(2)?) })
        });
        Ok(group.optional()?)
    }

    /// The first rows of the group and since when they are pending.
    fn rows(&self, conn: &Connection, queue: i64, limit: usize) -> Step<Vec<(i64, i64)>> {
        let mut query = conn.prepare_cached(SINCE)?;
        let end = self.first.end_of_group();
        let keys = [queue, self.lane, self.kind, self.first.0, end.0, count(limit)];
        let rows = query.query_map(keys, |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn end(&self) -> (i64, i64, i64) {
        (self.lane, self.kind, self.first.end_of_group().0)
    }
}

const START: (i64, i64, i64) = (-1, 0, 0);

/// When the longest waiting pending task became pending.
pub(super) fn oldest(conn: &Connection, queue: i64) -> Step<Option<i64>> {
    let (mut oldest, mut key) = (None, START);
    for _ in 0..GROUPS_MAX {
        let Some(group) = Group::after(conn, queue, key)? else { break };
        key = group.end();
        let look = if group.first.is_fresh() { 1 } else { RELEASED_LOOK };
        let least = group.rows(conn, queue, look)?.into_iter().map(|(_, since)| since).min();
        oldest = oldest.into_iter().chain(least).min();
    }
    Ok(oldest)
}

/// Tasks of kinds that are not `known`, pending since `cutoff` or longer.
pub(super) fn overdue(
    tx: &Txn<'_>,
    queue: i64,
    known: &HashSet<i64>,
    cutoff: Timestamp,
    max: usize,
) -> Step<Vec<i64>> {
    let cutoff = super::task::ms(cutoff);
    let (mut rows, mut key) = (Vec::new(), START);
    for _ in 0..GROUPS_MAX {
        if rows.len() >= max {
            break;
        }
        let Some(group) = Group::after(tx.conn, queue, key)? else { break };
        if known.contains(&group.kind) {
            key = (group.lane, group.kind, i64::MAX);
            continue;
        }
        key = group.end();
        let room = max - rows.len();
        let look = if group.first.is_fresh() { room } else { RELEASED_LOOK };
        let overdue = group.rows(tx.conn, queue, look)?.into_iter();
        rows.extend(overdue.filter(|(_, since)| *since <= cutoff).take(room).map(|(row, _)| row));
    }
    Ok(rows)
}
