//! The relay: carries what was committed to an outbox to the broker, for as long as it runs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::broker::Wake;
use crate::client::Client;
use crate::error::Result;
use crate::event::{Event, Listener};
use crate::retry::RetryPolicy;
use crate::worker::{chance, jittered};

use super::OutboxStore;
use super::pass::{Desk, Moved, Passed, tell};
use super::refused::Refused;

/// Between two looks at an outbox in which nothing happens.
pub const POLL: Duration = Duration::from_millis(100);
/// How long a broker or an outbox that failed is left alone.
const BACKOFF: RetryPolicy = RetryPolicy {
    min: Duration::from_millis(100),
    max: Duration::from_secs(5),
    factor: 2.0,
    jitter: 0.2,
    front: false,
};
/// Between two looks for room in a queue that is full: at least, since any task that ends may be of another queue, and at
/// most.
const ROOM: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Hands what an outbox holds over to a broker. Clones are the same relay. Needs a tokio or actix runtime.
///
/// ```no_run
/// # async fn relay(client: oncue::Client, store: impl oncue::outbox::OutboxStore) {
/// use oncue::outbox::Relay;
///
/// let relay = Relay::new(client, store);
/// let running = tokio::spawn(relay.run());
/// // Something was committed: without this it is seen at the next poll.
/// relay.nudge();
/// relay.stop();
/// let moved = running.await;
/// # }
/// ```
#[derive(Clone)]
pub struct Relay {
    client: Client,
    store: Arc<dyn OutboxStore>,
    poll: Duration,
    listener: Option<Listener>,
    nudged: Arc<Notify>,
    stop: CancellationToken,
}

impl Relay {
    /// A relay from this outbox to the broker of this client.
    pub fn new(client: Client, store: impl OutboxStore) -> Self {
        Self {
            client,
            store: Arc::new(store),
            poll: POLL,
            listener: None,
            nudged: Arc::new(Notify::new()),
            stop: CancellationToken::new(),
        }
    }

    /// How long it waits between two looks at an outbox in which nothing happens, ±20 %; [`POLL`] without.
    #[must_use]
    pub fn poll(self, poll: Duration) -> Self {
        Self { poll, ..self }
    }

    /// Is told what was handed over, what is refused for good, and what fails.
    #[must_use]
    pub fn on_event(self, listener: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self { listener: Some(Arc::new(listener)), ..self }
    }

    /// Lets it look at once.
    pub fn nudge(&self) {
        self.nudged.notify_one();
    }

    /// Lets [`run`](Self::run) end, once the page in hand is handed over and removed. It stays so.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Hands over what is there, and ends: for tests, and for `cron`. Rows that wait for room are no error.
    ///
    /// # Errors
    /// Of the outbox, or the first one of the broker that is not about a parcel itself; what could be handed over is.
    pub async fn once(&self) -> Result<Moved> {
        let (Passed { moved, failure }, outbox) = self.pass(&mut Refused::default()).await;
        outbox?;
        match failure {
            Some(error) => Err(error),
            None => Ok(moved),
        }
    }

    /// Hands over what is there and what comes, until it is [stopped](Self::stop); answers what became of all of it, as
    /// far as rows were handed over or, at the end, refused or waiting. A broker or an outbox that fails is tried again,
    /// later and later, every 5 s at last. The future may be dropped at any time.
    pub fn run(&self) -> impl Future<Output = Moved> + Send + 'static {
        let relay = self.clone();
        async move { relay.turn().await }
    }

    async fn turn(&self) -> Moved {
        let (mut total, mut refused, mut failures) = (Moved::default(), Refused::default(), 0);
        while !self.stop.is_cancelled() {
            // Before the pass: what is committed during it is seen by the next one.
            let seen = self.store.version().await.ok().flatten();
            let (Passed { moved, failure }, outbox) = self.pass(&mut refused).await;
            if moved.waiting > 0 && total.waiting == 0 && failure.is_none() {
                let rows = moved.waiting;
                tracing::warn!(rows, "rows of an outbox wait for room in their queues");
            }
            total = Moved { handed: total.handed + moved.handed, ..moved };
            let failure = match outbox {
                Ok(()) => failure.map(|error| ("enqueue", error)),
                Err(error) => Some(("outbox", error)),
            };
            match failure {
                Some((what, error)) => {
                    failures += 1;
                    self.complain(what, &error.to_string());
                    self.rest(BACKOFF.delay(failures, chance())).await;
                }
                None if total.waiting > 0 => {
                    failures = 0;
                    self.wait_for_room().await;
                }
                None => {
                    failures = 0;
                    self.wait_for_rows(seen).await;
                }
            }
        }
        total
    }

    /// How far a pass came, and whether the outbox failed.
    async fn pass(&self, refused: &mut Refused) -> (Passed, Result<()>) {
        let store = &*self.store;
        let mut desk = Desk { client: &self.client, store, tell: &self.listener, refused };
        let mut passed = Passed::default();
        let outbox = desk.pass(&mut passed, || self.stop.is_cancelled()).await;
        (passed, outbox)
    }

    /// Ends when rows may have come, or when it is to stop.
    async fn wait_for_rows(&self, seen: Option<i64>) {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.nudged.notified() => return,
                () = tokio::time::sleep(jittered(self.poll)) => {}
            }
            match (seen, self.store.version().await) {
                (Some(seen), Ok(Some(now))) if seen == now => {}
                // A failure is told by the pass that meets it.
                _ => return,
            }
        }
    }

    /// Ends when a task ended somewhere, or after a while.
    async fn wait_for_room(&self) {
        let broker = self.client.broker();
        let seen = broker.wait(Wake::Settled, None).await.ok();
        self.rest(ROOM.0).await;
        tokio::select! {
            () = self.rest(jittered(ROOM.1)) => {}
            Ok(_) = broker.wait(Wake::Settled, seen), if seen.is_some() => {}
        }
    }

    /// Ends after a while, or when it is to stop.
    async fn rest(&self, time: Duration) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(time) => {}
        }
    }

    fn complain(&self, what: &'static str, error: &str) {
        tracing::warn!(what, error, "the relay of an outbox failed; it tries again");
        let error = error.to_owned();
        tell(
            &self.listener,
            &match what {
                "outbox" => Event::OutboxFailed { error },
                verb => Event::BrokerFailed { verb, error },
            },
        );
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("poll", &self.poll).finish_non_exhaustive()
    }
}
