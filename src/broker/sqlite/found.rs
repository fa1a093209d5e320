//! A task that no session holds, and how it is moved: made pending, put off, archived, deleted.

use rusqlite::{OptionalExtension, Row, params};

use super::fault::Step;
use super::group;
use super::lock::{self, Event};
use super::place::Place;
use super::task::{self, CANCELLED, FRONT, Going, go, ms};
use super::txn::Txn;
use crate::broker::Wake;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::state::{Reason, State};
use crate::task::TaskId;

pub(super) const BY_ID: &str =
    "SELECT row, id, state, place, marks FROM oncue_task WHERE queue = ?1 AND id = ?2";
pub(super) const BY_ROW: &str =
    "SELECT row, id, state, place, marks FROM oncue_task NOT INDEXED WHERE row = ?1";
pub(super) const READY: &str =
    "UPDATE oncue_task SET state = 1, at = NULL, reason = NULL, since = ?2, place = ?3, marks = ?4
    WHERE row = ?1";
pub(super) const PUT_OFF: &str = "UPDATE oncue_task SET state = 0, at = ?2 WHERE row = ?1";
pub(super) const ARCHIVE: &str = "UPDATE oncue_task SET state = 5, at = ?2, reason = ?3,
    session = NULL, marks = ?4 WHERE row = ?1";

/// Where a task is.
pub(super) struct Found {
    pub(super) row: i64,
    pub(super) queue: i64,
    pub(super) id: TaskId,
    pub(super) state: State,
    pub(super) place: Place,
    pub(super) marks: i64,
}

impl Found {
    /// The task of this id.
    pub(super) fn by_id(tx: &Txn<'_>, queue: i64, id: TaskId) -> Step<Option<Self>> {
        let mut query = tx.conn.prepare_cached(BY_ID)?;
        let read = |row: &Row<'_>| Self::read(row, queue);
        query.query_row(params![queue, id.as_bytes()], read).optional()?.transpose()
    }

    /// The task of this row.
    pub(super) fn by_row(tx: &Txn<'_>, queue: i64, row: i64) -> Step<Option<Self>> {
        let mut query = tx.conn.prepare_cached(BY_ROW)?;
        query.query_row([row], |row| Self::read(row, queue)).optional()?.transpose()
    }

    fn read(row: &Row<'_>, queue: i64) -> rusqlite::Result<Step<Self>> {
        let (id, state) = (task::id(row, 1)?, row.get::<_, i64>(2)?);
        let Some(state) = u8::try_from(state).ok().and_then(State::from_code) else {
            return Ok(Err(Error::corrupt(format!("task {id} is in no state")).into()));
        };
        let (row, place, marks) = (row.get(0)?, Place(row.get(3)?), row.get(4)?);
        Ok(Ok(Self { row, queue, id, state, place, marks }))
    }

    /// Whether it is still to run.
    pub(super) fn is_waiting(&self) -> bool {
        use State::{Aggregating, Pending, Retry, Scheduled};
        matches!(self.state, Scheduled | Pending | Retry | Aggregating)
    }

    /// Out of its gathering, if it is in one.
    fn leave_group(&self, tx: &Txn<'_>) -> Step<()> {
        if self.state == State::Aggregating { group::leave(tx, self.row) } else { Ok(()) }
    }

    /// Pending at once, by itself: before the others of its line if it was to go there, else behind them.
    pub(super) fn make_ready(self, tx: &mut Txn<'_>) -> Step<()> {
        self.leave_group(tx)?;
        let place = self.place.due(self.marks & FRONT != 0, tx.next()?);
        let marks = self.marks & !FRONT;
        tx.conn.prepare_cached(READY)?.execute([self.row, ms(tx.now()), place.0, marks])?;
        tx.tally(self.queue).moved(Some(self.state), Some(State::Pending));
        tx.wake(Wake::Ready);
        Ok(())
    }

    /// Due then. What is pending and stays so keeps its place, and so does what gathers.
    pub(super) fn reschedule(self, tx: &mut Txn<'_>, due: Timestamp) -> Step<()> {
        if due > tx.now() {
            self.leave_group(tx)?;
            tx.conn.prepare_cached(PUT_OFF)?.execute([self.row, ms(due)])?;
            tx.tally(self.queue).moved(Some(self.state), Some(State::Scheduled));
            tx.wake(Wake::Due);
        } else if !matches!(self.state, State::Pending | State::Aggregating)
            && !group::join_unless_alone(tx, self.queue, self.row, self.marks, self.state)?
        {
            self.make_ready(tx)?;
        }
        Ok(())
    }

    /// Archived. One that is cancelled may come from a session's hands.
    pub(super) fn archive(self, tx: &mut Txn<'_>, reason: Reason) -> Step<()> {
        self.leave_group(tx)?;
        let marks = lock::release(tx, self.row, self.marks, Event::Ended)? & !(CANCELLED | FRONT);
        let mut archive = tx.conn.prepare_cached(ARCHIVE)?;
        archive.execute(params![self.row, ms(tx.now()), reason.code(), marks])?;
        tx.tally(self.queue).moved(Some(self.state), Some(State::Archived));
        tx.wake(Wake::Settled);
        Ok(())
    }

    /// Gone, with its lock.
    pub(super) fn delete(self, tx: &mut Txn<'_>) -> Step<()> {
        let Self { row, queue, id, state, marks, .. } = self;
        let marks = lock::release(tx, row, marks, Event::Removed)?;
        tx.wake(Wake::Settled);
        go(tx, &Going { row, queue, id, marks, from: state, ended: tx.now() })
    }
}
