//! What a handler may know of the run it is in.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::clock::Timestamp;
use crate::queue::{Kind, QueueName};
use crate::task::TaskId;

use super::piece::Piece;
use super::{DataMap, Notes, Stop};

/// The run a handler is in: whose task, which attempt, and when to stop.
///
/// Cheap to clone. Named so that users of actix can import its `Context` beside it.
#[derive(Clone)]
pub struct TaskContext(Arc<Watched>);

/// A run, and whether a panic passed by it.
struct Watched {
    run: Run,
    panicked: AtomicBool,
}

impl Deref for Watched {
    type Target = Run;

    fn deref(&self) -> &Run {
        &self.run
    }
}

/// What the runtime knows of a run.
pub(crate) struct Run {
    pub(crate) id: TaskId,
    pub(crate) kind: Kind,
    pub(crate) queue: QueueName,
    pub(crate) attempt: u32,
    pub(crate) max_retry: u32,
    pub(crate) created: Timestamp,
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) stop: Arc<Stop>,
    pub(crate) data: Arc<DataMap>,
    pub(crate) notes: Notes,
    /// The piece of work it is part of, if it is.
    pub(crate) piece: Option<Arc<Piece>>,
}

impl TaskContext {
    pub(crate) fn new(run: Run) -> Self {
        Self(Arc::new(Watched { run, panicked: AtomicBool::new(false) }))
    }

    pub(crate) fn run(&self) -> &Run {
        &self.0
    }

    /// Whether what panicked held it, or a clone of it.
    pub(crate) fn has_panicked(&self) -> bool {
        self.0.panicked.load(Ordering::Acquire)
    }

    /// The task.
    pub fn id(&self) -> TaskId {
        self.0.id
    }

    /// Its kind.
    pub fn kind(&self) -> &Kind {
        &self.0.kind
    }

    /// The queue it came from.
    pub fn queue(&self) -> &QueueName {
        &self.0.queue
    }

    /// Which attempt this is: 1 for the first.
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// How many times a failed run is repeated.
    pub fn max_retry(&self) -> u32 {
        self.0.max_retry
    }

    /// When it was enqueued.
    pub fn created(&self) -> Timestamp {
        self.0.created
    }

    /// When the work is of no more use.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.0.deadline
    }

    /// The sealed header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.0.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The same for every run of this attempt, other for the next: a key for effects elsewhere.
    pub fn idempotency_key(&self) -> String {
        format!("{}:{}", self.0.id, self.0.attempt)
    }

    /// Ends when the run is to stop: its task was cancelled, a shutdown ran out of patience, the lease is lost, time
    /// is up.
    pub async fn cancelled(&self) {
        self.0.stop.asked().await;
    }

    /// Whether the run is to stop. Blocking handlers ask now and then.
    pub fn is_cancelled(&self) -> bool {
        self.0.stop.is_asked()
    }

    /// Whether the task belongs to somebody else by now: whatever this run does is not settled.
    pub fn lease_lost(&self) -> bool {
        self.0.stop.is_lost()
    }
}

/// A replica that runs several tasks at once dies as a whole: this tells over which.
impl Drop for TaskContext {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.panicked.store(true, Ordering::Release);
        }
    }
}

impl fmt::Debug for TaskContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskContext {{ {} {} attempt {} }}", self.0.kind, self.0.id, self.0.attempt)
    }
}
