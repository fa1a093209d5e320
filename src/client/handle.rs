//! A handle to an enqueued task: its identity, and its result when it comes.

use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::time::{Duration, Instant, SystemTime};

use futures::FutureExt;
use futures::future::BoxFuture;
use serde::de::DeserializeOwned;

use crate::broker::{Act, Acted, Cancelled, Enqueued, TaskView, Wake};
use crate::error::{Error, Result};
use crate::queue::QueueName;
use crate::seal::{Purpose, Seat};
use crate::state::State;
use crate::task::{Due, TaskId};

use super::Client;

/// An enqueued task.
#[derive(Clone)]
pub struct Handle {
    pub(super) client: Client,
    queue: QueueName,
    id: TaskId,
    enqueued: Enqueued,
}

impl Handle {
    pub(super) fn new(client: Client, queue: QueueName, id: TaskId, enqueued: Enqueued) -> Self {
        Self { client, queue, id, enqueued }
    }

    /// The task.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// Its queue.
    pub fn queue(&self) -> &QueueName {
        &self.queue
    }

    /// Whether this enqueue stored it; false: it was there, or is remembered.
    pub fn is_created(&self) -> bool {
        matches!(self.enqueued, Enqueued::Created | Enqueued::Replaced(_))
    }

    /// What this enqueue did. Of a unique task that was not stored this handle is that of the one there is.
    pub fn enqueued(&self) -> Enqueued {
        self.enqueued
    }

    /// Where the task is now; none if it is gone. In Redis a user with the role of a producer alone is told pending
    /// of a task that runs.
    pub async fn state(&self) -> Result<Option<State>> {
        let view = self.client.0.broker.show(self.queue.clone(), self.id).await?;
        Ok(view.map(|view| view.state))
    }

    /// Cancels the task. One that waits is archived as cancelled at once. One that runs is told to stop within a second,
    /// is cut off at its next await, and does not run again, unless it succeeds before.
    pub async fn cancel(&self) -> Result<Cancelled> {
        self.client.0.broker.cancel(self.queue.clone(), self.id).await
    }

    /// Lets it run at once, if it is scheduled, to be retried, or archived.
    pub async fn run_now(&self) -> Result<Acted> {
        self.act(Act::Run).await
    }

    /// Not before this time, if it has not started or is to be retried.
    pub async fn reschedule_at(&self, time: SystemTime) -> Result<Acted> {
        self.act(Act::Reschedule(Due::At(time.into()))).await
    }

    /// Not before this delay is over, if it has not started or is to be retried.
    pub async fn reschedule_after(&self, delay: Duration) -> Result<Acted> {
        self.act(Act::Reschedule(Due::In(delay))).await
    }

    /// Archives it, if it has not started or is to be retried.
    pub async fn archive(&self) -> Result<Acted> {
        self.act(Act::Archive).await
    }

    /// Deletes it, unless it runs: nothing of it is kept, but for the id of one with a key of its own, for 24 h.
    pub async fn delete(&self) -> Result<Acted> {
        self.act(Act::Delete).await
    }

    async fn act(&self, act: Act) -> Result<Acted> {
        self.client.0.broker.act(self.queue.clone(), self.id, act).await
    }

    /// Waits for the task to end and opens its result: `handle.result::<T>().await`, with
    /// [`timeout`](ResultOf::timeout) if need be. Needs a retention on the task. In a tokio runtime that one's
    /// timers are used.
    ///
    /// # Errors
    /// A task that was archived, or is gone without retention, [`is_no_result`](Error::is_no_result).
    pub fn result<T: DeserializeOwned>(&self) -> ResultOf<T> {
        ResultOf { handle: self.clone(), timeout: None, of: PhantomData }
    }

    async fn wait<T: DeserializeOwned>(self) -> Result<T> {
        let broker = &self.client.0.broker;
        let mut pace = Pace::new();
        loop {
            let mark = broker.wait(Wake::Settled, None).await?;
            let Some(view) = broker.glance(self.queue.clone(), self.id).await? else {
                return Err(Error::no_result(format!(
                    "task {} is gone: completed without retention, or never enqueued; set `RETENTION`",
                    self.id
                )));
            };
            match view.state {
                State::Completed => return self.open(&view),
                State::Archived => return Err(self.archived(&view)),
                _ => tokio::select! {
                    woken = broker.wait(Wake::Settled, Some(mark)) => drop(woken?),
                    () = anyway() => {}
                },
            }
            pace.keep().await;
        }
    }

    fn open<T: DeserializeOwned>(&self, view: &TaskView) -> Result<T> {
        let Some(kept) = &view.result else {
            return crate::codec::Codec::Json.decode(b"null").map_err(|_| {
                Error::no_result(format!("task {} completed without a result", self.id))
            });
        };
        let header = view.stored.header_bytes();
        let seat = Seat { purpose: Purpose::Result, task: self.id, attempt: kept.attempt, header };
        let opened = self.client.0.sealer.open(&seat, &kept.sealed)?;
        opened.codec.decode(&opened.plaintext)
    }

    fn archived(&self, view: &TaskView) -> Error {
        let reason = view.reason.map_or("archived", |reason| reason.as_str());
        let error = Error::no_result(format!("task {} was archived: {reason}", self.id));
        match self.client.failure(view) {
            Some(message) => error.because(message),
            None => error,
        }
    }
}

/// When one who waits, for an end, a note or room, looks without being woken: a wake-up may be lost, or this user of
/// Redis may not listen.
const ANYWAY: Duration = Duration::from_secs(5);
/// First and longest time between two looks at a task whose end is waited for.
const LOOK: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// How often one who waits looks: a wake-up says that some task ended, and among a thousand who wait it is
/// mostly another's. The first look is at once, then they are further and further apart, until it is quiet.
pub(super) struct Pace {
    looked: Instant,
    apart: Duration,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { looked: Instant::now(), apart: Duration::ZERO }
    }

    /// Ends when it is time for the next look. Without a tokio runtime there is no timer, and it is at once.
    pub(super) async fn keep(&mut self) {
        let since = self.looked.elapsed();
        if since >= LOOK.1 {
            self.apart = Duration::ZERO;
        } else if let wait = self.apart.saturating_sub(since)
            && !wait.is_zero()
            && tokio::runtime::Handle::try_current().is_ok()
        {
            tokio::time::sleep(wait).await;
        }
        self.apart = (self.apart * 2).clamp(LOOK.0, LOOK.1);
        self.looked = Instant::now();
    }
}

/// Ends when it is time to look without being woken. Without a tokio runtime there is no timer, and it never is.
pub(super) async fn anyway() {
    match tokio::runtime::Handle::try_current() {
        Ok(_) => tokio::time::sleep(ANYWAY).await,
        Err(_) => std::future::pending().await,
    }
}

impl Client {
    /// The opened message of a task's last failure, if there is one and the key for it.
    pub fn failure(&self, view: &TaskView) -> Option<String> {
        self.0.sealer.open_failure(&view.stored, &view.trail)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle {{ {} {} }}", self.queue, self.id)
    }
}

/// A result to come. Await it.
#[must_use = "a result comes to who awaits it"]
pub struct ResultOf<T> {
    handle: Handle,
    timeout: Option<Duration>,
    of: PhantomData<fn() -> T>,
}

impl<T> ResultOf<T> {
    /// Waits this long at most; then it [`is_timeout`](Error::is_timeout). Needs a tokio or actix runtime.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }
}

impl<T: DeserializeOwned + 'static> IntoFuture for ResultOf<T> {
    type Output = Result<T>;
    type IntoFuture = BoxFuture<'static, Result<T>>;

    fn into_future(self) -> Self::IntoFuture {
        let (id, wait) = (self.handle.id, self.handle.wait::<T>());
        match self.timeout {
            None => wait.boxed(),
            Some(limit) => async move {
                tokio::time::timeout(limit, wait).await.unwrap_or_else(|_| {
                    Err(Error::timeout(format!("task {id} has no result after {limit:?}")))
                })
            }
            .boxed(),
        }
    }
}
