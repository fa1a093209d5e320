//! Retire: closes a session to claims and hands back what the worker does not know of.

use std::collections::HashSet;

use rusqlite::params;

use super::fault::Step;
use super::found::Found;
use super::group;
use super::place::Place;
use super::session::{self, Known, Status};
use super::task;
use super::txn::{Txn, mutant};
use crate::broker::{SESSION_MEMORY, Session, Wake};
use crate::state::{Reason, State};
use crate::task::TaskId;

pub(super) const HELD: &str =
    "SELECT row, id, marks, place FROM oncue_task INDEXED BY oncue_task_held WHERE session = ?1";
pub(super) const BACK: &str = "UPDATE oncue_task SET state = ?2, session = NULL WHERE row = ?1";

/// Retires a session. One that is not known is remembered: its claim may still be on its way.
pub(super) fn retire(
    tx: &mut Txn<'_>,
    session: &Session,
    known: &HashSet<TaskId>,
) -> Step<Option<usize>> {
    let found = match session::find(tx, session)? {
        Some(found) => found,
        None => {
            let until = tx.now().plus(SESSION_MEMORY);
            session::insert(tx, session, Status::Retired, until)?;
            return Ok(Some(0));
        }
    };
    if !matches!(found.status, Status::Open | Status::Retired) {
        return Ok(Some(0));
    }
    found.retire(tx)?;
    hand_back(tx, &found, known).map(Some)
}

/// Claims go back to where they stood, as if never claimed.
fn hand_back(tx: &mut Txn<'_>, session: &Known, known: &HashSet<TaskId>) -> Step<usize> {
    let mut held = tx.conn.prepare_cached(HELD)?;
    let held: Vec<Found> = held
        .query_map([session.row], |row| {
            let (id, marks, place) = (task::id(row, 1)?, row.get(2)?, Place(row.get(3)?));
            let (row, queue, state) = (row.get(0)?, session.queue, State::Active);
            Ok(Found { row, queue, id, state, place, marks })
        })?
        .collect::<Result<_, _>>()?;
    let mut back = tx.conn.prepare_cached(BACK)?;
    let mut count = 0;
    for found in held {
        let keep = known.contains(&found.id) && !mutant!(tx, RetireKnown);
        if keep || mutant!(tx, RetireNothing) {
            continue;
        }
        count += 1;
        if found.marks & task::CANCELLED != 0 {
            found.archive(tx, Reason::Cancelled)?;
            continue;
        }
        if group::join_unless_alone(tx, session.queue, found.row, found.marks, State::Active)? {
            continue;
        }
        back.execute(params![found.row, State::Pending.code()])?;
        tx.tally(session.queue).moved(Some(State::Active), Some(State::Pending));
    }
    if count > 0 {
        tx.wake(Wake::Ready);
    }
    Ok(count)
}
