//! Settle: writes how claims ended, each on its own. Checks first, changes after.

use rusqlite::{CachedStatement, OptionalExtension, params};

use super::fault::Step;
use super::group;
use super::line::lane_number;
use super::lock::{self, Event};
use super::place::Place;
use super::session::{self, Known};
use super::task::{CANCELLED, FRONT, Going, RESULT, TRAIL, go, ms};
use super::txn::{Txn, mutant};
use crate::broker::check::Entry;
use crate::broker::{Lane, Order, Session, Settled, Settlement, Wake};
use crate::seal::Sealed;
use crate::state::{Reason, State};
use crate::task::TaskId;

pub(super) const FIND: &str =
    "SELECT row, state, session, place, marks, since FROM oncue_task WHERE queue = ?1 AND id = ?2";
pub(super) const MOVE: &str =
    "UPDATE oncue_task SET state = ?2, at = ?3, since = ?4, place = ?5, lane = coalesce(?6, lane),
    marks = ?7, reason = ?8, session = NULL WHERE row = ?1";
const WRITE_TRAIL: &str = "INSERT INTO oncue_trail (row, trail) VALUES (?1, ?2)
    ON CONFLICT (row) DO UPDATE SET trail = excluded.trail";
const DELETE_TRAIL: &str = "DELETE FROM oncue_trail WHERE row = ?1";
const WRITE_RESULT: &str = "INSERT INTO oncue_result (row, attempt, sealed) VALUES (?1, ?2, ?3)
    ON CONFLICT (row) DO UPDATE SET attempt = excluded.attempt, sealed = excluded.sealed";

/// Writes settlements that were checked.
pub(super) fn settle(
    tx: &mut Txn<'_>,
    session: &Session,
    entries: &[Entry],
) -> Step<Option<Vec<Settled>>> {
    let session = session::settler(tx, session)?;
    let mut find = tx.conn.prepare_cached(FIND)?;
    let mut answers = Vec::with_capacity(entries.len());
    for entry in entries {
        answers.push(match Held::find(tx, &mut find, &session, entry.settlement.ticket.id)? {
            Some(held) => {
                held.settle(tx, entry)?;
                Settled::Done
            }
            None => Settled::Gone,
        });
    }
    Ok(Some(answers))
}

/// A claim the session holds.
pub(super) struct Held {
    pub(super) row: i64,
    queue: i64,
    id: TaskId,
    place: Place,
    pub(super) marks: i64,
    since: i64,
}

/// Where a task goes that stays.
struct Move {
    to: State,
    at: Option<i64>,
    since: i64,
    place: Place,
    /// None: as it is.
    lane: Option<Lane>,
    reason: Option<Reason>,
}

impl Held {
    /// The claim of this task if the session holds it, `find` being the query [`FIND`].
    pub(super) fn find(
        tx: &Txn<'_>,
        find: &mut CachedStatement<'_>,
        session: &Known,
        id: TaskId,
    ) -> Step<Option<Self>> {
        let queue = session.queue;
        let found = find.query_row(params![queue, id.as_bytes()], |row| {
            let (state, holder): (i64, Option<i64>) = (row.get(1)?, row.get(2)?);
            let (place, marks, since) = (Place(row.get(3)?), row.get(4)?, row.get(5)?);
            Ok((state, holder, Self { row: row.get(0)?, queue, id, place, marks, since }))
        });
        Ok(found.optional()?.and_then(|(state, holder, held)| {
            let holds = holder == Some(session.row) || mutant!(tx, ForgetFence);
            (state == i64::from(State::Active.code()) && holds).then_some(held)
        }))
    }

    fn settle(mut self, tx: &mut Txn<'_>, entry: &Entry) -> Step<()> {
        let Settlement { order, .. } = &entry.settlement;
        let is_cancelled = self.marks & CANCELLED != 0;
        self.marks &= !CANCELLED;
        self.count(tx, order);
        if order.leads_to().is_none() {
            let Self { row, queue, id, marks, .. } = self;
            let ended = tx.now();
            return go(tx, &Going { row, queue, id, marks, from: State::Active, ended });
        }
        if let Some(trail) = &entry.trail
            && !mutant!(tx, LoseTrail)
        {
            self.write_trail(tx, trail)?;
        }
        if let Order::Complete { result: Some((attempt, sealed)), .. } = order
            && !mutant!(tx, LoseResult)
        {
            self.write_result(tx, *attempt, sealed)?;
        }
        let goes_on =
            matches!(order, Order::Retry { .. } | Order::Snooze { .. } | Order::Release { .. });
        let instead = Order::Archive { reason: Reason::Cancelled };
        let order = if is_cancelled && goes_on { &instead } else { order };
        if is_cancelled {
            tx.wake(Wake::Settled);
        }
        if let Order::Retry { front: true, .. } = order {
            self.marks |= FRONT;
        }
        if order.leads_to().is_some_and(State::is_terminal) {
            self.marks = lock::release(tx, self.row, self.marks, Event::Ended)?;
        }
        let is_shared = matches!(order, Order::Release { lane: Lane::Shared });
        if is_shared && group::join(tx, self.queue, self.row, self.marks, State::Active)? {
            return Ok(());
        }
        match self.leads_to(tx, order) {
            Some(to) => self.go_on(tx, &to),
            None => Ok(()),
        }
    }

    /// Counts the run and says who may be waiting for its end.
    fn count(&self, tx: &mut Txn<'_>, order: &Order) {
        match order {
            Order::Complete { .. } => tx.tally(self.queue).completed += 1,
            Order::Retry { .. }
            | Order::Archive { reason: Reason::Exhausted | Reason::SkipRetry } => {
                tx.tally(self.queue).failed += 1;
            }
            _ => {}
        }
        match order {
            Order::Complete { keep, .. } if !keep.is_zero() => {
                tx.wake(Wake::Settled);
                tx.wake(Wake::Due);
            }
            Order::Complete { .. } | Order::Archive { .. } | Order::Drop => tx.wake(Wake::Settled),
            Order::Retry { .. } | Order::Snooze { .. } => tx.wake(Wake::Due),
            Order::Release { .. } => tx.wake(Wake::Ready),
        }
    }

    fn leads_to(&self, tx: &Txn<'_>, order: &Order) -> Option<Move> {
        let (now, place, lane) = (tx.now(), self.place, None);
        let stay =
            Move { to: State::Active, at: None, since: self.since, place, lane, reason: None };
        Some(match *order {
            Order::Complete { keep, .. } => {
                Move { to: State::Completed, at: Some(ms(now.plus(keep))), since: ms(now), ..stay }
            }
            Order::Retry { after, .. } => {
                Move { to: State::Retry, at: Some(ms(now.plus(after))), ..stay }
            }
            Order::Snooze { after } => {
                Move { to: State::Scheduled, at: Some(ms(now.plus(after))), ..stay }
            }
            Order::Release { lane } => {
                let (place, lane) = (place.released(), Some(lane));
                Move { to: State::Pending, since: ms(now), place, lane, ..stay }
            }
            Order::Archive { reason } => {
                Move { to: State::Archived, at: Some(ms(now)), reason: Some(reason), ..stay }
            }
            Order::Drop => return None,
        })
    }

    fn go_on(&self, tx: &mut Txn<'_>, to: &Move) -> Step<()> {
        tx.conn.prepare_cached(MOVE)?.execute(params![
            self.row,
            to.to.code(),
            to.at,
            to.since,
            to.place.0,
            to.lane.map(lane_number),
            self.marks,
            to.reason.map(Reason::code),
        ])?;
        tx.tally(self.queue).moved(Some(State::Active), Some(to.to));
        Ok(())
    }

    fn write_trail(&mut self, tx: &Txn<'_>, trail: &[u8]) -> Step<()> {
        if trail.is_empty() {
            tx.conn.prepare_cached(DELETE_TRAIL)?.execute([self.row])?;
            self.marks &= !TRAIL;
        } else {
            tx.conn.prepare_cached(WRITE_TRAIL)?.execute(params![self.row, trail])?;
            self.marks |= TRAIL;
        }
        Ok(())
    }

    fn write_result(&mut self, tx: &Txn<'_>, attempt: u32, sealed: &Sealed) -> Step<()> {
        tx.conn.prepare_cached(WRITE_RESULT)?.execute(params![
            self.row,
            attempt,
            sealed.as_bytes()
        ])?;
        self.marks |= RESULT;
        Ok(())
    }
}
