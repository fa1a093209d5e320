//! Forgetting: batch ids, ids of tasks that are gone, sessions that are dead, and locks that ran out.
//!
//! Whoever looks one up compares the time himself; this only keeps the tables small.

use rusqlite::params;

use super::fault::Step;
use super::session::Status;
use super::task::ms;
use super::txn::Txn;
use std::time::Duration;

/// Most rows of each table one call deletes.
const FORGET_MAX: i64 = 1_000;
/// How often an idle queue looks for what to forget.
const FORGET_EVERY: Duration = Duration::from_secs(1);

pub(super) const IS_DUE: &str = "SELECT
    EXISTS (SELECT 1 FROM oncue_session WHERE queue = ?1 AND status = ?2 AND expires <= ?3)
    OR coalesce((SELECT until FROM oncue_batch ORDER BY row LIMIT 1) <= ?3, FALSE)
    OR coalesce((SELECT until FROM oncue_remembered ORDER BY row LIMIT 1) <= ?3, FALSE)
    OR EXISTS (SELECT 1 FROM oncue_lock WHERE until IS NOT NULL AND until <= ?3)";
const SESSIONS: &str = "DELETE FROM oncue_session WHERE row IN (SELECT row FROM oncue_session
    WHERE queue = ?1 AND status = ?2 AND expires <= ?3 LIMIT ?4 + 0)";
const BATCHES: &str = "DELETE FROM oncue_batch WHERE until <= ?1
    AND row IN (SELECT row FROM oncue_batch ORDER BY row LIMIT ?2 + 0)";
const REMEMBERED: &str = "DELETE FROM oncue_remembered WHERE until <= ?1
    AND row IN (SELECT row FROM oncue_remembered ORDER BY row LIMIT ?2 + 0)";
pub(super) const LOCKS: &str =
    "DELETE FROM oncue_lock WHERE (queue, name) IN (SELECT queue, name FROM oncue_lock
    INDEXED BY oncue_lock_until WHERE until IS NOT NULL AND until <= ?1 LIMIT ?2 + 0)";

/// Whether there is something to forget; asked of the database only now and then.
pub(super) fn is_due(tx: &mut Txn<'_>, queue: i64) -> Step<bool> {
    let now = tx.now();
    if now >= tx.desk.forgot && now.since(tx.desk.forgot) < FORGET_EVERY {
        return Ok(false);
    }
    let mut query = tx.conn.prepare_cached(IS_DUE)?;
    let is_due: bool =
        query.query_row(params![queue, Status::Buried as i64, ms(now)], |row| row.get(0))?;
    if !is_due {
        tx.desk.forgot = now;
    }
    Ok(is_due)
}

/// Forgets what is old.
pub(super) fn forget(tx: &mut Txn<'_>, queue: i64) -> Step<()> {
    if !is_due(tx, queue)? {
        return Ok(());
    }
    let now = ms(tx.now());
    tx.conn.prepare_cached(SESSIONS)?.execute([queue, Status::Buried as i64, now, FORGET_MAX])?;
    tx.conn.prepare_cached(BATCHES)?.execute([now, FORGET_MAX])?;
    tx.conn.prepare_cached(REMEMBERED)?.execute([now, FORGET_MAX])?;
    tx.conn.prepare_cached(LOCKS)?.execute([now, FORGET_MAX])?;
    Ok(())
}
