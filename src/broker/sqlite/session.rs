//! Sessions: opened by a first claim, closed by retire, killed by reclaim, extended by a beat.
//!
//! A session is never opened twice: what is closed stays in the table as long as a late call may come.

use rusqlite::{OptionalExtension, params};

use super::fault::Step;
use super::task::{ms, time};
use super::txn::{Txn, mutant};
use crate::broker::{Beat, Session, SessionId};
use crate::clock::Timestamp;
use crate::error::Error;

pub(super) const FIND: &str = "SELECT row, status, expires, queue FROM oncue_session WHERE id = ?1";
const NEW: &str = "INSERT INTO oncue_session (id, queue, status, expires) VALUES (?1, ?2, ?3, ?4)";
const SET: &str = "UPDATE oncue_session SET status = ?2, expires = ?3 WHERE row = ?1";

/// How it is with a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// It claims and settles.
    Open = 0,
    /// It settles.
    Retired = 1,
    /// It does neither, and may hold claims that reclaim has yet to take over.
    Dead = 2,
    /// It holds nothing any more.
    Buried = 3,
}

impl Status {
    fn is_dead(self) -> bool {
        matches!(self, Self::Dead | Self::Buried)
    }
}

/// A session that is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) row: i64,
    pub(super) queue: i64,
    pub(super) status: Status,
    expires: Timestamp,
}

/// Finds a session. At another queue than its own it is refused.
pub(super) fn find(tx: &mut Txn<'_>, session: &Session) -> Step<Option<Known>> {
    let here = tx.queue(&session.queue)?;
    let mut query = tx.conn.prepare_cached(FIND)?;
    let found = query
        .query_row([session.id.0], |row| {
            let status = match row.get::<_, i64>(1)? {
                0 => Status::Open,
                1 => Status::Retired,
                2 => Status::Dead,
                _ => Status::Buried,
            };
            let (row, expires, queue) = (row.get(0)?, time(row.get(2)?), row.get(3)?);
            Ok(Known { row, queue, status, expires })
        })
        .optional()?;
    match found {
        Some(known) if here != Some(known.queue) => {
            Err(Error::fenced("this session lives at another queue").into())
        }
        found => Ok(found),
    }
}

/// The row of a session that may claim; none if it is not known yet.
pub(super) fn claimer(tx: &mut Txn<'_>, session: &Session) -> Step<Option<i64>> {
    let reopen = mutant!(tx, ReopenRetired);
    match find(tx, session)? {
        Some(Known { status, .. }) if status.is_dead() => {
            Err(Error::fenced("this session is dead; claim under a new one").into())
        }
        Some(Known { status: Status::Retired, .. }) if !reopen => {
            Err(Error::fenced("this session is retired; claim under a new one").into())
        }
        // Not killed yet, but it will be: what it claimed now would be taken away at once.
        Some(known) if known.expires <= tx.now() => {
            Err(Error::fenced("the lease of this session ran out; claim under a new one").into())
        }
        known => Ok(known.map(|known| known.row)),
    }
}

/// The same; one that is not known is opened, or none outside a transaction.
pub(super) fn enter(
    tx: &mut Txn<'_>,
    session: &Session,
    lease: std::time::Duration,
) -> Step<Option<i64>> {
    match claimer(tx, session)? {
        None if tx.is_writing() => {
            let expires = tx.now().plus(lease);
            insert(tx, session, Status::Open, expires).map(Some)
        }
        known => Ok(known),
    }
}

/// The row of a session that may settle. One that expired may, until it is killed: its claims are its own.
pub(super) fn settler(tx: &mut Txn<'_>, session: &Session) -> Step<Known> {
    match find(tx, session)? {
        Some(known) if !known.status.is_dead() || mutant!(tx, SettleDead) => Ok(known),
        Some(_) => Err(Error::fenced("this session is dead; its claims belong to others").into()),
        None => Err(Error::fenced("this session is not known").into()),
    }
}

/// Adds a session.
pub(super) fn insert(
    tx: &mut Txn<'_>,
    session: &Session,
    status: Status,
    expires: Timestamp,
) -> Step<i64> {
    let queue = tx.queue_or_new(&session.queue)?;
    let mut new = tx.conn.prepare_cached(NEW)?;
    new.execute(params![session.id.0, queue, status as i64, ms(expires)])?;
    Ok(tx.conn.last_insert_rowid())
}

/// Changes a session.
pub(super) fn set(tx: &Txn<'_>, row: i64, status: Status, expires: Timestamp) -> Step<()> {
    tx.conn.prepare_cached(SET)?.execute([row, status as i64, ms(expires)])?;
    Ok(())
}

impl Known {
    /// Closes it to claims; it lives and dies with its lease as before.
    pub(super) fn retire(&self, tx: &Txn<'_>) -> Step<()> {
        if self.status == Status::Open {
            set(tx, self.row, Status::Retired, self.expires)?;
        }
        Ok(())
    }
}

/// A sign of life. It may bring back what expired, as long as nobody killed it. Answers which are gone, and
/// the rows of the others.
pub(super) fn beat(tx: &mut Txn<'_>, beat: &Beat) -> Step<(Vec<SessionId>, Vec<i64>)> {
    let expires = tx.now().plus(beat.lease);
    let (mut lost, mut alive) = (Vec::new(), Vec::new());
    for session in &beat.sessions {
        let known = match find(tx, session) {
            Err(super::fault::Halt::Refused(_)) => None,
            known => known?,
        };
        match known {
            Some(known) if !known.status.is_dead() => {
                set(tx, known.row, known.status, expires)?;
                alive.push(known.row);
            }
            Some(known) if mutant!(tx, BeatRevives) => set(tx, known.row, Status::Open, expires)?,
            _ => lost.push(session.id),
        }
    }
    Ok((lost, alive))
}
