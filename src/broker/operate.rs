//! What people do to what a broker keeps: cancel a task, pause or limit a queue, tell a worker. Rare, and atomic
//! like the verbs; what only reads is in [`Inspect`].

use crate::queue::QueueName;
use crate::task::TaskId;

use super::{Inspect, Present, Reply, Signal, WorkerId};

/// Acts on what a broker keeps.
pub trait Operate: Inspect {
    /// Cancels a task. One that waits is archived at once. One that runs is marked: its worker is told with the
    /// next [`Orders`](super::Orders), and however its claim ends, it is not run again: all but a success, a drop
    /// and another archive become archived as cancelled.
    fn cancel(&self, queue: QueueName, id: TaskId) -> Reply<Cancelled>;

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

/// A setting of a queue. It stays until it is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Whether nothing is claimed from it.
    Paused(bool),
    /// How many tasks that have not ended it may hold; an enqueue beyond [`is_full`](crate::Error::is_full).
    /// None: as many as there is room for.
    Limit(Option<u64>),
}
