//! Storing what is ready: what was answered, what a lost answer means, and what is done where there is no room.

use std::time::Duration;

use crate::broker::{Batch, Enqueued, LockName, Wake};
use crate::error::{Error, Result};
use crate::queue::QueueName;
use crate::task::TaskId;

use super::Client;
use super::handle::anyway;
use super::ready::Ready;

/// What is remembered of a task while its batch is on its way.
pub(super) struct Sent {
    id: TaskId,
    keyed: bool,
    names: Vec<LockName>,
}

impl Ready {
    pub(super) fn sent(&self) -> Sent {
        let names = self.task.lock.as_ref().map(|lock| lock.names.clone());
        Sent { id: self.id, keyed: self.keyed, names: names.unwrap_or_default() }
    }
}

/// The answers, and whether they are those to a batch that was sent twice.
pub(super) struct Stored {
    pub(super) answers: Vec<Enqueued>,
    again: bool,
}

impl Client {
    /// Stores a batch; if there is no room, waits for it this long at most.
    pub(super) async fn store(&self, batch: Batch, patience: Option<Duration>) -> Result<Stored> {
        let Some(patience) = patience else { return self.send(batch).await };
        let mut over = std::pin::pin!(tokio::time::sleep(patience));
        loop {
            let mark = self.0.broker.wait(Wake::Settled, None).await?;
            match self.send(batch.clone()).await {
                Err(error) if error.is_full() => tokio::select! {
                    () = &mut over => return Err(error),
                    woken = self.0.broker.wait(Wake::Settled, Some(mark)) => { woken?; }
                    () = anyway() => {}
                },
                answer => return answer,
            }
        }
    }

    /// Sends a batch. When the answer was lost it is asked once more under the same id, which cannot store
    /// it twice.
    async fn send(&self, batch: Batch) -> Result<Stored> {
        match self.0.broker.enqueue(batch.clone()).await {
            Err(error) if error.is_unreachable() => {
                Ok(Stored { answers: self.0.broker.enqueue(batch).await?, again: true })
            }
            answer => Ok(Stored { answers: answer?, again: false }),
        }
    }

    /// Which task there is now, and what was done.
    pub(super) async fn outcome(
        &self,
        queue: &QueueName,
        sent: &Sent,
        stored: &Stored,
        position: usize,
    ) -> Result<(TaskId, Enqueued)> {
        let lost = || Error::corrupt("the broker answered for fewer tasks than it was sent");
        let answer = *stored.answers.get(position).ok_or_else(lost)?;
        Ok(match answer {
            Enqueued::Held(holder) | Enqueued::Moved(holder) => (holder, answer),
            // Sent twice, and the first answer is lost: whether it said that another has the lock is to be found out.
            Enqueued::Existing if stored.again && !sent.names.is_empty() => {
                let broker = &self.0.broker;
                let ours = broker.show(queue.clone(), sent.id).await?.is_some();
                let holder = match ours {
                    true => None,
                    false => broker.holder(queue.clone(), sent.names.clone()).await?,
                };
                match holder {
                    Some(holder) => (holder, Enqueued::Held(holder)),
                    None => (sent.id, Enqueued::Created),
                }
            }
            // A fresh id can only be there already because this call stored it and its answer was lost.
            Enqueued::Existing if !sent.keyed => (sent.id, Enqueued::Created),
            _ => (sent.id, answer),
        })
    }
}
