//! What people do to what a broker keeps: cancel a task, pause or limit a queue, tell a worker. Rare, and atomic
//! like the verbs; what only reads is in [`Inspect`].

use crate::envelope::{Envelope, Stored};
use crate::queue::QueueName;
use crate::state::State;
use crate::task::{Due, TaskId};

use super::{Annotate, Inspect, Present, Reply, Signal, Timetable, WorkerId};

/// Acts on what a broker keeps.
pub trait Operate: Inspect + Annotate + Timetable {
    /// Cancels a task. One that waits is archived at once. One that runs is marked: its worker is told with the
    /// next [`Orders`](super::Orders), and however its claim ends, it is not run again: all but a success, a drop
    /// and another archive become archived as cancelled.
    fn cancel(&self, queue: QueueName, id: TaskId) -> Reply<Cancelled>;

    /// Does this to a task that is not active.
    fn act(&self, queue: QueueName, id: TaskId, act: Act) -> Reply<Acted>;

    /// Writes another record in place of one that still is as it was seen: the task stays the same, in its state and its
    /// place. Scheduled, pending and retry only. Kind, queue and priority stay; others [`is_invalid`](crate::Error::is_invalid).
    /// A record that is not the one seen any more is [`Acted::Changed`].
    fn replace(&self, seen: Stored, envelope: Envelope) -> Reply<Acted>;

    /// Changes one setting of a queue, which is made if it is not there.
    fn set(&self, queue: QueueName, setting: Setting) -> Reply<()>;

    /// Every worker that is there, the longest running first.
    fn workers(&self) -> Reply<Vec<Present>>;

    /// Tells a worker; false if it is not there. It hears of it with its next beat, which comes at once if it waits
    /// for [`Wake::Ordered`](super::Wake::Ordered).
    fn signal(&self, worker: WorkerId, signal: Signal) -> Reply<bool>;
}

/// What became of a wish to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It waited, and is archived.
    Archived,
    /// It runs, and will be told.
    Asked,
    /// It had ended before.
    Ended,
    /// There is no such task.
    Missing,
}

/// What a person does to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Pending at once in its lane, behind the others, from scheduled, retry and archived. Its trail stays, and a lock it
    /// has released is not taken again; nor does a wish to cancel it from before stand.
    Run,
    /// Archived as operator, from scheduled, pending and retry.
    Archive,
    /// Gone, from any state.
    Delete,
    /// Due then, from scheduled, pending and retry: scheduled, or pending if that is not after now.
    Reschedule(Due),
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acted {
    /// Done.
    Done,
    /// Not done: it is in this state, in which that cannot be done. One that is active can be cancelled.
    Not(State),
    /// Not done: it is not what was seen.
    Changed,
    /// There is no such task.
    Missing,
}

/// A setting of a queue. It stays until it is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Whether nothing is claimed from it.
    Paused(bool),
    /// How many tasks that have not ended it may hold; an enqueue beyond [`is_full`](crate::Error::is_full).
    /// None: as many as there is room for.
    Limit(Option<u64>),
}
