//! An entry as it was read from the broker: readable without a key, and maybe damaged.

use crate::broker;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::queue::QueueName;
use crate::task::TaskId;

use super::Plan;

/// An entry of the timetable as it stands in the broker.
#[derive(Debug)]
#[non_exhaustive]
pub struct Listed {
    /// The queue its tasks go to.
    pub queue: QueueName,
    /// Its name.
    pub name: String,
    /// Grows with every change.
    pub version: u64,
    /// The last tick, enqueued or passed over; at first when it was made.
    pub last: Timestamp,
    /// The latest ticks with the task of each, the oldest first; at most [`TICKS_KEPT`](broker::TICKS_KEPT).
    pub ticks: Vec<(Timestamp, TaskId)>,
    plan: Result<Plan>,
}

impl Listed {
    pub(crate) fn new(entry: broker::Entry) -> Self {
        let broker::Entry { queue, name, body, version, last, ticks } = entry;
        Self { queue, name, version, last, ticks, plan: Plan::decode(&body) }
    }

    /// What it says; or why that cannot be read, in which case it does not tick. Whether its template opens is not
    /// known.
    pub fn plan(&self) -> Result<&Plan, &Error> {
        self.plan.as_ref()
    }

    /// The next tick; none if it is paused, damaged, or has no further one. It is over if no Scheduler has seen to it yet.
    pub fn next(&self) -> Option<Timestamp> {
        self.plan.as_ref().ok()?.next(self.last)
    }
}
