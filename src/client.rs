//! The client: drafts in, sealed envelopes out to the broker.
//!
//! No actor and no thread of its own: it may be cloned, shared and called from anywhere. Concurrent enqueues
//! are gathered by whoever owns the pipe to the broker, so a client adds no lane and no timer.

#[cfg(feature = "cron")]
mod cron;
mod edit;
mod hand_over;
mod handle;
mod middleware;
mod notes;
mod parcel;
pub(crate) mod ready;
mod store;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "cron")]
pub use cron::Cron;
pub use handle::{Handle, ResultOf};
pub use middleware::Outgoing;
pub use parcel::{PARCEL_BYTES_MAX, Parcel};

use crate::broker::{BATCH_BYTES_MAX, BATCH_TASKS_MAX, Batch, Enqueued, NewTask, Operate};
use crate::error::{Error, Result};
use crate::queue::QueueName;
use crate::seal::Sealer;
use crate::task::{Draft, RawTask, Task, TaskId};
use crate::worker;
use middleware::Middleware;
use ready::{Raw, Ready};
use store::Sent;

/// Enqueues tasks. Cheap to clone, `Send + Sync`, at home in `actix_web::web::Data`.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    broker: Arc<dyn Operate>,
    sealer: Sealer,
    middleware: Vec<Middleware>,
}

impl Client {
    /// A client of a broker, sealing with these keys.
    pub fn new(broker: Arc<dyn Operate>, sealer: Sealer) -> Self {
        Self(Arc::new(Inner { broker, sealer, middleware: Vec::new() }))
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
        Ok(Handle::new(self.clone(), QueueName::parse(queue)?, id, Enqueued::Existing))
    }

    /// Enqueues one task, plain or as a [`Draft`] with options. Ok means: stored, durably as the broker is; or, of a
    /// unique task, that there is one already, and the handle is that one's: see [`Handle::enqueued`].
    ///
    /// # Errors
    /// A bad name or time [`is_invalid`](Error::is_invalid), a payload over 256 KiB
    /// [`is_too_large`](Error::is_too_large), a broker that does not answer
    /// [`is_unreachable`](Error::is_unreachable), one without room [`is_full`](Error::is_full).
    pub async fn enqueue<T: Task>(&self, draft: impl Into<Draft<T>>) -> Result<Handle> {
        let Draft { task, options } = draft.into();
        let sealed = self.seal_with_spare(&mut self.0.sealer.batch(1)?, &task, &options);
        drop(task);
        self.store_one(sealed?, options.replicas, options.when_full.patience()).await
    }

    /// Enqueues a task whose type is not known here: for tools. Otherwise as [`enqueue`](Self::enqueue).
    pub async fn enqueue_raw(&self, draft: impl Into<Draft<RawTask>>) -> Result<Handle> {
        let Draft { task, options } = draft.into();
        let sealed = self.seal_with_spare(&mut self.0.sealer.batch(1)?, &Raw(&task), &options)?;
        self.store_one(sealed, options.replicas, options.when_full.patience()).await
    }

    /// Stores a task; its spare, which is for another queue, if its own has no room.
    async fn store_one(
        &self,
        (ready, spare): (Ready, Option<Ready>),
        replicas: u8,
        patience: Option<Duration>,
    ) -> Result<Handle> {
        let (queue, sent) = (ready.queue.clone(), ready.sent());
        let batch = Batch { replicas, ..Batch::new(queue.clone(), [ready.task]) };
        match (self.store(batch, patience).await, spare) {
            (Err(error), Some(spare)) if error.is_full() => {
                Box::pin(self.store_one((spare, None), replicas, None)).await
            }
            (stored, _) => {
                let (id, enqueued) = self.outcome(&queue, &sent, &stored?, 0).await?;
                Ok(Handle::new(self.clone(), queue, id, enqueued))
            }
        }
    }

    /// Enqueues many tasks in one round trip per queue, per queue all or nothing; handles in order. At most
    /// 1,000 tasks and 4 MiB of records per queue: larger lots in chunks. Where a queue has no room for all of its
    /// tasks, the most patient of them is waited for; if all of them may spill, they are stored one by one.
    ///
    /// # Errors
    /// As [`enqueue`](Self::enqueue). Nothing is stored if a task does not seal or a limit is exceeded; when a
    /// broker fails between two queues, those before it are stored.
    pub async fn enqueue_all<T: Task, D: Into<Draft<T>>>(
        &self,
        drafts: impl IntoIterator<Item = D>,
    ) -> Result<Vec<Handle>> {
        let mut lots: HashMap<QueueName, Lot> = HashMap::new();
        let mut drafts = drafts.into_iter().map(Into::into).collect::<Vec<Draft<T>>>();
        let count = drafts.len();
        let mut seals = self.0.sealer.batch(count)?;
        for (position, Draft { task, options }) in drafts.drain(..).enumerate() {
            let (ready, spare) = self.seal_with_spare(&mut seals, &task, &options)?;
            let lot = lots.entry(ready.queue.clone()).or_default();
            lot.replicas = lot.replicas.max(options.replicas);
            lot.patience = lot.patience.max(options.when_full.patience());
            lot.sent.push((position, ready.sent(), spare));
            lot.tasks.push(ready.task);
        }
        drop(drafts);
        for (queue, lot) in &lots {
            lot.check(queue)?;
        }
        let mut handles: Vec<Option<Handle>> = vec![None; count];
        for (queue, Lot { sent, tasks, replicas, patience }) in lots {
            let batch = Batch { replicas, ..Batch::new(queue.clone(), tasks) };
            match self.store(batch, patience).await {
                Err(error) if error.is_full() => {
                    if sent.iter().any(|(_, _, spare)| spare.is_none()) {
                        return Err(error);
                    }
                    for (position, _, spare) in sent {
                        if let Some(spare) = spare {
                            handles[position] =
                                Some(self.store_one((spare, None), replicas, None).await?);
                        }
                    }
                }
                stored => {
                    let stored = stored?;
                    for (at, (position, sent, _)) in sent.into_iter().enumerate() {
                        let (id, enqueued) = self.outcome(&queue, &sent, &stored, at).await?;
                        handles[position] =
                            Some(Handle::new(self.clone(), queue.clone(), id, enqueued));
                    }
                }
            }
        }
        Ok(handles.into_iter().flatten().collect())
    }
}

/// The tasks of one queue in an enqueue of many.
#[derive(Default)]
struct Lot {
    /// Where each stood among the drafts, and what is stored elsewhere if here is no room.
    sent: Vec<(usize, Sent, Option<Ready>)>,
    tasks: Vec<NewTask>,
    replicas: u8,
    patience: Option<Duration>,
}

impl Lot {
    fn check(&self, queue: &QueueName) -> Result<()> {
        let bytes: usize = self.tasks.iter().map(|task| task.envelope.record_len()).sum();
        if self.tasks.len() <= BATCH_TASKS_MAX && bytes <= BATCH_BYTES_MAX {
            return Ok(());
        }
        Err(Error::too_large(format!(
            "{} tasks of {bytes} bytes for queue {queue}; a batch holds {BATCH_TASKS_MAX} tasks and \
             {BATCH_BYTES_MAX} bytes: enqueue in chunks",
            self.tasks.len()
        )))
    }
}
