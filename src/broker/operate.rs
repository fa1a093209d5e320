//! What people do to what a broker keeps: cancel a task, pause or limit a queue, tell a worker. Rare, and atomic
//! like the verbs; what only reads is in [`Inspect`].

use std::time::Duration;

use crate::envelope::{Envelope, Stored};
use crate::queue::{Kind, QueueName};
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
    /// place. Scheduled, pending, retry and aggregating only. Kind, queue, priority and group stay; others [`is_invalid`](crate::Error::is_invalid).
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
    /// Pending at once in its lane, behind the others, from scheduled, retry, archived and aggregating; by itself, if it
    /// is of a group. Whether a retry that was to go before the others still does is left open. Its trail stays, and a
    /// lock it has released is not taken again; nor does a wish to cancel it from before stand.
    Run,
    /// Archived as operator, from scheduled, pending, retry and aggregating.
    Archive,
    /// Gone, from any state.
    Delete,
    /// Due then, from scheduled, pending, retry and aggregating: scheduled; if that is not after now, pending, or
    /// aggregating in its group.
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Whether nothing is claimed from it.
    Paused(bool),
    /// How many tasks that have not ended it may hold; an enqueue beyond [`is_full`](crate::Error::is_full).
    /// None: as many as there is room for.
    Limit(Option<u64>),
    /// How many bytes the records of all its tasks may have, whatever their states; an enqueue beyond
    /// [`is_full`](crate::Error::is_full). None: as many as there is room for, and they are not counted. They are
    /// counted anew when it is set, which takes time in proportion to the tasks.
    Bytes(Option<u64>),
    /// How many of its tasks may be active at once, whoever claims them. None: as many as workers have room for.
    Concurrency(Option<u64>),
    /// The same for tasks of one kind; at most [`KIND_LIMITS_MAX`] kinds of a queue have a limit.
    KindConcurrency(Kind, Option<u64>),
    /// How many completed tasks are kept at most, beside each one's own retention: those that would go first go.
    KeepCompleted(Option<u64>),
    /// How many archived tasks are kept at most, and for how long; the oldest go. None: for ever.
    KeepArchived(Option<u64>, Option<Duration>),
}

/// Most kinds of one queue that have a limit of their own.
pub const KIND_LIMITS_MAX: usize = 1_000;
