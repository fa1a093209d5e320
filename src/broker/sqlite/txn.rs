//! What a command works in: one connection, one moment, and the sums it changes.
//!
//! Counts and the order counter are kept in memory and written once at commit: a settle of a thousand
//! tasks touches the row of its queue once. A [`Txn`] also reads outside a transaction
//! ([`Txn::is_writing`] is false then); it does not begin or end one, the [`writer`](super::writer) does.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};

use super::fault::{Halt, Step};
#[cfg(feature = "failpoints")]
use crate::broker::Mutant;
use crate::broker::Wake;
use crate::broker::marks::{self, Wakes};
use crate::clock::{Clock, Timestamp};
use crate::error::Error;
use crate::queue::QueueName;
use crate::state::State;

const QUEUE_FIND: &str = "SELECT row FROM oncue_queue WHERE name = ?1";
const QUEUE_NEW: &str = "INSERT INTO oncue_queue (name) VALUES (?1)";
const NEXT_READ: &str = "SELECT value FROM oncue_meta WHERE name = 'next'";
const NEXT_WRITE: &str = "UPDATE oncue_meta SET value = ?1 WHERE name = 'next'";
pub(super) const COUNTED: &str = "SELECT bytes IS NOT NULL FROM oncue_queue WHERE row = ?1";
pub(super) const TALLY: &str =
    "UPDATE oncue_queue SET n0 = n0 + ?2, n1 = n1 + ?3, n2 = n2 + ?4, n3 = n3 + ?5,
    n4 = n4 + ?6, n5 = n5 + ?7, n6 = n6 + ?8, n7 = n7 + ?9,
    completed = completed + ?10, failed = failed + ?11, trimmed = trimmed + ?12,
    bytes = bytes + ?13 WHERE row = ?1";

/// What a writer knows from one transaction to the next.
pub(super) struct Desk {
    clock: Arc<dyn Clock>,
    #[cfg(feature = "failpoints")]
    mutant: Option<Mutant>,
    /// Rows of queues. They are never deleted.
    queues: HashMap<QueueName, i64>,
    /// The last tick of a sweeper of this process, by queue: written down more rarely.
    pub(super) ticks: HashMap<i64, Timestamp>,
    /// When old ids were last looked for.
    pub(super) forgot: Timestamp,
    /// Queues whose bytes are counted, or are not: true until somebody else commits.
    counted: HashMap<i64, bool>,
    /// Queues where a dequeue of this process met a limit of what is active: it waits for a task to end. Bounded by
    /// the number of queues; kept over a rollback.
    held_up: HashSet<i64>,
}

impl Desk {
    pub(super) fn new(options: &super::Options) -> Self {
        Self {
            clock: options.clock.clone(),
            #[cfg(feature = "failpoints")]
            mutant: options.mutant,
            queues: HashMap::new(),
            ticks: HashMap::new(),
            forgot: Timestamp(0),
            counted: HashMap::new(),
            held_up: HashSet::new(),
        }
    }

    /// Forgets what a transaction that was rolled back may have taught it.
    pub(super) fn clear(&mut self) {
        self.queues.clear();
        self.ticks.clear();
        self.forgot = Timestamp(0);
        self.counted.clear();
    }

    /// Somebody else committed.
    pub(super) fn notice_others(&mut self) {
        self.counted.clear();
    }
}

/// How the counts of one queue change.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    counts: [i64; State::ALL.len()],
    pub(super) completed: i64,
    pub(super) failed: i64,
    pub(super) trimmed: i64,
    /// Bytes of records. What goes is left out while they are not counted; the sum is then not kept either.
    pub(super) bytes: i64,
    /// Whether a task came out of the hands of its session.
    ended: bool,
}

impl Tally {
    /// One task left a state and came into another; none: it is new, or gone.
    pub(super) fn moved(&mut self, from: Option<State>, to: Option<State>) {
        if let Some(state) = from {
            self.counts[usize::from(state.code())] -= 1;
            self.ended |= state == State::Active;
        }
        if let Some(state) = to {
            self.counts[usize::from(state.code())] += 1;
        }
    }
}

/// See the head of this file.
pub(super) struct Txn<'c> {
    pub(super) conn: &'c Connection,
    pub(super) desk: &'c mut Desk,
    writing: bool,
    now: Timestamp,
    tallies: HashMap<i64, Tally>,
    next: Option<i64>,
    wakes: Wakes,
    /// Changes that were undone by the commands that made them.
    undone: u64,
}

impl<'c> Txn<'c> {
    pub(super) fn new(conn: &'c Connection, desk: &'c mut Desk, writing: bool) -> Self {
        let now = desk.clock.now();
        let (tallies, next, wakes) = (HashMap::new(), None, Wakes::default());
        Self { conn, desk, writing, now, tallies, next, wakes, undone: 0 }
    }

    /// A new command begins.
    pub(super) fn turn(&mut self) {
        self.now = self.desk.clock.now();
    }

    /// Whether a transaction is open. If not, a command only reads, and answers none if it must write.
    pub(super) fn is_writing(&self) -> bool {
        self.writing
    }

    /// When the running command began.
    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    /// Whether this fault was planned.
    #[cfg(feature = "failpoints")]
    pub(super) fn mutant(&self, mutant: Mutant) -> bool {
        self.desk.mutant == Some(mutant)
    }

    /// The row of a queue, if it is known.
    pub(super) fn queue(&mut self, name: &QueueName) -> Step<Option<i64>> {
        if let Some(row) = self.desk.queues.get(name) {
            return Ok(Some(*row));
        }
        let mut find = self.conn.prepare_cached(QUEUE_FIND)?;
        let row: Option<i64> = find.query_row([name.as_str()], |row| row.get(0)).optional()?;
        if let Some(row) = row {
            self.desk.queues.insert(name.clone(), row);
        }
        Ok(row)
    }

    /// The row of a queue, made if it is new.
    pub(super) fn queue_or_new(&mut self, name: &QueueName) -> Step<i64> {
        if let Some(row) = self.queue(name)? {
            return Ok(row);
        }
        self.conn.prepare_cached(QUEUE_NEW)?.execute([name.as_str()])?;
        let row = self.conn.last_insert_rowid();
        self.desk.queues.insert(name.clone(), row);
        Ok(row)
    }

    /// The changes to the counts of a queue.
    pub(super) fn tally(&mut self, queue: i64) -> &mut Tally {
        self.tallies.entry(queue).or_default()
    }

    /// How this transaction changed the number of tasks of a queue in a state.
    pub(super) fn change(&self, queue: i64, state: State) -> i64 {
        self.tallies.get(&queue).map_or(0, |tally| tally.counts[usize::from(state.code())])
    }

    /// Whether the bytes of a queue are counted.
    pub(super) fn counts_bytes(&mut self, queue: i64) -> Step<bool> {
        if let Some(counted) = self.desk.counted.get(&queue) {
            return Ok(*counted);
        }
        let counted = self.conn.prepare_cached(COUNTED)?.query_row([queue], |row| row.get(0))?;
        self.desk.counted.insert(queue, counted);
        Ok(counted)
    }

    /// They are from now on, or are not any more.
    pub(super) fn count_bytes(&mut self, queue: i64, counted: bool) {
        self.desk.counted.insert(queue, counted);
    }

    /// A dequeue found less than it asked for since enough tasks are active: the next that ends wakes Ready.
    pub(super) fn hold_up(&mut self, queue: i64) {
        self.desk.held_up.insert(queue);
    }

    /// There is no such limit any more.
    pub(super) fn let_go(&mut self, queue: i64) {
        self.desk.held_up.remove(&queue);
    }

    /// How this transaction changed the number of tasks of a queue that have not ended.
    pub(super) fn live_change(&self, queue: i64) -> i64 {
        let ended = [State::Completed, State::Archived].map(|state| usize::from(state.code()));
        let counts = self.tallies.get(&queue).into_iter().flat_map(|tally| tally.counts.iter());
        counts.enumerate().filter(|(state, _)| !ended.contains(state)).map(|(_, count)| count).sum()
    }

    /// A number larger than all before it, by which rows are named and lines ordered.
    pub(super) fn next(&mut self) -> Step<i64> {
        let next = match self.next {
            Some(next) => next,
            None => self.conn.prepare_cached(NEXT_READ)?.query_row([], |row| row.get(0))?,
        };
        let after = next.checked_add(1).filter(|_| next > 0);
        self.next = Some(after.ok_or_else(|| Error::corrupt("the counter of tasks was altered"))?);
        Ok(next)
    }

    /// As many such numbers, the largest last.
    pub(super) fn numbers(&mut self, count: usize) -> Step<Vec<i64>> {
        (0..count).map(|_| self.next()).collect()
    }

    /// Runs this; if it is refused, what it changed is undone.
    pub(super) fn attempt<T>(&mut self, body: impl FnOnce(&mut Self) -> Step<T>) -> Step<T> {
        let (before, tallies) = (self.conn.total_changes(), self.tallies.clone());
        self.conn.execute_batch("SAVEPOINT attempt")?;
        let done = body(self);
        if let Err(Halt::Refused(_)) = &done {
            self.conn.execute_batch("ROLLBACK TO attempt")?;
            self.undone += self.conn.total_changes() - before;
            self.tallies = tallies;
        }
        self.conn.execute_batch("RELEASE attempt")?;
        done
    }

    /// How many rows were changed so far, but for changes that were undone.
    pub(super) fn changes(&self) -> u64 {
        self.conn.total_changes() - self.undone
    }

    /// Wakes who waits for this, once committed.
    pub(super) fn wake(&mut self, wake: Wake) {
        self.wakes[marks::index(wake)] = true;
    }

    /// Writes the sums, right before the commit; answers whom to wake after it.
    pub(super) fn flush(&mut self) -> Step<Wakes> {
        if let Some(next) = self.next {
            self.conn.prepare_cached(NEXT_WRITE)?.execute([next])?;
        }
        for (queue, tally) in &self.tallies {
            let Tally { counts, completed, failed, trimmed, bytes, ended } = tally;
            let [a, b, c, d, e, f, g, h] = counts;
            let mut write = self.conn.prepare_cached(TALLY)?;
            write.execute([queue, a, b, c, d, e, f, g, h, completed, failed, trimmed, bytes])?;
            self.wakes[marks::index(Wake::Ready)] |= *ended && self.desk.held_up.contains(queue);
            // There is room for an enqueue.
            self.wakes[marks::index(Wake::Settled)] |= *bytes < 0;
            // It may be one too many to keep.
            let archived = counts[usize::from(State::Archived.code())];
            self.wakes[marks::index(Wake::Due)] |= archived > 0;
        }
        Ok(self.wakes)
    }
}

/// Whether this fault was planned: never, without the feature `failpoints`.
#[cfg(feature = "failpoints")]
macro_rules! mutant {
    ($tx:expr, $mutant:ident) => {
        $tx.mutant($crate::broker::Mutant::$mutant)
    };
}
#[cfg(not(feature = "failpoints"))]
macro_rules! mutant {
    ($tx:expr, $mutant:ident) => {{
        let _ = &$tx;
        false
    }};
}
pub(super) use mutant;
