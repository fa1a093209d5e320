//! The reading side of a broker: counts, lists, one task. Slow and paged where need be.
//!
//! What it shows is clear metadata; results and errors stay sealed until [`seal`](crate::seal) opens them.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::envelope::Stored;
use crate::queue::{Kind, KindHash, QueueName};
use crate::state::{Reason, State};
use crate::task::{TaskId, Trail};

use super::{Broker, LockName, Reply};

/// Most rows in one page.
pub const PAGE_ROWS_MAX: usize = 1_000;

/// Reads what a broker keeps.
pub trait Inspect: Broker {
    /// The names of all queues, sorted. Cheap: asked every second by those who serve queues by pattern.
    fn queues(&self) -> Reply<Vec<QueueName>>;

    /// The task that holds a lock under any of these names.
    fn holder(&self, queue: QueueName, names: Vec<LockName>) -> Reply<Option<TaskId>>;

    /// The groups of a queue that hold tasks, the oldest first; at most [`PAGE_ROWS_MAX`].
    fn groups(&self, queue: QueueName) -> Reply<Vec<Gathering>>;

    /// Every queue with its counts.
    fn stats(&self) -> Reply<Vec<QueueStats>>;

    /// One page of the tasks of a queue in a state, oldest first: by due time where the state has one, by when they
    /// joined their groups where they gather.
    fn list(&self, page: Page) -> Reply<Listing>;

    /// One task, if the queue has it.
    fn show(&self, queue: QueueName, id: TaskId) -> Reply<Option<TaskView>>;

    /// The same for whoever only waits for its end, and looks often: of a task that runs it may tell that it is
    /// pending, if that spares the broker the search.
    fn glance(&self, queue: QueueName, id: TaskId) -> Reply<Option<TaskView>> {
        self.show(queue, id)
    }

    /// Compares the check values of keys with those the broker has seen and remembers new ones; a
    /// differing one [`is_wrong_key`](crate::Error::is_wrong_key).
    fn check_keys(&self, checks: Vec<(u32, [u8; 8])>) -> Reply<()>;

    /// What the server behind it has spent so far; none if there is no one server, or it may not be asked.
    fn usage(&self) -> Reply<Option<Usage>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

/// What a broker's server has spent since it was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Processor time of the server, in us.
    pub cpu_us: u64,
    /// Memory of its data, in bytes.
    pub memory: u64,
    /// Commands this process sent it.
    pub requests: u64,
}

/// Counts of one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueStats {
    /// The queue.
    pub queue: QueueName,
    /// Tasks by state, in the order of [`State::ALL`].
    pub counts: [u64; 8],
    /// Runs that completed, ever.
    pub completed: u64,
    /// Runs that failed, ever.
    pub failed: u64,
    /// When the longest waiting pending task became pending.
    pub oldest: Option<Timestamp>,
    /// Whether nothing is claimed from it.
    pub paused: bool,
    /// How many tasks that have not ended it may hold, if there is a limit.
    pub limit: Option<u64>,
    /// How many bytes its records have, if they are counted: while it has a limit of bytes.
    pub bytes: Option<u64>,
    /// Tasks that went because too many were kept, or for too long; ever.
    pub trimmed: u64,
    /// What else was set.
    pub settings: Settings,
}

/// Settings of a queue beside its pause and its limit of tasks: see [`Setting`](super::Setting).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// Most bytes of all its records.
    pub bytes: Option<u64>,
    /// Most active tasks.
    pub concurrency: Option<u64>,
    /// Most active tasks of each of these kinds, sorted by kind.
    pub kinds: Vec<(Kind, u64)>,
    /// Most completed tasks.
    pub completed: Option<u64>,
    /// Most archived tasks.
    pub archived: Option<u64>,
    /// How long archived tasks are kept.
    pub archived_for: Option<Duration>,
}

/// A group that holds tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gathering {
    /// Its kind.
    pub kind: KindHash,
    /// Its name.
    pub name: String,
    /// How many tasks gather in it.
    pub tasks: u64,
    /// When the first of them joined it.
    pub since: Timestamp,
    /// When it closes by itself; none: it is closed.
    pub closes: Option<Timestamp>,
}

impl QueueStats {
    /// The counts of an empty queue.
    pub fn empty(queue: QueueName) -> Self {
        Self {
            queue,
            counts: [0; 8],
            completed: 0,
            failed: 0,
            oldest: None,
            paused: false,
            limit: None,
            bytes: None,
            trimmed: 0,
            settings: Settings::default(),
        }
    }

    /// How many tasks are in this state.
    pub fn count(&self, state: State) -> u64 {
        self.counts[usize::from(state.code())]
    }

    /// How many tasks there are.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// Which page of a list.
#[derive(Clone, Debug)]
pub struct Page {
    /// The queue.
    pub queue: QueueName,
    /// The state.
    pub state: State,
    /// Where the page before ended; none for the first.
    pub cursor: Option<String>,
    /// How many rows; up to [`PAGE_ROWS_MAX`].
    pub rows: usize,
}

/// One page.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The rows.
    pub tasks: Vec<TaskView>,
    /// Where the next page starts; none if this was the last.
    pub cursor: Option<String>,
}

/// A task as a reader sees it.
#[derive(Clone, Debug)]
pub struct TaskView {
    /// Where it is.
    pub state: State,
    /// When that state ends by itself: the due time, or the end of the retention.
    pub until: Option<Timestamp>,
    /// Why it is archived.
    pub reason: Option<Reason>,
    /// Its record, sealed.
    pub stored: Stored,
    /// What happened to it.
    pub trail: Trail,
    /// Its result, sealed.
    pub result: Option<Kept>,
}

/// A sealed result as it comes back.
#[derive(Clone, PartialEq, Eq)]
pub struct Kept {
    /// The attempt it belongs to.
    pub attempt: u32,
    /// The sealed bytes.
    pub sealed: Vec<u8>,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kept {{ attempt: {}, bytes: {} }}", self.attempt, self.sealed.len())
    }
}
