//! Keep: how many ended tasks a queue keeps, and for how long; what is too many goes.
//!
//! Beside it each completed task has a retention of its own, which is [`advance`](super::advance)'s business.

use rusqlite::OptionalExtension;

use super::advance::{self, Due};
use super::fault::Step;
use super::found::Found;
use super::task::{ms, time};
use super::txn::Txn;
use crate::clock::Timestamp;
use crate::state::State;

pub(super) const STANDING: &str = "SELECT n4, completed_most, n5, archived_most, archived_for, n6 FROM oncue_queue WHERE row = ?1";

/// What a queue keeps, and what it is to keep.
pub(super) struct Standing {
    completed: i64,
    completed_most: Option<i64>,
    archived: i64,
    archived_most: Option<i64>,
    archived_for: Option<i64>,
    aggregating: i64,
}

impl Standing {
    pub(super) fn read(tx: &Txn<'_>, queue: i64) -> Step<Self> {
        let change = |state| tx.change(queue, state);
        let mut query = tx.conn.prepare_cached(STANDING)?;
        Ok(query.query_row([queue], |row| {
            Ok(Self {
                completed: row.get::<_, i64>(0)? + change(State::Completed),
                completed_most: row.get(1)?,
                archived: row.get::<_, i64>(2)? + change(State::Archived),
                archived_most: row.get(3)?,
                archived_for: row.get(4)?,
                aggregating: row.get::<_, i64>(5)? + change(State::Aggregating),
            })
        })?)
    }

    /// Whether tasks gather.
    pub(super) fn gathers(&self) -> bool {
        self.aggregating != 0
    }

    /// How many tasks are too many, by state.
    fn excess(&self) -> [(State, usize); 2] {
        let excess = |count: i64, most: Option<i64>| {
            most.map_or(0, |most| usize::try_from(count - most).unwrap_or(0))
        };
        [
            (State::Completed, excess(self.completed, self.completed_most)),
            (State::Archived, excess(self.archived, self.archived_most)),
        ]
    }

    /// Whether there are too many.
    pub(super) fn is_over(&self) -> bool {
        self.excess().iter().any(|(_, excess)| *excess > 0)
    }

    /// When the next task has been archived for too long.
    pub(super) fn next(&self, tx: &Txn<'_>, queue: i64) -> Step<Option<Timestamp>> {
        let Some(kept) = self.archived_for else { return Ok(None) };
        let mut first = tx.conn.prepare_cached(advance::NEXT)?;
        let keys = [queue, i64::from(State::Archived.code())];
        let first: Option<i64> = first.query_row(keys, |row| row.get(0)).optional()?;
        Ok(first.map(|first| time(first.saturating_add(kept))))
    }

    /// Deletes what is too many or too old, at most so many; answers how many.
    pub(super) fn trim(&self, tx: &mut Txn<'_>, queue: i64, limit: usize) -> Step<usize> {
        let mut trimmed = 0;
        for (state, excess) in self.excess() {
            let most = excess.min(limit - trimmed);
            if most > 0 {
                let due = advance::first(tx, queue, state, most)?;
                trimmed += delete(tx, queue, state, due)?;
            }
        }
        if let Some(kept) = self.archived_for {
            let since = ms(tx.now()).saturating_sub(kept);
            let state = State::Archived;
            let due = advance::due(tx, queue, state, since, limit - trimmed)?;
            trimmed += delete(tx, queue, state, due)?;
        }
        Ok(trimmed)
    }
}

fn delete(tx: &mut Txn<'_>, queue: i64, state: State, all: Vec<Due>) -> Step<usize> {
    let deleted = all.len();
    for Due { row, id, place, marks, .. } in all {
        Found { row, queue, id, state, place, marks }.delete(tx)?;
        tx.tally(queue).trimmed += 1;
    }
    Ok(deleted)
}
