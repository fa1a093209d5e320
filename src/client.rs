//! The client: drafts in, sealed envelopes out to the broker.
//!
//! No actor and no thread of its own: it may be cloned, shared and called from anywhere. Concurrent enqueues
//! are gathered by whoever owns the pipe to the broker, so a client adds no lane and no timer.

mod handle;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

pub use handle::{Handle, ResultOf};

use crate::broker::{BATCH_BYTES_MAX, BATCH_TASKS_MAX, Batch, Enqueued, NewTask, Operate};
use crate::clock::Timestamp;
use crate::codec::Codec;
use crate::envelope::Header;
use crate::error::{Error, Result};
use crate::queue::{Kind, QueueName};
use crate::seal::{SealBatch, Sealer};
use crate::task::{Draft, Due, Options, RawTask, Task, TaskId};
use crate::worker;

/// Furthest a task can be put off, and the longest retention: ten years.
const AHEAD_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Enqueues tasks. Cheap to clone, `Send + Sync`, at home in `actix_web::web::Data`.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    broker: Arc<dyn Operate>,
    sealer: Sealer,
}

/// A task that is sealed and not yet stored.
struct Ready {
    id: TaskId,
    queue: QueueName,
    /// Whether the caller gave it a key of its own, so that it may be there already.
    keyed: bool,
    /// How many replicas must have it before its enqueue returns.
    replicas: u8,
    task: NewTask,
}

impl Client {
    /// A client of a broker, sealing with these keys.
    pub fn new(broker: Arc<dyn Operate>, sealer: Sealer) -> Self {
        Self(Arc::new(Inner { broker, sealer }))
    }

    /// The broker: for counts, lists and single tasks.
    pub fn broker(&self) -> &Arc<dyn Operate> {
        &self.0.broker
    }

    /// The keys.
    pub fn sealer(&self) -> &Sealer {
        &self.0.sealer
    }

    /// A worker to be, on the same broker and keys.
    pub fn worker(&self) -> worker::Builder {
        worker::Builder::new(self.0.broker.clone(), self.0.sealer.clone())
    }

    /// A handle to a task that was enqueued before, here or elsewhere.
    pub fn handle(&self, queue: &str, id: TaskId) -> Result<Handle> {
        Ok(Handle::new(self.clone(), QueueName::parse(queue)?, id, false))
    }

    /// Enqueues one task, plain or as a [`Draft`] with options. Ok means: stored, durably as the broker is.
    ///
    /// # Errors
    /// A bad name or time [`is_invalid`](Error::is_invalid), a payload over 256 KiB
    /// [`is_too_large`](Error::is_too_large), a broker that does not answer
    /// [`is_unreachable`](Error::is_unreachable), one without room [`is_full`](Error::is_full).
    pub async fn enqueue<T: Task>(&self, draft: impl Into<Draft<T>>) -> Result<Handle> {
        self.store_one(self.ready(&mut self.0.sealer.batch(1)?, draft.into())?).await
    }

    async fn store_one(&self, ready: Ready) -> Result<Handle> {
        let Ready { id, queue, keyed, replicas, task } = ready;
        let batch = Batch { replicas, ..Batch::new(queue.clone(), [task]) };
        let enqueued = self.store(batch).await?;
        // A fresh id can only be there already because this call stored it and its answer was lost.
        let created = !keyed || enqueued.first() == Some(&Enqueued::Created);
        Ok(Handle::new(self.clone(), queue, id, created))
    }

    /// Enqueues a task whose type is not known here: for tools. Otherwise as [`enqueue`](Self::enqueue).
    pub async fn enqueue_raw(&self, draft: impl Into<Draft<RawTask>>) -> Result<Handle> {
        let Draft { task: RawTask { kind, payload }, options } = draft.into();
        let mut seals = self.0.sealer.batch(1)?;
        let ready = self.seal(&mut seals, kind, &Defaults::RAW, &options, payload.as_bytes())?;
        self.store_one(ready).await
    }

    /// Enqueues many tasks in one round trip per queue, per queue all or nothing; handles in order. At most
    /// 1,000 tasks and 4 MiB of records per queue: larger lots in chunks.
    ///
    /// # Errors
    /// As [`enqueue`](Self::enqueue). Nothing is stored if a task does not seal or a limit is exceeded; when a
    /// broker fails between two queues, those before it are stored.
    pub async fn enqueue_all<T: Task, D: Into<Draft<T>>>(
        &self,
        drafts: impl IntoIterator<Item = D>,
    ) -> Result<Vec<Handle>> {
        let drafts: Vec<Draft<T>> = drafts.into_iter().map(Into::into).collect();
        let mut seals = self.0.sealer.batch(drafts.len())?;
        let mut handles = Vec::with_capacity(drafts.len());
        let mut queues: HashMap<QueueName, (Vec<usize>, Vec<NewTask>, u8)> = HashMap::new();
        for (position, draft) in drafts.into_iter().enumerate() {
            let Ready { id, queue, keyed, replicas, task } = self.ready(&mut seals, draft)?;
            let (positions, tasks, most) = queues.entry(queue.clone()).or_default();
            *most = replicas.max(*most);
            positions.push(position);
            tasks.push(task);
            handles.push(Handle::new(self.clone(), queue, id, !keyed));
        }
        for (queue, (_, tasks, _)) in &queues {
            let bytes: usize = tasks.iter().map(|task| task.envelope.record_len()).sum();
            if tasks.len() > BATCH_TASKS_MAX || bytes > BATCH_BYTES_MAX {
                return Err(Error::too_large(format!(
                    "{} tasks of {bytes} bytes for queue {queue}; a batch holds {BATCH_TASKS_MAX} tasks and \
                     {BATCH_BYTES_MAX} bytes: enqueue in chunks",
                    tasks.len()
                )));
            }
        }
        for (queue, (positions, tasks, replicas)) in queues {
            let batch = Batch { replicas, ..Batch::new(queue, tasks) };
            let replies = self.store(batch).await?;
            for (position, reply) in positions.into_iter().zip(replies) {
                handles[position].created |= reply == Enqueued::Created;
            }
        }
        Ok(handles)
    }

    /// Stores a batch. When the answer was lost it is asked once more under the same id, which cannot store
    /// it twice.
    async fn store(&self, batch: Batch) -> Result<Vec<Enqueued>> {
        match self.0.broker.enqueue(batch.clone()).await {
            Err(error) if error.is_unreachable() => self.0.broker.enqueue(batch).await,
            answer => answer,
        }
    }

    /// Seals a draft.
    fn ready<T: Task>(&self, seals: &mut SealBatch, draft: Draft<T>) -> Result<Ready> {
        let Draft { task, options } = draft;
        let body = T::CODEC.encode(&task)?;
        self.seal(seals, Kind::parse(T::KIND)?, &Defaults::of::<T>(), &options, &body)
    }

    fn seal(
        &self,
        seals: &mut SealBatch,
        kind: Kind,
        defaults: &Defaults,
        options: &Options,
        body: &[u8],
    ) -> Result<Ready> {
        let queue = QueueName::parse(options.queue.as_deref().unwrap_or(defaults.queue))?;
        let id = match &options.key {
            Some(key) => self.0.sealer.derive_id(&queue, &kind, key)?,
            None => TaskId::fresh(),
        };
        let header = header(kind, queue.clone(), defaults, options, self.0.broker.now())?;
        let envelope = seals.envelope(id, header, &options.headers, body)?;
        let keyed = options.key.is_some();
        let replicas = options.replicas;
        Ok(Ready {
            id,
            queue,
            keyed,
            replicas,
            task: NewTask { fresh: !keyed, ..NewTask::new(envelope, options.due) },
        })
    }
}

/// What the type of a task says where an enqueue says nothing.
struct Defaults {
    queue: &'static str,
    max_retry: u32,
    timeout: Duration,
    retention: Duration,
    codec: Codec,
    version: u16,
}

impl Defaults {
    const fn of<T: Task>() -> Self {
        Self {
            queue: T::QUEUE,
            max_retry: T::MAX_RETRY,
            timeout: T::TIMEOUT,
            retention: T::RETENTION,
            codec: T::CODEC,
            version: T::VERSION,
        }
    }

    /// Those of a type that says nothing but its kind.
    const RAW: Self = {
        #[derive(serde::Serialize, serde::Deserialize)]
        struct Silent;
        impl Task for Silent {
            const KIND: &'static str = "silent";
        }
        Self::of::<Silent>()
    };
}

/// The clear header of a draft.
fn header(
    kind: Kind,
    queue: QueueName,
    defaults: &Defaults,
    options: &Options,
    now: Timestamp,
) -> Result<Header> {
    let due = match options.due {
        Due::Now => now,
        Due::At(time) => time.max(now),
        Due::In(delay) => now.plus(delay),
    };
    let retention = options.retention.unwrap_or(defaults.retention);
    let timeout = options.timeout.unwrap_or(defaults.timeout);
    let expires = options.expires.map(|wait| due.plus(wait));
    let furthest = now.plus(AHEAD_MAX);
    let deadline = options.deadline.map(Timestamp::from);
    for (time, what) in [(Some(due), "due time"), (deadline, "deadline"), (expires, "expiry")] {
        if time.is_some_and(|time| time > furthest) {
            return Err(Error::invalid(format!("the {what} is more than ten years ahead")));
        }
    }
    if retention > AHEAD_MAX || timeout > AHEAD_MAX {
        return Err(Error::invalid("a timeout or retention of more than ten years"));
    }
    Ok(Header {
        codec: defaults.codec,
        schema: defaults.version,
        max_retry: options.max_retry.unwrap_or(defaults.max_retry),
        timeout,
        deadline,
        expires,
        retention,
        remember: options.key.is_some(),
        ..Header::new(kind, queue, now)
    })
}
