//! What a worker, or the relay of an outbox, tells outside: facts, in the past tense, without a byte of any payload.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::outcome::Decision;
use crate::queue::{Kind, QueueName};
use crate::task::TaskId;

/// Is told every event.
pub(crate) type Listener = Arc<dyn Fn(&Event) + Send + Sync>;

/// Why nothing was enqueued for a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Skipped {
    /// Nobody was there in time, and the entry does not catch up with them: so many ticks, counted up to 1,000.
    Missed(usize),
    /// This task of an earlier tick has not ended.
    Running(TaskId),
    /// Its task is there, or was before the entry was made anew.
    Existing(TaskId),
}

/// A fact about a worker or one of its runs, or about the relay of an outbox.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A run began.
    Started {
        /// The task.
        id: TaskId,
        /// Its kind.
        kind: Kind,
        /// Which attempt: 1 for the first.
        attempt: u32,
    },
    /// A run ended and its settlement was written.
    Settled {
        /// The task.
        id: TaskId,
        /// Its kind.
        kind: Kind,
        /// What became of it.
        decision: Decision,
        /// The class of the failure, if it failed.
        class: Option<String>,
        /// How long it ran.
        ran: Duration,
    },
    /// A run ended after the lease was lost, or after it was given up: what it did is not settled.
    LeaseLost {
        /// The task.
        id: TaskId,
    },
    /// A claim was taken over from a worker that is gone, or that nobody took.
    Reclaimed {
        /// The task.
        id: TaskId,
        /// What became of it.
        decision: Decision,
    },
    /// An actor died and is started again.
    Restarted {
        /// Which.
        who: String,
        /// Why it died.
        why: String,
    },
    /// What runs a kind died too often: its tasks are left to other workers for a while.
    Quarantined {
        /// The kind.
        kind: Kind,
        /// For how long.
        probe_after: Duration,
        /// Why it died, the last time.
        why: String,
    },
    /// A quarantine is over: one task of the kind goes through.
    Probing {
        /// The kind.
        kind: Kind,
    },
    /// That task was answered: the kind is served again.
    Recovered {
        /// The kind.
        kind: Kind,
    },
    /// A kind is no longer served by this worker.
    Stopped {
        /// The kind.
        kind: Kind,
        /// Why.
        why: String,
    },
    /// A thread that runs handlers does not turn: something on it blocks or never yields. It is given up.
    Stuck {
        /// Which, counted from 0.
        thread: usize,
        /// For how long it has not answered.
        silent: Duration,
    },
    /// A thread that was stuck was replaced by a fresh one, and what was on it was settled.
    Replaced {
        /// Which, counted from 0.
        thread: usize,
        /// Runs that count as crashed.
        lost: usize,
        /// Tasks that had not begun and go back at no cost.
        released: usize,
        /// How many such threads are still taken by what blocks them.
        lingering: usize,
    },
    /// This process uses more memory than it may: the worker drains and ends with a failure.
    MemoryExceeded {
        /// How much it uses.
        bytes: u64,
        /// How much it may.
        most: u64,
    },
    /// A run on a thread of its own was told to stop and goes on: its thread and its slot stay taken.
    Lingering {
        /// The task.
        id: TaskId,
        /// Its kind.
        kind: Kind,
        /// How long ago it was told.
        silent: Duration,
    },
    /// This system cannot enforce some limits of a handler in a process of its own: it runs without them.
    LimitsLacking {
        /// Its kind.
        kind: Kind,
        /// What is lacking and why, in words.
        lacks: Vec<String>,
    },
    /// A task was enqueued for a tick of an entry.
    Ticked {
        /// The queue of the entry.
        queue: QueueName,
        /// The entry.
        entry: String,
        /// The tick: when it was due by the schedule.
        at: Timestamp,
        /// The task.
        id: TaskId,
    },
    /// Nothing was enqueued for ticks of an entry.
    TickSkipped {
        /// The queue of the entry.
        queue: QueueName,
        /// The entry.
        entry: String,
        /// The tick; where several were missed, the one up to which they were seen to.
        at: Timestamp,
        /// Why.
        why: Skipped,
    },
    /// An entry of the timetable cannot be used here: damaged, of a newer version, or sealed with a key this worker does not
    /// have. It does not tick; all others do. Told once for each version of it.
    EntryRefused {
        /// The queue of the entry.
        queue: QueueName,
        /// The entry.
        entry: String,
        /// Why.
        why: String,
    },
    /// The entry in the code of this worker took the place of another that stood under its name.
    EntryChanged {
        /// The queue of the entry.
        queue: QueueName,
        /// The entry.
        entry: String,
    },
    /// The broker failed a call; it is repeated.
    BrokerFailed {
        /// The verb.
        verb: &'static str,
        /// The error.
        error: String,
    },
    /// Rows of an outbox were handed over to the broker, and removed.
    HandedOver {
        /// How many.
        rows: usize,
    },
    /// A row of an outbox that no broker will ever take: damaged, of a newer version, or refused for what is in it. It stays
    /// where it is, and is passed over.
    ParcelRefused {
        /// Its number.
        row: i64,
        /// The task, if that can be read.
        id: Option<TaskId>,
        /// Why.
        why: String,
    },
    /// An outbox could not be read, or rows not be removed from it; it is tried again.
    OutboxFailed {
        /// The error.
        error: String,
    },
    /// The life of the worker went on: running, quiet, draining, stopped.
    LifeChanged {
        /// The queues it serves.
        queues: Vec<QueueName>,
        /// Where it is now.
        life: crate::worker::Life,
    },
}
