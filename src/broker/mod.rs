//! The contract between the runtime and whatever keeps the tasks.
//!
//! [`Broker`] is the hot path: eight verbs, each atomic, each safe to send twice. It moves tasks and
//! decides nothing: no backoff, no archive, no policy. It never sees an opened payload (I1). The
//! reading side, which may be slow and paged, is [`Inspect`]; what people do is [`Operate`]; what runs leave beside
//! their tasks is [`Annotate`]; what is enqueued again and again is the [`Timetable`].
//!
//! What every implementation keeps, and the conformance suite checks:
//!
//! - **Check, then mutate** (I5): a refused call changes nothing.
//! - **A session is the lease and the fence** (I3): it lives at one queue, expires as a whole, and is
//!   never opened twice. Once it is killed or retired it cannot claim again; once killed it cannot settle.
//! - **An ambiguous reply costs nothing**: `enqueue` is repeated under the same batch id, `settle` as it
//!   was; after a `dequeue` whose reply was lost the session is retired and a new one is used.
//! - **Order**: within one kind by priority, then first due first served; what is released goes before
//!   what never ran. Nothing accepted waits behind anything that is not.
//! - **Groups**: a task of a group is never pending where it is not asked to be by a person, or must run alone: it joins
//!   its group instead, whatever brought it back, as one that comes anew. Closed groups are claimed whole, before what is
//!   pending of their kind, the one closed first goes first; each of their tasks is a claim of its own from then on.
//! - **Time** is the broker's own; delays are added to it (D1: never early).
//!
//! Calls may run concurrently; a broker that coalesces them does so without timers.

#[cfg(any(feature = "sqlite", feature = "redis"))]
mod check;
mod claim;
mod inspect;
#[cfg(any(feature = "sqlite", feature = "redis"))]
mod lives;
mod lock;
#[cfg(any(feature = "sqlite", feature = "redis"))]
mod marks;
#[cfg(feature = "failpoints")]
mod mutant;
mod note;
mod operate;
mod presence;
#[cfg(feature = "redis")]
pub mod redis;
mod settlement;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod ticket;
mod timetable;

use std::time::Duration;

use futures::future::BoxFuture;

pub use claim::{
    Ask, Batch, BatchId, Cause, Claim, Enqueued, Lane, NewTask, Session, SessionId, Sweep,
};
pub use inspect::{
    Gathering, Inspect, Kept, Listing, PAGE_ROWS_MAX, Page, QueueStats, Settings, TaskView, Usage,
};
pub use lock::{Conflict, Hold, LOCK_NAMES_MAX, Lock, LockName};
#[cfg(feature = "failpoints")]
pub use mutant::Mutant;
pub use note::{Annotate, NOTE_BYTES_MAX, Note, Slot};
pub use operate::{Act, Acted, Cancelled, KIND_LIMITS_MAX, Operate, Setting};
pub use presence::{
    ABOUT_BYTES_MAX, About, Orders, Presence, Present, RESTARTS_MAX, Signal, WorkerId,
};
pub use settlement::{Effect, Order, Settled, Settlement};
pub use ticket::Ticket;
#[cfg(any(feature = "sqlite", feature = "redis", feature = "cron"))]
pub(crate) use timetable::check_name;
pub use timetable::{
    ENTRIES_MAX, ENTRY_BYTES_MAX, ENTRY_NAME_BYTES_MAX, Entry, TICKS_KEPT, Tick, Timetable,
};

use crate::clock::Timestamp;
use crate::error::Result;
use crate::queue::QueueName;
use crate::task::TaskId;

/// Most tasks in one batch.
pub const BATCH_TASKS_MAX: usize = 1_000;
/// Most bytes of records in one batch: 4 MiB.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most claims in one dequeue, and most settlements in one settle.
pub const CLAIMS_MAX: usize = 1_000;
/// Most claims taken over by one reclaim.
pub const SWEEP_MAX: usize = 500;
/// How long a batch id is remembered.
pub const BATCH_MEMORY: Duration = Duration::from_secs(3_600);
/// How long the id of a task with a key of its own is remembered after its end, if it is not kept longer.
pub const KEY_MEMORY: Duration = Duration::from_secs(24 * 3_600);
/// How long a session that was closed or killed is remembered, so that a late call cannot open it anew.
pub const SESSION_MEMORY: Duration = Duration::from_secs(3_600);

/// What a verb answers, in its own time, on any runtime.
pub type Reply<T> = BoxFuture<'static, Result<T>>;

/// Keeps tasks: the eight verbs.
pub trait Broker: Send + Sync + 'static {
    /// The broker's time, as well as it is known here.
    fn now(&self) -> Timestamp;

    /// Stores a batch, all of it or nothing, and answers per task in order: created, or existing (I2).
    /// A batch id seen within [`BATCH_MEMORY`] answers existing throughout and stores nothing.
    fn enqueue(&self, batch: Batch) -> Reply<Vec<Enqueued>>;

    /// Claims up to `ask.max` pending tasks for a session, opening the session if it is new.
    /// A session that is retired or dead [`is_fenced`](crate::Error::is_fenced).
    fn dequeue(&self, ask: Ask) -> Reply<Vec<Claim>>;

    /// Writes how claims ended, each on its own, and answers per settlement in order. A claim the
    /// session does not hold is [`Settled::Gone`]; a dead session [`is_fenced`](crate::Error::is_fenced).
    /// Tickets come back as they were given. Whether one of an earlier claim of the same session settles a later
    /// claim of the same task is left open.
    fn settle(&self, session: Session, settlements: Vec<Settlement>) -> Reply<Vec<Settled>>;

    /// Closes a session to claims and hands back, at no cost, every claim of it that is not `known`;
    /// answers how many. The session still settles what is known. Retiring twice is harmless.
    fn retire(&self, session: Session, known: Vec<TaskId>) -> Reply<usize>;

    /// Moves what is due: scheduled and retry to pending, or into their groups; completed past its retention to gone, and
    /// what a queue is not to keep; at most `limit` tasks. Closes groups whose time has come, at most `limit`.
    fn advance(&self, queue: QueueName, limit: usize) -> Reply<Advanced>;

    /// Kills expired sessions and takes over up to [`SWEEP_MAX`] of their claims, and of the pending
    /// tasks and closed groups nobody took for the whole grace, into a sweep session of the caller's, to be settled there.
    /// A session that may not claim [`is_fenced`](crate::Error::is_fenced); a new one is opened only if
    /// something is taken over.
    fn reclaim(&self, sweep: Sweep) -> Reply<Vec<Claim>>;

    /// Extends the lease of every session named and answers which of them are gone, and what the worker is told to
    /// do. Never waits behind other verbs of the same process.
    fn beat(&self, beat: Beat) -> Reply<Beaten>;

    /// Waits until something of this sort happened since `seen`, and answers the new mark. Without
    /// `seen`: the present mark, at once. May wake for nothing; may miss nothing.
    fn wait(&self, wake: Wake, seen: Option<u64>) -> Reply<u64>;
}

/// What `advance` did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Advanced {
    /// Tasks that became pending, or joined their groups.
    pub moved: usize,
    /// Tasks whose retention was over, or that were too many to keep.
    pub expired: usize,
    /// When the next task is due or the next group closes, if any does.
    pub next: Option<Timestamp>,
    /// Whether the limit was reached and more is due now.
    pub more: bool,
}

/// A sign of life of one worker.
#[derive(Clone, Debug)]
pub struct Beat {
    /// The sessions whose leases it extends.
    pub sessions: Vec<Session>,
    /// To how far ahead of the broker's time.
    pub lease: Duration,
    /// The worker itself, if operators are to see and reach it.
    pub presence: Option<Presence>,
}

/// What comes back from a beat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Beaten {
    /// Sessions that are gone: their claims belong to somebody else.
    pub lost: Vec<SessionId>,
    /// Sessions of which the broker could not say anything this time: not extended, not lost.
    pub unsure: Vec<SessionId>,
    /// What the worker is told to do.
    pub orders: Orders,
}

/// What one can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wake {
    /// A task may have become pending.
    Ready,
    /// A task may be due earlier than was known.
    Due,
    /// A task may have ended.
    Settled,
    /// Workers may have been told something.
    Ordered,
    /// A run may have left a note.
    Noted,
}

impl Advanced {
    /// The answer of a broker.
    pub fn new(moved: usize, expired: usize, next: Option<Timestamp>, more: bool) -> Self {
        Self { moved, expired, next, more }
    }
}

impl Beaten {
    /// The answer of a broker that gives no orders.
    pub fn lost(lost: Vec<SessionId>) -> Self {
        Self { lost, ..Self::default() }
    }
}
