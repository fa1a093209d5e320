//! What a broker is told to write at the end of a run.
//!
//! An [`Order`] is an order, not a wish: the policy has spoken before. Results come sealed.

use std::time::Duration;

use crate::seal::Sealed;
use crate::state::{Reason, State};
use crate::task::Trail;

use super::{Lane, Ticket};

/// How one claim is settled.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// The claim's ticket.
    pub ticket: Ticket,
    /// What to write.
    pub order: Order,
    /// The trail from now on, if it changed.
    pub trail: Option<Trail>,
    /// What happens to other tasks in the same moment.
    pub effects: Vec<Effect>,
}

impl Settlement {
    /// A settlement that leaves the trail as it is.
    pub fn new(ticket: Ticket, order: Order) -> Self {
        Self { ticket, order, trail: None, effects: Vec::new() }
    }
}

/// Reserved: what settling one task does to others (workflows). There is none yet.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Effect {}

/// What to write.
#[derive(Clone, Debug)]
pub enum Order {
    /// Completed: kept this long with its result, gone at once if zero.
    Complete {
        /// How long.
        keep: Duration,
        /// The sealed result and the attempt it belongs to; not kept if the task is not.
        result: Option<(u32, Sealed)>,
    },
    /// Failed: pending again in its lane after this delay, behind the others.
    Retry {
        /// The delay, added to the broker's time.
        after: Duration,
        /// Whether it then goes before all that waits in its line.
        front: bool,
    },
    /// Scheduled anew, in its lane.
    Snooze {
        /// The delay, added to the broker's time.
        after: Duration,
    },
    /// Pending at once, before what never ran.
    Release {
        /// In which lane.
        lane: Lane,
    },
    /// Archived.
    Archive {
        /// Why.
        reason: Reason,
    },
    /// Gone.
    Drop,
}

impl Order {
    /// The state this order leads to; none if the task is gone.
    pub fn leads_to(&self) -> Option<State> {
        match self {
            Self::Complete { keep, .. } if keep.is_zero() => None,
            Self::Complete { .. } => Some(State::Completed),
            Self::Retry { .. } => Some(State::Retry),
            Self::Snooze { .. } => Some(State::Scheduled),
            Self::Release { .. } => Some(State::Pending),
            Self::Archive { .. } => Some(State::Archived),
            Self::Drop => None,
        }
    }
}

/// What became of one settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Written.
    Done,
    /// The session does not hold this claim: it was settled before, or handed back.
    Gone,
}
