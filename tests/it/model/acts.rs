//! What a person does to a task in the model.

use oncue::broker::*;
use oncue::clock::Timestamp;
use oncue::envelope::{Envelope, Stored};
use oncue::state::{Reason, State};
use oncue::task::TaskId;
use oncue::{Error, Result};

use super::book::{Book, Place};
use super::state_of;
use crate::fixture::payload_of;

use State::{Aggregating, Archived, Completed, Pending, Retry, Scheduled};

impl Book {
    pub fn act(&mut self, id: TaskId, act: Act) -> Acted {
        let Some(row) = self.tasks.get_mut(&id) else { return Acted::Missing };
        let state = state_of(&row.place);
        let from: &[State] = match act {
            Act::Run => &[Scheduled, Retry, Archived, Aggregating],
            Act::Archive | Act::Reschedule(_) => &[Scheduled, Pending, Retry, Aggregating],
            Act::Delete => &[Scheduled, Pending, Retry, Completed, Archived, Aggregating],
        };
        if !from.contains(&state) {
            return Acted::Not(state);
        }
        match act {
            Act::Run => match row.place {
                Place::Scheduled(due) | Place::Retry(due) => self.line_up(id, due),
                _ => self.line_up(id, self.now),
            },
            Act::Archive => row.place = Place::Archived(Reason::Operator, self.now),
            Act::Delete => self.delete(id),
            Act::Reschedule(due) => self.reschedule(id, self.time_of(due)),
        }
        Acted::Done
    }

    /// Due then; one that is pending or gathers, and stays so, keeps its place.
    pub fn reschedule(&mut self, id: TaskId, due: Timestamp) {
        let Some(row) = self.tasks.get_mut(&id) else { return };
        let stays = matches!(row.place, Place::Pending | Place::Aggregating(_));
        if due > self.now {
            row.place = Place::Scheduled(due);
        } else if !stays && row.gathers() {
            self.join(id);
        } else if !stays {
            self.line_up(id, due);
        }
    }

    /// Two records that say the same are the same here.
    pub fn replace(&mut self, seen: &Stored, envelope: &Envelope) -> Result<Acted> {
        let Some(row) = self.tasks.get_mut(&seen.id()) else { return Ok(Acted::Missing) };
        let state = state_of(&row.place);
        if ![Scheduled, Pending, Retry, Aggregating].contains(&state) {
            return Ok(Acted::Not(state));
        }
        let there = Stored::parse(seen.id(), row.record.clone())?;
        let same =
            there.header_bytes() == seen.header_bytes() && payload_of(&there) == payload_of(seen);
        if !same {
            return Ok(Acted::Changed);
        }
        row.record = envelope.record();
        Ok(Acted::Done)
    }
}

/// Whether one may be written in place of the other.
pub fn check_replace(seen: &Stored, envelope: &Envelope) -> Result<()> {
    let (old, new) = (seen.header()?, envelope.header());
    let same = seen.id() == envelope.id()
        && old.queue == new.queue
        && old.kind == new.kind
        && old.priority == new.priority
        && old.class == new.class
        && old.group == new.group;
    if same { Ok(()) } else { Err(Error::invalid("it would be another task")) }
}
