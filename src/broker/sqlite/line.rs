//! The lines of pending tasks: one per lane and kind, each sorted by place, all in one index; closed gatherings of a kind
//! stand before them.
//!
//! A dequeue reads only the lines of the kinds it takes, so that nothing waits behind another kind; its
//! work grows with kinds and claims, not with the backlog. A walk jumps from group to group.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet, VecDeque};

use rusqlite::{CachedStatement, Connection, OptionalExtension};

use super::fault::Step;
use super::gathering::{self, Closed};
use super::place::Place;
use super::task::kind_number;
use super::txn::{Txn, mutant};
use crate::broker::{Ask, CLAIMS_MAX, Lane};
use crate::clock::Timestamp;

/// Most groups one walk looks at. What lies beyond is seen once those before it have gone.
const GROUPS_MAX: usize = 4_096;
/// What was released, or goes before all, is not sorted by the time it became pending: a walk looks at this many.
const RELEASED_LOOK: usize = 1_000;

// No limits here: a parameter there makes SQLite plan the query anew each time. Who has enough stops.
pub(super) const FIRST: &str = "SELECT row, place FROM oncue_task INDEXED BY oncue_task_pending
    WHERE state = 1 AND queue = ?1 AND lane = ?2 AND kind = ?3 AND place > ?4 ORDER BY place";
#[cfg(feature = "failpoints")]
const LAST: &str = "SELECT row, place FROM oncue_task INDEXED BY oncue_task_pending
    WHERE state = 1 AND queue = ?1 AND lane = ?2 AND kind = ?3 AND place < -?4 ORDER BY place DESC";
pub(super) const GROUP: &str =
    "SELECT lane, kind, place FROM oncue_task INDEXED BY oncue_task_pending
    WHERE state = 1 AND queue = ?1 AND (lane, kind, place) > (?2, ?3, ?4)
    ORDER BY lane, kind, place LIMIT 1";
pub(super) const SINCE: &str = "SELECT row, since FROM oncue_task INDEXED BY oncue_task_pending
    WHERE state = 1 AND queue = ?1 AND lane = ?2 AND kind = ?3 AND place BETWEEN ?4 AND ?5
    ORDER BY place";

/// The same from the end: of tasks that go before all, the last to come stands first.
pub(super) const SINCE_FROM_END: &str =
    "SELECT row, since FROM oncue_task INDEXED BY oncue_task_pending
    WHERE state = 1 AND queue = ?1 AND lane = ?2 AND kind = ?3 AND place BETWEEN ?4 AND ?5
    ORDER BY place DESC";

/// A lane as it is stored.
pub(super) fn lane_number(lane: Lane) -> i64 {
    match lane {
        Lane::Shared => 0,
        Lane::Alone => 1,
    }
}

/// What a dequeue is to claim as one.
pub(super) enum Pick {
    /// A pending task.
    Task(i64),
    /// A closed gathering, whole.
    Gathering(i64),
}

/// The front of one line, read in pieces.
struct Line {
    lane: i64,
    kind: i64,
    /// How many more may be taken from it.
    left: usize,
    /// Gatherings, before all that is pending.
    closed: VecDeque<Closed>,
    /// Row and place, in order.
    read: VecDeque<(i64, i64)>,
    /// Read up to here.
    after: i64,
}

impl Line {
    /// Reads on, `front` being the query [`FIRST`].
    fn read(&mut self, front: &mut Front<'_>, queue: i64, piece: usize) -> Step<()> {
        let limit = piece.min(self.left);
        let mut rows = front.query.query([queue, self.lane, self.kind, self.after])?;
        while self.read.len() < limit
            && let Some(row) = rows.next()?
        {
            self.after = front.sign * row.get::<_, i64>(1)?;
            self.read.push_back((row.get(0)?, self.after));
        }
        Ok(())
    }

    /// Where it stands among the others: a gathering lends nobody behind it a worse place than they have.
    fn place(&self) -> Option<i64> {
        let closed = self.closed.front().map(|closed| closed.place.0);
        closed.into_iter().chain(self.read.front().map(|(_, place)| *place)).min()
    }
}

/// The query for the front of a line. One for all lines of a call: coming from the cache it is planned anew.
struct Front<'c> {
    query: CachedStatement<'c>,
    /// Places count backwards if the last come first.
    sign: i64,
}

impl<'c> Front<'c> {
    fn new(tx: &Txn<'c>) -> Step<Self> {
        #[cfg(feature = "failpoints")]
        if mutant!(tx, LastInFirstOut) {
            return Ok(Self { query: tx.conn.prepare_cached(LAST)?, sign: -1 });
        }
        Ok(Self { query: tx.conn.prepare_cached(FIRST)?, sign: 1 })
    }
}

fn lines(tx: &Txn<'_>, queue: i64, ask: &Ask, with_groups: bool) -> Step<Vec<Line>> {
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
    let line = |lane, (kind, left)| {
        let (closed, read) = (VecDeque::new(), VecDeque::new());
        Line { lane, kind, left, closed, read, after: start }
    };
    let mut lines: Vec<Line> = (lanes.iter())
        .flat_map(|lane| kinds.iter().map(move |kind| line(lane_number(*lane), *kind)))
        .collect();
    if with_groups {
        for line in lines.iter_mut().filter(|line| line.lane == lane_number(Lane::Shared)) {
            line.closed = gathering::closed(tx, queue, line.kind, line.left.min(ask.max))?;
        }
    }
    Ok(lines)
}

/// Whether there is anything to claim.
pub(super) fn is_empty(tx: &Txn<'_>, queue: i64, ask: &Ask, with_groups: bool) -> Step<bool> {
    let mut front = Front::new(tx)?;
    for mut line in lines(tx, queue, ask, with_groups)? {
        line.read(&mut front, queue, 1)?;
        if line.place().is_some() {
            return Ok(ask.max == 0);
        }
    }
    Ok(true)
}

/// What stands first in the lines asked for, all kinds merged by place. A gathering that has no room in the answer
/// holds up its line until the next one.
pub(super) fn first(tx: &Txn<'_>, queue: i64, ask: &Ask, with_groups: bool) -> Step<Vec<Pick>> {
    let mut lines = lines(tx, queue, ask, with_groups)?;
    let piece = ask.max / lines.len().max(1) + 1;
    let mut front = Front::new(tx)?;
    let mut fronts = BinaryHeap::new();
    for (index, line) in lines.iter_mut().enumerate() {
        line.read(&mut front, queue, piece)?;
        fronts.extend(line.place().map(|place| Reverse((place, index))));
    }
    let (mut picks, mut claims) = (Vec::with_capacity(ask.max), 0);
    while picks.len() < ask.max
        && claims < CLAIMS_MAX
        && let Some(Reverse((_, index))) = fronts.pop()
    {
        let line = &mut lines[index];
        if let Some(closed) = line.closed.pop_front() {
            if claims > 0 && claims + closed.tasks > CLAIMS_MAX {
                continue;
            }
            claims += closed.tasks;
            picks.push(Pick::Gathering(closed.row));
        } else {
            claims += 1;
            picks.extend(line.read.pop_front().map(|(row, _)| Pick::Task(row)));
        }
        line.left -= 1;
        if line.left == 0 {
            continue;
        }
        if line.read.is_empty() && line.closed.is_empty() {
            line.read(&mut front, queue, piece)?;
        }
        fronts.extend(line.place().map(|place| Reverse((place, index))));
    }
    Ok(picks)
}

/// Tasks of one lane, kind, priority and freshness.
struct Group {
    lane: i64,
    kind: i64,
    first: Place,
}

impl Group {
    fn end(&self) -> (i64, i64, i64) {
        (self.lane, self.kind, self.first.end_of_group().0)
    }
}

/// Goes from group to group.
struct Walk<'c> {
    queue: i64,
    groups: CachedStatement<'c>,
    rows: CachedStatement<'c>,
    from_end: CachedStatement<'c>,
}

impl<'c> Walk<'c> {
    fn new(conn: &'c Connection, queue: i64) -> Step<Self> {
        let groups = conn.prepare_cached(GROUP)?;
        let (rows, from_end) = (conn.prepare_cached(SINCE)?, conn.prepare_cached(SINCE_FROM_END)?);
        Ok(Self { queue, groups, rows, from_end })
    }

    /// The first group after a key.
    fn after(&mut self, key: (i64, i64, i64)) -> Step<Option<Group>> {
        let group = self.groups.query_row([self.queue, key.0, key.1, key.2], |row| {
            Ok(Group { lane: row.get(0)?, kind: row.get(1)?, first: Place(row.get(2)?) })
        });
        Ok(group.optional()?)
    }

    /// Rows of a group and since when they are pending, those first that are so the longest, as far as places tell.
    fn rows(&mut self, group: &Group, limit: usize) -> Step<Vec<(i64, i64)>> {
        let (lane, kind, end) = group.end();
        let keys = [self.queue, lane, kind, group.first.0, end];
        let rows = if group.first.is_front() { &mut self.from_end } else { &mut self.rows };
        let rows = rows.query_map(keys, |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.take(limit).collect::<Result<_, _>>()?)
    }
}

const START: (i64, i64, i64) = (-1, 0, 0);

/// When the longest waiting pending task became pending.
pub(super) fn oldest(conn: &Connection, queue: i64) -> Step<Option<i64>> {
    let mut walk = Walk::new(conn, queue)?;
    let (mut oldest, mut key) = (None, START);
    for _ in 0..GROUPS_MAX {
        let Some(group) = walk.after(key)? else { break };
        key = group.end();
        let look = if group.first.is_fresh() { 1 } else { RELEASED_LOOK };
        let least = walk.rows(&group, look)?.into_iter().map(|(_, since)| since).min();
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
    let mut walk = Walk::new(tx.conn, queue)?;
    let (mut rows, mut key) = (Vec::new(), START);
    for _ in 0..GROUPS_MAX {
        if rows.len() >= max {
            break;
        }
        let Some(group) = walk.after(key)? else { break };
        if known.contains(&group.kind) {
            key = (group.lane, group.kind, i64::MAX);
            continue;
        }
        key = group.end();
        let room = max - rows.len();
        let look = if group.first.is_fresh() { room } else { RELEASED_LOOK };
        let overdue = walk.rows(&group, look)?.into_iter();
        rows.extend(overdue.filter(|(_, since)| *since <= cutoff).take(room).map(|(row, _)| row));
    }
    Ok(rows)
}
