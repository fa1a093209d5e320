//! Reclaim: kills sessions that expired and takes over what they held, and what nobody takes.
//!
//! An outage or a jump of the clock is not a death: after a gap in the ticks of all sweepers nothing is
//! killed for another gap's length. If there is nothing to do it only reads, and a sweep that takes nothing
//! leaves no session behind.

use std::collections::HashSet;
use std::time::Duration;

use rusqlite::params;

use super::dequeue::hold;
use super::fault::Step;
use super::gathering;
use super::line;
use super::session::{self, Status};
use super::task::{kind_number, ms, time};
use super::txn::{Txn, mutant};
use crate::broker::{Cause, Claim, SESSION_MEMORY, Sweep};
use crate::clock::Timestamp;
use crate::state::State;

/// Most sessions one call kills.
const KILL_MAX: usize = 500;
/// A tick is written down once the one before is older than this part of the gap. In between it is known
/// to this process only: another one may see a gap that much too early, which kills nobody.
const TICK_PART: u32 = 4;

const TICK_READ: &str = "SELECT tick, guard FROM oncue_queue WHERE row = ?1";
const TICK_WRITE: &str = "UPDATE oncue_queue SET tick = ?2, guard = ?3 WHERE row = ?1";
pub(super) const EXPIRED: &str = "SELECT row FROM oncue_session
    WHERE queue = ?1 AND status IN (0, 1) AND expires <= ?2 AND row <> ?3";
pub(super) const DEAD: &str = "SELECT row FROM oncue_session WHERE queue = ?1 AND status = ?2";
pub(super) const HELD: &str =
    "SELECT row FROM oncue_task INDEXED BY oncue_task_held WHERE session = ?1 ORDER BY row";

/// Takes over claims. Outside a transaction it answers only if there is nothing to write.
pub(super) fn reclaim(tx: &mut Txn<'_>, sweep: &Sweep) -> Step<Option<Vec<Claim>>> {
    let own = session::claimer(tx, &sweep.session)?;
    let queue = match tx.queue(&sweep.session.queue)? {
        None if !tx.is_writing() => return Ok(None),
        None => tx.queue_or_new(&sweep.session.queue)?,
        Some(queue) => queue,
    };
    let tick = Tick::read(tx, queue, sweep.gap)?;
    let expired = if tick.guards(tx) { Vec::new() } else { expired(tx, queue, own)? };
    let known: HashSet<i64> = sweep.known.iter().map(|kind| kind_number(*kind)).collect();
    let cutoff = Timestamp(tx.now().0.saturating_sub(Timestamp(0).plus(sweep.grace).0));
    if !tx.is_writing() {
        let idle = !tick.must_write
            && expired.is_empty()
            && dead(tx, queue, 1)?.is_empty()
            && line::overdue(tx, queue, &known, cutoff, 1)?.is_empty()
            && gathering::overdue(tx, queue, &known, cutoff, 1)?.is_empty();
        if idle {
            tx.desk.ticks.insert(queue, tx.now());
        }
        return Ok(idle.then(Vec::new));
    }
    tick.write(tx, queue)?;
    let until = tx.now().plus(SESSION_MEMORY);
    for row in expired {
        session::set(tx, row, Status::Dead, until)?;
    }
    let lost = lost(tx, queue, sweep.max, until)?;
    let refused = line::overdue(tx, queue, &known, cutoff, sweep.max - lost.len())?;
    let room = sweep.max - lost.len() - refused.len();
    let gathered = gathering::overdue(tx, queue, &known, cutoff, room)?;
    if lost.is_empty() && refused.is_empty() && gathered.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let Some(session) = session::enter(tx, &sweep.session, sweep.lease)? else { return Ok(None) };
    // A lost claim is active already, in other hands.
    let mut taken = hold(tx, &lost, queue, session, Cause::Lost, State::Active)?;
    taken.extend(hold(tx, &refused, queue, session, Cause::Refused, State::Pending)?);
    taken.extend(gathering::take(tx, &gathered, queue, session, Cause::Refused)?);
    Ok(Some(taken))
}

/// Sessions whose lease is over, but for the sweeper's own. No row has the number 0.
fn expired(tx: &Txn<'_>, queue: i64, own: Option<i64>) -> Step<Vec<i64>> {
    let own = own.unwrap_or(0);
    let horizon = if mutant!(tx, ReclaimAlive) { i64::MAX } else { ms(tx.now()) };
    let mut query = tx.conn.prepare_cached(EXPIRED)?;
    let rows = query.query_map([queue, horizon, own], |row| row.get(0))?;
    Ok(rows.take(KILL_MAX).collect::<Result<_, _>>()?)
}

fn dead(tx: &Txn<'_>, queue: i64, limit: usize) -> Step<Vec<i64>> {
    let mut query = tx.conn.prepare_cached(DEAD)?;
    let rows = query.query_map(params![queue, Status::Dead as i64], |row| row.get(0))?;
    Ok(rows.take(limit).collect::<Result<_, _>>()?)
}

/// What dead sessions hold and the sweeper is to take; those that then hold nothing more are buried.
fn lost(tx: &Txn<'_>, queue: i64, max: usize, until: Timestamp) -> Step<Vec<i64>> {
    let mut all = Vec::new();
    for row in dead(tx, queue, KILL_MAX)? {
        let room = max - all.len();
        let mut held = tx.conn.prepare_cached(HELD)?;
        // One more than there is room for tells whether some are left.
        let held: Vec<i64> =
            held.query_map([row], |row| row.get(0))?.take(room + 1).collect::<Result<_, _>>()?;
        all.extend(&held[..held.len().min(room)]);
        if held.len() <= room {
            session::set(tx, row, Status::Buried, until)?;
        }
        if all.len() == max {
            break;
        }
    }
    Ok(all)
}

/// The ticks of all sweepers of a queue.
struct Tick {
    guard: Timestamp,
    must_write: bool,
}

impl Tick {
    fn read(tx: &Txn<'_>, queue: i64, gap: Duration) -> Step<Self> {
        let now = tx.now();
        let mut query = tx.conn.prepare_cached(TICK_READ)?;
        let (stored, guard): (Option<i64>, i64) =
            query.query_row([queue], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let stored = stored.map(time);
        let own = tx.desk.ticks.get(&queue).copied();
        let last = stored.into_iter().chain(own).max();
        // Before the first tick nobody looked, which is a gap too.
        let is_gap = last.is_none_or(|last| now.since(last) >= gap);
        // Never further ahead than a gap, or a clock that was set back would guard for ever.
        let (stored_guard, latest) = (time(guard), now.plus(gap));
        let guard = if is_gap { latest } else { stored_guard.min(latest) };
        // A stored tick that lies ahead is of a clock that was set back.
        let must_write = is_gap
            || guard != stored_guard
            || stored.is_none_or(|stored| stored > now || now.since(stored) > gap / TICK_PART);
        Ok(Self { guard, must_write })
    }

    fn guards(&self, tx: &Txn<'_>) -> bool {
        tx.now() < self.guard && !mutant!(tx, ReclaimAfterGap)
    }

    fn write(&self, tx: &mut Txn<'_>, queue: i64) -> Step<()> {
        let now = tx.now();
        tx.conn.prepare_cached(TICK_WRITE)?.execute([queue, ms(now), ms(self.guard)])?;
        tx.desk.ticks.insert(queue, now);
        Ok(())
    }
}
