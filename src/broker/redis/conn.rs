//! One connection and how it goes: it carries commands, and notes when it must not be used any more.
//!
//! It does not come back; a new one is the [`keeper`](super::keeper)'s business.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{Route, SingleNodeRoutingInfo, SlotAddr};
use redis::{
    Cmd, ErrorKind, Msg, Pipeline, PushInfo, PushKind, RedisResult, ServerErrorKind, Value,
};
use tokio_util::sync::CancellationToken;

use super::credentials::Credentials;
use super::fault::{Class, Fault};
use super::link::{LinkEvent, OnEvent};
use super::{cluster, durable};
use crate::error::Error;

/// How long a connection is used although functions are missing, before another greeting may bring them.
const UNDEPLOYED_AGE: Duration = Duration::from_secs(5);

/// What is known of one connection by all who use it.
pub(super) struct Life {
    start: Instant,
    /// When something was last received, in ms since the start.
    heard: AtomicU64,
    ended: CancellationToken,
    cause: OnceLock<Fault>,
}

impl Life {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            heard: AtomicU64::new(0),
            ended: CancellationToken::new(),
            cause: OnceLock::new(),
        }
    }

    fn hear(&self) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard.store(now, Ordering::Relaxed);
    }

    /// How long nothing was received.
    pub(super) fn quiet(&self) -> Duration {
        let heard = Duration::from_millis(self.heard.load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(heard)
    }

    pub(super) fn age(&self) -> Duration {
        self.start.elapsed()
    }

    /// From now on nobody is given this connection; the first cause counts.
    pub(super) fn end(&self, cause: Fault) {
        let _ = self.cause.set(cause);
        self.ended.cancel();
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Waits for the end and answers why.
    pub(super) async fn ended(&self) -> Fault {
        self.ended.cancelled().await;
        let lost =
            || Fault::new(Class::Ambiguous, Error::unreachable("the connection to Redis ended"));
        self.cause.get().map_or_else(lost, Fault::replicate)
    }

    /// What is called for everything Redis sends unasked; must not block.
    pub(super) fn listener(
        self: &Arc<Self>,
        on_event: OnEvent,
    ) -> impl Fn(PushInfo) -> Result<(), Error> + Send + Sync + 'static {
        let life = self.clone();
        move |info| {
            life.hear();
            match info.kind {
                PushKind::Disconnection => life.end(Fault::new(
                    Class::Ambiguous,
                    Error::unreachable("Redis closed the connection"),
                )),
                PushKind::Message if !life.has_ended() => {
                    let message = Msg::from_push_info(info);
                    if let Some(channel) = message.and_then(|message| message.get_channel().ok()) {
                        on_event(LinkEvent::Message { channel });
                    }
                }
                _ => {}
            }
            Ok(())
        }
    }
}

#[derive(Clone)]
pub(super) enum Wire {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// Carries commands on one connection: what a greeting gets.
#[derive(Clone)]
pub(super) struct Conn {
    wire: Wire,
    pub(super) life: Arc<Life>,
}

impl Conn {
    pub(super) fn new(wire: Wire, life: Arc<Life>) -> Self {
        Self { wire, life }
    }

    /// Sends a command and answers its reply; an error reply is the fault.
    pub(super) async fn call(&mut self, cmd: &Cmd) -> Result<Value, Fault> {
        let result = self.ask(cmd).await;
        self.judge(result)
    }

    /// The same, whatever the answer says of the connection: for questions whose answer may well be no.
    pub(super) async fn ask(&mut self, cmd: &Cmd) -> Result<Value, Fault> {
        match &mut self.wire {
            Wire::One(wire) => one(wire.send_packed_command(cmd).await),
            Wire::Cluster(wire) => cluster::call(wire, cmd).await,
        }
    }

    /// Sends a pipeline; an atomic one answers the replies of its commands. The first error is the answer: of a
    /// pipeline that is not atomic, other commands may have taken effect.
    pub(super) async fn pipe(&mut self, pipe: &Pipeline) -> Result<Vec<Value>, Fault> {
        let result = match &mut self.wire {
            Wire::One(wire) => pipe.query_async(wire).await.map_err(Fault::from),
            Wire::Cluster(wire) => cluster::pipe(wire, pipe, &self.life).await,
        };
        self.judge(result)
    }

    /// Sends a call, writes a key and waits for replicas, all on the connection to the key's primary.
    pub(super) async fn replicated(
        &mut self,
        again: Cmd,
        key: &str,
        replicas: u8,
        timeout: Duration,
    ) -> Result<u64, Fault> {
        let calls = durable::ask_replicas(again, key, replicas, timeout);
        let mut pipe = Pipeline::with_capacity(calls.len());
        calls.into_iter().for_each(|call| {
            pipe.add_command(call);
        });
        let result = match &mut self.wire {
            Wire::One(wire) => pipe.query_async(wire).await.map_err(Fault::from),
            Wire::Cluster(wire) => {
                let route = Route::with_key(key, SlotAddr::Master);
                let node = SingleNodeRoutingInfo::SpecificNode(route);
                let replies = wire.route_pipeline(pipe, 0, 3, node).await;
                // It answers most errors of a node as values. Without the write there is nothing to wait for.
                let replies = replies.and_then(|replies| {
                    replies.into_iter().map(Value::extract_error).collect::<RedisResult<Vec<_>>>()
                });
                replies.map_err(|error| match error.kind() {
                    ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask) => Fault::new(
                        Class::Transient,
                        Error::unreachable("a slot of the cluster has moved; try again later"),
                    ),
                    _ => Fault::from(error),
                })
            }
        };
        let replies = self.judge(result)?;
        durable::confirmed(replies).map_err(|error| Fault::new(Class::Broken, error))
    }

    /// Listens to a channel. Answers once Redis has confirmed it.
    pub(super) async fn subscribe(&mut self, channel: &str) -> Result<(), Fault> {
        let result = match &mut self.wire {
            Wire::One(wire) => wire.subscribe(channel).await,
            Wire::Cluster(wire) => wire.subscribe(channel).await,
        };
        self.judge(result.map_err(Fault::from))
    }

    /// Asks for a sign of life, if losing one server loses all. The nodes of a cluster are watched by TCP: one that
    /// is down must not take the others with it.
    pub(super) async fn ping(&mut self) {
        if let Wire::One(_) = self.wire {
            // What fails ends the connection; that is all there is to know.
            let _ = self.call(&redis::cmd("PING")).await;
        }
    }

    /// Logs in anew on a live connection. One that is refused keeps the login it had.
    pub(super) async fn login(&mut self, credentials: &Credentials) -> Result<(), Fault> {
        let Wire::One(wire) = &mut self.wire else { return Ok(()) };
        let mut cmd = redis::cmd("AUTH");
        cmd.arg(credentials.user()).arg(credentials.secret());
        match one(wire.send_packed_command(&cmd).await) {
            // Not judged: it says nothing against the connection.
            Err(fault) if fault.class == Class::Auth => Err(fault),
            result => self.judge(result).map(drop),
        }
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.wire, Wire::Cluster(_))
    }

    fn judge<T>(&self, result: Result<T, Fault>) -> Result<T, Fault> {
        match &result {
            // One node of a cluster may lack them for long; the others go on.
            Err(fault) if fault.class == Class::Undeployed && self.life.age() < UNDEPLOYED_AGE => {}
            Err(fault) if fault.class.ends_connection() => self.life.end(fault.replicate()),
            _ => self.life.hear(),
        }
        result
    }
}

/// A reply, or what its error means.
pub(super) fn one(reply: RedisResult<Value>) -> Result<Value, Fault> {
    Ok(reply?.extract_error()?)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn a_connection_ends_once_and_its_messages_with_it() {
        let events = Arc::new(Mutex::new(Vec::new()));
        let life = Arc::new(Life::new());
        let listener = life.listener(Arc::new({
            let events = events.clone();
            move |event| events.lock().expect("whole").push(event)
        }));
        let text = |text: &str| Value::BulkString(text.into());
        let message =
            || PushInfo { kind: PushKind::Message, data: vec![text("wake"), text("mail")] };
        listener(message()).expect("heard");
        listener(PushInfo { kind: PushKind::Disconnection, data: Vec::new() }).expect("heard");
        assert!(life.has_ended());
        life.end(Fault::new(Class::Auth, Error::denied("later")));
        listener(message()).expect("dropped");
        let cause = life.ended().await;
        assert_eq!(cause.class, Class::Ambiguous);
        let events = events.lock().expect("whole");
        let [LinkEvent::Message { channel }] = &events[..] else { panic!("{events:?}") };
        assert_eq!(channel, "wake");
    }
}
