//! A link: the way to one Redis deployment. Connects, reconnects for as long as it lives, carries commands.
//!
//! It is used from tasks on the I/O thread, and outlives every [`Keeper`] there. It knows no key and no function of ours:
//! what is to be done on a connection before anything else may use it is its [`Greeting`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use redis::{Cmd, Pipeline, Value};
use tokio::sync::watch;

pub(super) use super::conn::Conn;
use super::fault::{Class, Fault};
use super::keeper::{Keeper, State};
use super::options::Options;
use crate::error::Error;

/// What happens on a link.
#[derive(Clone, Debug)]
pub(super) enum LinkEvent {
    /// Connected (again), greeted and subscribed: what was published before may have been missed.
    Up,
    /// The connection is lost; calls wait for the next one.
    Down,
    /// A message on a channel that was subscribed to.
    Message {
        /// The channel; what was published on it says no more.
        channel: String,
    },
    /// A subscription is in place: what was published before it may have been missed.
    Subscribed,
}

/// Done on every new connection before anybody else may use it.
pub(super) type Greeting = Arc<dyn Fn(Conn) -> BoxFuture<'static, Result<(), Fault>> + Send + Sync>;

/// What is called for every event, in order; must not block.
pub(super) type OnEvent = Arc<dyn Fn(LinkEvent) + Send + Sync>;

/// The way to Redis. Clones share it.
#[derive(Clone)]
pub(super) struct Link(Arc<Inner>);

struct Inner {
    options: Arc<Options>,
    state: watch::Receiver<State>,
    channels: watch::Sender<Vec<String>>,
    /// Commands so far.
    sent: AtomicU64,
}

impl Link {
    /// A link, and what keeps it up once it is run on the runtime that is to own the connections.
    pub(super) fn new(
        options: Arc<Options>,
        greeting: Greeting,
        on_event: OnEvent,
    ) -> (Self, Keeper) {
        let (set, state) = watch::channel(State::Down(None));
        let (channels, wanted) = watch::channel(Vec::new());
        let keeper =
            Keeper { options: options.clone(), greeting, on_event, state: set, channels: wanted };
        (Self(Arc::new(Inner { options, state, channels, sent: AtomicU64::new(0) })), keeper)
    }

    /// A connection that can be used. Waits for one up to the response timeout, unless waiting cannot help.
    async fn conn(&self) -> Result<Conn, Fault> {
        let mut state = self.0.state.clone();
        let settled = state.wait_for(|state| match state {
            State::Up(conn) => !conn.life.has_ended(),
            State::Down(fault) => fault.as_ref().is_some_and(|fault| !fault.class.passes()),
        });
        let found = match tokio::time::timeout(self.0.options.response_timeout, settled).await {
            Ok(Ok(state)) => match &*state {
                State::Up(conn) => Some(Ok(conn.clone())),
                State::Down(fault) => fault.as_ref().map(|fault| Err(fault.replicate())),
            },
            Ok(Err(_)) | Err(_) => None,
        };
        found.unwrap_or_else(|| Err(self.unreachable()))
    }

    /// No connection in time, and what the last attempt said.
    fn unreachable(&self) -> Fault {
        let text = format!("no connection to Redis at {}", self.0.options.address);
        let error = match &*self.0.state.borrow() {
            State::Down(Some(cause)) => Error::unreachable(format!("{text}: {}", cause.error)),
            _ => Error::unreachable(text),
        };
        Fault::new(Class::Ambiguous, error)
    }

    /// Sends one command and answers its reply. Waits for a connection up to the response timeout.
    pub(super) async fn call(&self, cmd: &Cmd) -> Result<Value, Fault> {
        let mut conn = self.conn().await?;
        self.0.sent.fetch_add(1, Ordering::Relaxed);
        conn.call(cmd).await
    }

    /// The same for a pipeline.
    pub(super) async fn pipe(&self, pipe: &Pipeline) -> Result<Vec<Value>, Fault> {
        let mut conn = self.conn().await?;
        // MULTI and EXEC are commands, too.
        let around = if pipe.is_transaction() { 2 } else { 0 };
        self.0.sent.fetch_add(pipe.len() as u64 + around, Ordering::Relaxed);
        conn.pipe(pipe).await
    }

    /// Sends a call and writes a key, and answers how many replicas have it, waiting for so many within the time.
    pub(super) async fn replicated(
        &self,
        again: Cmd,
        key: &str,
        replicas: u8,
        timeout: Duration,
    ) -> Result<u64, Fault> {
        let mut conn = self.conn().await?;
        self.0.sent.fetch_add(3, Ordering::Relaxed);
        conn.replicated(again, key, replicas, timeout).await
    }

    /// How many commands it carried so far.
    pub(super) fn sent(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }

    /// Subscribes to a channel, on every connection from now on.
    pub(super) fn subscribe(&self, channel: String) {
        self.0.channels.send_if_modified(|channels| {
            let is_new = !channels.contains(&channel);
            if is_new {
                channels.push(channel);
            }
            is_new
        });
    }
}
