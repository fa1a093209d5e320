//! What goes into a broker and what a claim brings back.
//!
//! A claim is held by a [`Session`], not by a worker's name: the session's id is unguessable, and holding
//! it is the proof that a settle is not late.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::envelope::{Envelope, Stored};
use crate::queue::{KindHash, QueueName};
use crate::task::{Due, Group, TaskId, Trail};

use super::{Lock, Tick, Ticket};

/// Tells a batch that is sent again from a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchId(pub [u8; 16]);

impl BatchId {
    /// A random id.
    pub fn fresh() -> Self {
        Self(Uuid::new_v4().into_bytes())
    }
}

/// Tasks for one queue, stored together or not at all.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The same when the batch is sent again.
    pub id: BatchId,
    /// The queue.
    pub queue: QueueName,
    /// At most [`BATCH_TASKS_MAX`](super::BATCH_TASKS_MAX) and [`BATCH_BYTES_MAX`](super::BATCH_BYTES_MAX).
    /// Shared, so that sending it again copies nothing.
    pub tasks: Arc<[NewTask]>,
    /// How many replicas must have it before it counts as stored; 0: the broker's own word is enough.
    pub replicas: u8,
    /// The tick it is enqueued for, if it is.
    pub tick: Option<Tick>,
}

impl Batch {
    /// A new batch, without conditions.
    pub fn new(queue: QueueName, tasks: impl Into<Arc<[NewTask]>>) -> Self {
        Self { id: BatchId::fresh(), queue, tasks: tasks.into(), replicas: 0, tick: None }
    }
}

/// A task to be stored.
#[derive(Clone, Debug)]
pub struct NewTask {
    /// Its sealed record.
    pub envelope: Envelope,
    /// When it becomes pending.
    pub due: Due,
    /// Whether its id was drawn at random for this very record, so that no other record can have it and
    /// whoever stores it need not look.
    pub fresh: bool,
    /// Whether it goes before all that waits in its line already, if it is due at once.
    pub front: bool,
    /// What it wants to be the only one of.
    pub lock: Option<Box<Lock>>,
    /// The group it joins whenever it would become pending; the one its header names.
    pub group: Option<Box<Group>>,
}

impl NewTask {
    /// A task that goes behind the others, wants to be the only one of nothing, and joins no group.
    pub fn new(envelope: Envelope, due: Due) -> Self {
        Self { envelope, due, fresh: false, front: false, lock: None, group: None }
    }
}

/// What became of one task of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enqueued {
    /// Stored.
    Created,
    /// A task with this id is there or is remembered; nothing was stored.
    Existing,
    /// This task holds its lock; nothing was stored.
    Held(TaskId),
    /// Stored in place of this task, which held its lock and is gone.
    Replaced(TaskId),
    /// This task holds its lock, and is due when the new one would have been; nothing was stored.
    Moved(TaskId),
    /// Its [`Tick`] was somebody else's; nothing was stored.
    Late,
}

/// The name of a session. Unguessable; `Debug` shows its first half only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub [u8; 16]);

impl SessionId {
    /// A random id, 122 bits of the system's randomness.
    pub fn fresh() -> Self {
        Self(Uuid::new_v4().into_bytes())
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One turn of one worker at one queue: a lease over all it claims, and the fence of its settles.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Session {
    /// The queue it claims from.
    pub queue: QueueName,
    /// Its name.
    pub id: SessionId,
}

impl Session {
    /// A new session at this queue; the broker learns of it by its first claim.
    pub fn fresh(queue: QueueName) -> Self {
        Self { queue, id: SessionId::fresh() }
    }
}

/// Which tasks a dequeue asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lane {
    /// Tasks that may run beside others.
    #[default]
    Shared,
    /// Tasks that must run alone, after they took workers down.
    Alone,
}

/// There is room: what a worker asks of a queue.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Who claims.
    pub session: Session,
    /// How long the session lives without a beat; written when the session is opened.
    pub lease: Duration,
    /// How many at most; up to [`CLAIMS_MAX`](super::CLAIMS_MAX). A closed group is claimed whole and counts as one;
    /// no more of them are claimed than there is room for [`CLAIMS_MAX`](super::CLAIMS_MAX) claims in all.
    pub max: usize,
    /// From which lane. Groups are claimed in [`Lane::Shared`].
    pub lane: Lane,
    /// The kinds it takes, and how many of each at most. All others are refused: set aside, so that
    /// nothing waits behind them.
    pub accept: Vec<(KindHash, usize)>,
}

/// Why a claim was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// To run it.
    Dequeued,
    /// Its session expired: a crash.
    Lost,
    /// Nobody took it for the whole grace.
    Refused,
}

/// A task in the hands of a session.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Its ticket, needed to settle it.
    pub ticket: Ticket,
    /// Why.
    pub cause: Cause,
    /// Its record, sealed.
    pub stored: Stored,
    /// What happened to it so far.
    pub trail: Trail,
    /// Which of the groups in this answer it was claimed with, by number; none: it was claimed by itself.
    pub group: Option<u32>,
}

impl Claim {
    /// The task.
    pub fn id(&self) -> TaskId {
        self.ticket.id
    }
}

/// What a Scheduler takes over.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// The sweep session, of the caller's own; it settles what was taken over, and is not opened for nothing.
    pub session: Session,
    /// How long the sweep session lives, if it is opened.
    pub lease: Duration,
    /// How many claims at most; up to [`SWEEP_MAX`](super::SWEEP_MAX).
    pub max: usize,
    /// After a gap this long in the ticks of all sweepers no session is killed until another gap's length
    /// has passed: an outage or a jump of the clock is not a death.
    pub gap: Duration,
    /// The kinds this worker knows.
    pub known: Vec<KindHash>,
    /// How long a task of any other kind may stay pending untaken.
    pub grace: Duration,
}
