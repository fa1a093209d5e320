//! Dequeue: claims what stands first in the lines asked for.

use super::fault::Step;
use super::line;
use super::session;
use super::task;
use super::txn::Txn;
use crate::broker::{Ask, CLAIMS_MAX, Cause, Claim};
use crate::error::{Error, Result};
use crate::state::State;

/// Checks what can be checked without the database.
pub(super) fn check(ask: &Ask) -> Result<()> {
    if ask.max > CLAIMS_MAX {
        return Err(Error::invalid(format!("{} claims; ask for at most {CLAIMS_MAX}", ask.max)));
    }
    Ok(())
}

/// Claims tasks. Outside a transaction it answers only if there is nothing to claim and to open.
pub(super) fn dequeue(tx: &mut Txn<'_>, ask: &Ask) -> Step<Option<Vec<Claim>>> {
    let Some(session) = session::enter(tx, &ask.session, ask.lease)? else { return Ok(None) };
    let queue = tx.queue_or_new(&ask.session.queue)?;
    if !tx.is_writing() {
        return Ok(line::is_empty(tx, queue, ask)?.then(Vec::new));
    }
    let rows = line::first(tx, queue, ask)?;
    hold(tx, &rows, queue, session, Cause::Dequeued)?.into_claims().map(Some)
}

/// What a session took into its hands.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) claims: Vec<Claim>,
    /// Why the last of those that stayed where they are cannot be read.
    pub(super) fault: Option<Error>,
}

impl Taken {
    /// What cannot be read is an error only if there is nothing else: it must not stop the others.
    pub(super) fn into_claims(self) -> Step<Vec<Claim>> {
        match self.fault {
            Some(error) if self.claims.is_empty() => Err(error.into()),
            _ => Ok(self.claims),
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.claims.extend(other.claims);
        self.fault = other.fault.or(self.fault.take());
    }
}

/// Puts tasks into the hands of a session.
pub(super) fn hold(
    tx: &mut Txn<'_>,
    rows: &[i64],
    queue: i64,
    session: i64,
    cause: Cause,
) -> Step<Taken> {
    // A lost claim is active already, in other hands.
    let from = if cause == Cause::Lost { State::Active } else { State::Pending };
    let mut taken = Taken::default();
    for row in rows {
        match task::claim(tx, *row, session, cause)? {
            Ok(claim) => {
                tx.tally(queue).moved(Some(from), Some(State::Active));
                taken.claims.push(claim);
            }
            Err(error) => taken.fault = Some(error),
        }
    }
    Ok(taken)
}
