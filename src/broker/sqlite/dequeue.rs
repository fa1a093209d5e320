//! Dequeue: claims what stands first in the lines asked for.

use super::fault::Step;
use super::line;
use super::session;
use super::task;
use super::txn::Txn;
use crate::broker::{Ask, Cause, Claim};
use crate::state::State;

pub(super) const PAUSED: &str = "SELECT paused FROM oncue_queue WHERE row = ?1";

/// Claims tasks. Outside a transaction it answers only if there is nothing to claim and to open.
pub(super) fn dequeue(tx: &mut Txn<'_>, ask: &Ask) -> Step<Option<Vec<Claim>>> {
    let Some(session) = session::enter(tx, &ask.session, ask.lease)? else { return Ok(None) };
    let queue = tx.queue_or_new(&ask.session.queue)?;
    if tx.conn.prepare_cached(PAUSED)?.query_row([queue], |row| row.get(0))? {
        return Ok(Some(Vec::new()));
    }
    if !tx.is_writing() {
        return Ok(line::is_empty(tx, queue, ask)?.then(Vec::new));
    }
    let rows = line::first(tx, queue, ask)?;
    hold(tx, &rows, queue, session, Cause::Dequeued).map(Some)
}

/// Puts tasks into the hands of a session.
pub(super) fn hold(
    tx: &mut Txn<'_>,
    rows: &[i64],
    queue: i64,
    session: i64,
    cause: Cause,
) -> Step<Vec<Claim>> {
    // A lost claim is active already, in other hands.
    let from = if cause == Cause::Lost { State::Active } else { State::Pending };
    let mut claims = Vec::with_capacity(rows.len());
    for row in rows {
        let claim = task::claim(tx, *row, session, cause)?;
        let to = if claim.is_some() { State::Active } else { State::Archived };
        tx.tally(queue).moved(Some(from), Some(to));
        claims.extend(claim);
    }
    Ok(claims)
}
