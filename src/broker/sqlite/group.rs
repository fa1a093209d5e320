//! Groups: how a task joins its own and leaves it.
//!
//! What it joins is the open [`gathering`] of its group, or a new one; a gathering knows how many tasks it has, and is
//! gone with the last of them. A task without a group costs nothing here.

use rusqlite::{OptionalExtension, params};

use super::fault::Step;
use super::gathering;
use super::task::{FRONT, GROUP, count, ms};
use super::txn::{Txn, mutant};
use crate::broker::Wake;
use crate::clock::Timestamp;
use crate::state::State;
use crate::task;

const STORE: &str =
    "INSERT INTO oncue_grouped (row, name, grace, within, most) VALUES (?1, ?2, ?3, ?4, ?5)";
pub(super) const TERMS: &str = "SELECT name, grace, within, most,
    (SELECT kind FROM oncue_task t WHERE t.row = g.row) FROM oncue_grouped g WHERE row = ?1";
pub(super) const LANE: &str = "SELECT lane FROM oncue_task NOT INDEXED WHERE row = ?1";
pub(super) const OPEN: &str =
    "SELECT row, tasks, since FROM oncue_gathering INDEXED BY oncue_gathering_open
    WHERE queue = ?1 AND kind = ?2 AND name = ?3 AND closes IS NOT NULL";
const NEW: &str = "INSERT INTO oncue_gathering (queue, kind, name, tasks, since, closes)
    VALUES (?1, ?2, ?3, 1, ?4, ?5)";
pub(super) const GROW: &str =
    "UPDATE oncue_gathering SET tasks = tasks + 1, closes = ?2 WHERE row = ?1";
pub(super) const ENTER: &str =
    "UPDATE oncue_grouped SET gathering = ?2, joined = ?3 WHERE row = ?1";
pub(super) const JOINED: &str = "UPDATE oncue_task SET state = 6, lane = 0, at = ?2, since = ?3,
    marks = ?4, reason = NULL, session = NULL WHERE row = ?1";
pub(super) const IN: &str = "SELECT gathering FROM oncue_grouped WHERE row = ?1";
pub(super) const OUT: &str =
    "UPDATE oncue_grouped SET gathering = NULL, joined = NULL WHERE row = ?1";
pub(super) const SHRINK: &str = "UPDATE oncue_gathering SET tasks = tasks - 1 WHERE row = ?1";
pub(super) const DISSOLVE: &str = "DELETE FROM oncue_gathering WHERE row = ?1 AND tasks <= 0";
pub(super) const FORGET: &str = "DELETE FROM oncue_grouped WHERE row = ?1";

/// Stores what a new task says of its group.
pub(super) fn store(tx: &Txn<'_>, row: i64, group: &task::Group) -> Step<()> {
    let wait = |wait| ms(Timestamp(0).plus(wait));
    let mut store = tx.conn.prepare_cached(STORE)?;
    let (grace, within) = (wait(group.grace), group.within.map(wait));
    store.execute(params![row, group.name, grace, within, count(group.most)])?;
    Ok(())
}

/// Has a task join its group as [`join`] does, unless it must run alone.
pub(super) fn join_unless_alone(
    tx: &mut Txn<'_>,
    queue: i64,
    row: i64,
    marks: i64,
    from: State,
) -> Step<bool> {
    if marks & GROUP == 0 {
        return Ok(false);
    }
    let lane: i64 = tx.conn.prepare_cached(LANE)?.query_row([row], |row| row.get(0))?;
    if lane == 0 { join(tx, queue, row, marks, from) } else { Ok(false) }
}

/// Has a task join its group, out of a state in which it is in no gathering; false if it has no group.
pub(super) fn join(tx: &mut Txn<'_>, queue: i64, row: i64, marks: i64, from: State) -> Step<bool> {
    if marks & GROUP == 0 || from == State::Active && mutant!(tx, ForgetGroup) {
        return Ok(false);
    }
    let order = tx.next()?;
    if !enter(tx, queue, row, order)? {
        return Ok(false);
    }
    let mut joined = tx.conn.prepare_cached(JOINED)?;
    joined.execute([row, order, ms(tx.now()), marks & !FRONT])?;
    tx.tally(queue).moved(Some(from), Some(State::Aggregating));
    Ok(true)
}

/// What a task says of its group, and its kind.
struct Terms {
    name: String,
    grace: i64,
    within: Option<i64>,
    most: i64,
    kind: i64,
}

impl Terms {
    /// None if a foreign hand removed them.
    fn find(tx: &Txn<'_>, row: i64) -> Step<Option<Self>> {
        let mut query = tx.conn.prepare_cached(TERMS)?;
        let terms = query.query_row([row], |row| {
            let (name, grace, within) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(Self { name, grace, within, most: row.get(3)?, kind: row.get(4)? })
        });
        Ok(terms.optional()?)
    }

    /// When a gathering closes that was opened at `since`, and that a task with these terms joins now.
    fn closes(&self, since: i64, now: i64) -> i64 {
        let quiet = now.saturating_add(self.grace);
        self.within.map_or(quiet, |within| quiet.min(since.saturating_add(within)))
    }
}

/// Puts a task into the open gathering of its group, or a new one, behind those of a lower order. False if nothing is
/// known of its group.
pub(super) fn enter(tx: &mut Txn<'_>, queue: i64, row: i64, order: i64) -> Step<bool> {
    let (conn, now) = (tx.conn, ms(tx.now()));
    let Some(terms) = Terms::find(tx, row)? else { return Ok(false) };
    let mut open = conn.prepare_cached(OPEN)?;
    let open: Option<(i64, i64, i64)> = open
        .query_row(params![queue, terms.kind, terms.name], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    let closes = terms.closes(open.map_or(now, |(_, _, since)| since), now);
    if gathering::next(tx, queue)?.is_none_or(|next| closes < ms(next)) {
        tx.wake(Wake::Due);
    }
    let (gathering, tasks) = match open {
        Some((gathering, tasks, _)) => {
            conn.prepare_cached(GROW)?.execute([gathering, closes])?;
            (gathering, tasks + 1)
        }
        None => {
            let mut new = conn.prepare_cached(NEW)?;
            new.execute(params![queue, terms.kind, terms.name, now, closes])?;
            (conn.last_insert_rowid(), 1)
        }
    };
    conn.prepare_cached(ENTER)?.execute([row, gathering, order])?;
    if tasks >= terms.most {
        gathering::close(tx, gathering)?;
    }
    Ok(true)
}

/// Takes a task out of its gathering.
pub(super) fn leave(tx: &Txn<'_>, row: i64) -> Step<()> {
    let mut gathering = tx.conn.prepare_cached(IN)?;
    let gathering: Option<i64> = gathering.query_row([row], |row| row.get(0)).optional()?.flatten();
    tx.conn.prepare_cached(OUT)?.execute([row])?;
    tx.conn.prepare_cached(SHRINK)?.execute([gathering])?;
    tx.conn.prepare_cached(DISSOLVE)?.execute([gathering])?;
    Ok(())
}

/// Forgets what a task that goes said of its group.
pub(super) fn forget(tx: &Txn<'_>, row: i64, from: State) -> Step<()> {
    if from == State::Aggregating {
        leave(tx, row)?;
    }
    tx.conn.prepare_cached(FORGET)?.execute([row])?;
    Ok(())
}
