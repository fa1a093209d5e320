//! A link: the way to one Redis deployment. Connects, reconnects for as long as it lives, carries commands.
//!
//! It lives on the I/O thread's runtime and is used from tasks there. It knows no key and no function of ours:
//! what is to be done on a connection before anything else may use it is its [`Greeting`].

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, Pipeline, Value};
use tokio::sync::watch;

use super::fault::Fault;
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
        /// The channel.
        channel: String,
        /// What was published.
        payload: Vec<u8>,
    },
    /// A subscription is in place: what was published before it may have been missed.
    Subscribed,
}

/// Carries commands on one connection: what a greeting gets.
#[derive(Clone)]
pub(super) struct Conn(MultiplexedConnection);

impl Conn {
    pub(super) async fn call(&mut self, cmd: &Cmd) -> Result<Value, Fault> {
        let value = self.0.send_packed_command(cmd).await?;
        Ok(value.extract_error()?)
    }

    /// Sends a pipeline; an atomic one answers the replies of its commands. The first error is the answer.
    pub(super) async fn pipe(&mut self, pipe: &Pipeline) -> Result<Vec<Value>, Fault> {
        Ok(pipe.query_async(&mut self.0).await?)
    }
}

/// Done on every new connection before anybody else may use it.
pub(super) type Greeting = Arc<dyn Fn(Conn) -> BoxFuture<'static, Result<(), Fault>> + Send + Sync>;

/// What is called for every event, in order; must not block.
pub(super) type OnEvent = Arc<dyn Fn(LinkEvent) + Send + Sync>;

/// The way to Redis. Clones share it; the last one to go closes it.
#[derive(Clone)]
pub(super) struct Link(Arc<Inner>);

struct Inner {
    options: Arc<Options>,
    conn: watch::Receiver<Option<Conn>>,
    keeper: tokio::task::JoinHandle<()>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Link {
    /// Starts to connect. Must be called on the runtime that is to own the connection.
    pub(super) fn open(options: Arc<Options>, greeting: Greeting, on_event: OnEvent) -> Self {
        let (set, conn) = watch::channel(None);
        let keeper = tokio::spawn(keep(options.clone(), set, greeting, on_event));
        Self(Arc::new(Inner { options, conn, keeper }))
    }

    async fn conn(&self) -> Result<Conn, Fault> {
        let mut conn = self.0.conn.clone();
        let wait = conn.wait_for(Option::is_some);
        match tokio::time::timeout(self.0.options.response_timeout, wait).await {
            Ok(Ok(conn)) => Ok(conn.clone().expect("waited for")),
            _ => Err(Fault::new(
                super::fault::Class::Ambiguous,
                Error::unreachable("no connection to Redis"),
            )),
        }
    }

    /// Sends one command and answers its reply. Waits for a connection up to the response timeout.
    pub(super) async fn call(&self, cmd: &Cmd) -> Result<Value, Fault> {
        self.conn().await?.call(cmd).await
    }

    /// The same for a pipeline.
    pub(super) async fn pipe(&self, pipe: &Pipeline) -> Result<Vec<Value>, Fault> {
        self.conn().await?.pipe(pipe).await
    }

    /// Subscribes to a channel, on every connection from now on.
    pub(super) fn subscribe(&self, _channel: String) {}
}

async fn keep(
    options: Arc<Options>,
    set: watch::Sender<Option<Conn>>,
    greeting: Greeting,
    on_event: OnEvent,
) {
    loop {
        let client = redis::Client::open(options.url.as_str()).expect("a URL");
        let config =
            AsyncConnectionConfig::new().set_response_timeout(Some(options.response_timeout));
        if let Ok(conn) = client.get_multiplexed_async_connection_with_config(&config).await {
            let conn = Conn(conn);
            if greeting(conn.clone()).await.is_ok() {
                set.send_replace(Some(conn));
                on_event(LinkEvent::Up);
                return std::future::pending().await;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
