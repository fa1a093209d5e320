//! Handing parcels over: in order, in batches, one that is refused for good apart from all others.

use std::collections::HashMap;
use std::ops::Range;

use futures::future::join_all;

use crate::broker::{BATCH_BYTES_MAX, BATCH_TASKS_MAX, Batch, Enqueued, NewTask};
use crate::error::{Error, Result};
use crate::queue::QueueName;

use super::{Client, Parcel};

impl Client {
    /// Enqueues what was sealed before, by this client or another one of its namespace; answers for each in order. What is
    /// there already is [`Existing`](Enqueued::Existing), so whoever does not know whether it was handed over does it
    /// again: until 24 h after the task has ended.
    ///
    /// Queues do not wait for one another. Within a queue the order is kept: what comes behind a parcel that could not be
    /// handed over now, because there is no room or the broker does not answer, fails with the same error and is not
    /// sent. A parcel that is [refused for good](Self::is_refused_for_good) holds up nothing.
    pub async fn hand_over(&self, parcels: Vec<Parcel>) -> Vec<Result<Enqueued>> {
        let mut lines: HashMap<QueueName, (Vec<usize>, Vec<Parcel>)> = HashMap::new();
        let mut answers: Vec<Option<Result<Enqueued>>> = parcels.iter().map(|_| None).collect();
        let namespace = self.0.sealer.namespace();
        for (position, parcel) in parcels.into_iter().enumerate() {
            // It would be stored, and never open.
            if parcel.namespace != namespace {
                answers[position] = Some(Err(Error::invalid(format!(
                    "a parcel sealed in namespace {:?}, for a client of {namespace:?}",
                    parcel.namespace
                ))));
                continue;
            }
            let line = lines.entry(parcel.queue().clone()).or_default();
            line.0.push(position);
            line.1.push(parcel);
        }
        let lines = lines.into_iter().map(|(queue, (positions, line))| async move {
            (positions, self.hand_over_line(&queue, line).await)
        });
        for (positions, line) in join_all(lines).await {
            for (position, answer) in positions.into_iter().zip(line) {
                answers[position] = Some(answer);
            }
        }
        answers.into_iter().flatten().collect()
    }

    /// Whether an error of [`hand_over`](Self::hand_over) is about the parcel itself, so that it would be the same the next
    /// time. Anything else passes.
    pub fn is_refused_for_good(error: &Error) -> bool {
        error.is_invalid() || error.is_too_large()
    }

    /// One queue: as many in a call as go into a batch. A batch that is refused for one of its tasks, or for which there is
    /// no room, is sent in halves, down to that one.
    async fn hand_over_line(&self, queue: &QueueName, line: Vec<Parcel>) -> Vec<Result<Enqueued>> {
        let mut answers = Vec::with_capacity(line.len());
        let mut ranges = batches(&line);
        ranges.reverse();
        while let Some(range) = ranges.pop() {
            let parcels = &line[range.clone()];
            let tasks: Vec<NewTask> = parcels.iter().map(|parcel| parcel.task.clone()).collect();
            let replicas = parcels.iter().map(|parcel| parcel.replicas).max().unwrap_or_default();
            let batch = Batch { replicas, ..Batch::new(queue.clone(), tasks) };
            let lost = || Error::corrupt("the broker answered for other tasks than it was sent");
            let stored = match self.store(batch, None).await {
                Ok(stored) if stored.answers.len() == range.len() => Ok(stored.answers),
                Ok(_) => Err(lost()),
                Err(error) => Err(error),
            };
            match stored {
                Ok(stored) => answers.extend(stored.into_iter().map(Ok)),
                Err(error)
                    if range.len() > 1
                        && (error.is_full() || Self::is_refused_for_good(&error)) =>
                {
                    let middle = range.start + range.len() / 2;
                    ranges.push(middle..range.end);
                    ranges.push(range.start..middle);
                }
                Err(error) if Self::is_refused_for_good(&error) => answers.push(Err(error)),
                Err(error) => {
                    let behind = line.len() - answers.len();
                    answers.extend((0..behind).map(|_| Err(error.replicate())));
                    break;
                }
            }
        }
        answers
    }
}

/// The parcels of one call each.
fn batches(line: &[Parcel]) -> Vec<Range<usize>> {
    let (mut ranges, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (at, parcel) in line.iter().enumerate() {
        let length = parcel.record_len();
        if at > start && (at - start == BATCH_TASKS_MAX || bytes + length > BATCH_BYTES_MAX) {
            ranges.push(start..at);
            (start, bytes) = (at, 0);
        }
        bytes += length;
    }
    if start < line.len() {
        ranges.push(start..line.len());
    }
    ranges
}
