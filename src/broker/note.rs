//! Notes: what a run leaves beside its task while it has it, and what the next run finds. Sealed; a few slots a task.
//!
//! A note is no result and decides nothing. It goes when its task goes.

use crate::queue::QueueName;
use crate::seal::{Purpose, Sealed};
use crate::task::TaskId;

use super::{Broker, Kept, Reply, Session, Settled, Ticket};

/// Most bytes of one sealed note: 64 KiB.
pub const NOTE_BYTES_MAX: usize = 64 * 1024;

/// Where a note stands. One that is written again replaces what stood there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// How far the run is.
    Progress,
    /// What the runs said.
    Log,
    /// Which effects are done, and what came of them.
    Effects,
}

impl Slot {
    /// Every slot, in stored order.
    pub const ALL: [Self; 3] = [Self::Progress, Self::Log, Self::Effects];

    /// The number this slot is stored as. Golden: never changes.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// What its notes are sealed as.
    pub const fn purpose(self) -> Purpose {
        match self {
            Self::Progress => Purpose::Progress,
            Self::Log => Purpose::Log,
            Self::Effects => Purpose::Effects,
        }
    }

    /// The slot stored as `code`.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

/// A note to be written.
#[derive(Clone, Debug)]
pub struct Note {
    /// The claim's ticket.
    pub ticket: Ticket,
    /// Where.
    pub slot: Slot,
    /// The attempt it was sealed for.
    pub attempt: u32,
    /// What.
    pub sealed: Sealed,
}

/// Keeps notes.
pub trait Annotate: Broker {
    /// Writes notes of claims, each on its own, and answers per note in order, as a settle does: a claim the session
    /// does not hold is [`Settled::Gone`] and nothing is written; a dead session
    /// [`is_fenced`](crate::Error::is_fenced). Those who wait for [`Wake::Noted`](super::Wake::Noted) are woken.
    fn note(&self, session: Session, notes: Vec<Note>) -> Reply<Vec<Settled>>;

    /// The notes of a task, in the order of their slots; none if there is no such task.
    fn notes(&self, queue: QueueName, id: TaskId) -> Reply<Vec<(Slot, Kept)>>;
}
