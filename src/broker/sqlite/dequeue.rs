//! Dequeue: claims what stands first in the lines asked for.

use super::concurrency::{self, Limits};
use super::fault::Step;
use super::gathering;
use super::line::{self, Pick};
use super::session;
use super::task;
use super::txn::{Txn, mutant};
use crate::broker::{Ask, Cause, Claim, Lane};
use crate::state::State;

pub(super) const STANDING: &str =
    "SELECT paused, n2, active_most, kinds, n6 FROM oncue_queue WHERE row = ?1";

/// Claims tasks. Outside a transaction it answers only if there is nothing to claim and to open.
pub(super) fn dequeue(tx: &mut Txn<'_>, ask: &Ask) -> Step<Option<Vec<Claim>>> {
    let Some(session) = session::enter(tx, &ask.session, ask.lease)? else { return Ok(None) };
    let queue = tx.queue_or_new(&ask.session.queue)?;
    let mut standing = tx.conn.prepare_cached(STANDING)?;
    let (is_paused, limits, aggregating) = standing.query_row([queue], |row| {
        let active = row.get::<_, i64>(1)? + tx.change(queue, State::Active);
        let limits = Limits { active, most: row.get(2)?, kinds: row.get(3)? };
        let aggregating = row.get::<_, i64>(4)? + tx.change(queue, State::Aggregating);
        Ok((row.get::<_, bool>(0)?, limits, aggregating))
    })?;
    if is_paused {
        return Ok(Some(Vec::new()));
    }
    let ask = concurrency::cut(tx, queue, ask, &limits)?;
    let with_groups = aggregating != 0 && ask.lane == Lane::Shared;
    if !tx.is_writing() {
        return Ok(line::is_empty(tx, queue, &ask, with_groups)?.then(Vec::new));
    }
    let picks = line::first(tx, queue, &ask, with_groups)?;
    claim(tx, &picks, queue, session, ask.max).map(Some)
}

/// Claims what was picked, each gathering under a number of its own.
fn claim(
    tx: &mut Txn<'_>,
    picks: &[Pick],
    queue: i64,
    session: i64,
    max: usize,
) -> Step<Vec<Claim>> {
    let cause = Cause::Dequeued;
    let (mut claims, mut groups) = (Vec::with_capacity(picks.len()), 0);
    for pick in picks {
        match *pick {
            Pick::Task(row) => {
                claims.extend(hold_one(tx, row, queue, session, cause, State::Pending)?);
            }
            Pick::Gathering(row) => {
                let most = if mutant!(tx, SplitGroup) { max } else { usize::MAX };
                let members = gathering::members(tx, row, most)?;
                let taken = gathering::take(tx, &members, queue, session, cause)?;
                // One of which nothing could be read has no number.
                let number = (!taken.is_empty()).then_some(groups);
                claims.extend(taken.into_iter().map(|claim| Claim { group: number, ..claim }));
                groups += u32::from(number.is_some());
            }
        }
    }
    Ok(claims)
}

/// Puts tasks that were in this state into the hands of a session.
pub(super) fn hold(
    tx: &mut Txn<'_>,
    rows: &[i64],
    queue: i64,
    session: i64,
    cause: Cause,
    from: State,
) -> Step<Vec<Claim>> {
    let mut claims = Vec::with_capacity(rows.len());
    for row in rows {
        claims.extend(hold_one(tx, *row, queue, session, cause, from)?);
    }
    Ok(claims)
}

/// The same for one, which is archived if nobody could settle it.
fn hold_one(
    tx: &mut Txn<'_>,
    row: i64,
    queue: i64,
    session: i64,
    cause: Cause,
    from: State,
) -> Step<Option<Claim>> {
    let claim = task::claim(tx, row, session, cause)?;
    let to = if claim.is_some() { State::Active } else { State::Archived };
    tx.tally(queue).moved(Some(from), Some(to));
    Ok(claim)
}
