//! Sentinels: who the primary is at this moment.
//!
//! Asked anew for every connection, in turn; one that was replaced and does not know it yet is found out by
//! its role. While a connection lives, one sentinel is listened to: a primary that was replaced by command
//! takes writes for about 8 s more, and they are lost. The library's own client does not follow a failover.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::{Msg, PushInfo, PushKind, Value};
use tokio_util::sync::CancellationToken;

use super::address::Host;
use super::conn::Life;
use super::dial::Dial;
use super::fault::{Class, Fault};
use super::options::Options;
use crate::error::Error;

/// What sentinels publish when another server has become a primary: its name and four words more.
const SWITCH: &str = "+switch-master";
/// Between two attempts to listen to a sentinel.
const WATCH_RETRY: Duration = Duration::from_secs(5);

/// The sentinels of one primary, and how to reach them and the servers.
pub(super) struct Sentinels {
    pub(super) options: Arc<Options>,
    pub(super) hosts: Vec<Host>,
    pub(super) primary: String,
    pub(super) sentinel: Dial,
    pub(super) server: Dial,
}

impl Sentinels {
    /// Connects to the primary the sentinels name; answers the host too.
    pub(super) async fn connect(
        &self,
        listener: impl AsyncPushSender + Clone,
    ) -> Result<(MultiplexedConnection, Host), Fault> {
        let mut last = None;
        for sentinel in &self.hosts {
            let found = match self.ask(sentinel).await {
                Ok(found) => found,
                Err(fault) => {
                    tracing::debug!(%sentinel, error = %fault.error, "a sentinel did not help");
                    last = Some(Fault::new(fault.class, named(sentinel, &fault.error)));
                    continue;
                }
            };
            match self.reach(&found, Some(listener.clone())).await {
                Ok(connection) => return Ok((connection, found)),
                // Another sentinel knows no better password, and no safer way.
                Err(fault) if matches!(fault.class, Class::Auth | Class::Broken) => {
                    return Err(fault);
                }
                Err(fault) => last = Some(fault),
            }
        }
        Err(last
            .unwrap_or_else(|| Fault::new(Class::Broken, Error::invalid("no sentinel is named"))))
    }

    /// Ends this life as soon as a sentinel says that another server is the primary.
    pub(super) async fn watch(self, current: Host, life: Arc<Life>) {
        loop {
            for sentinel in &self.hosts {
                match self.listen(sentinel, &current, &life).await {
                    Ok(gone) => gone.cancelled().await,
                    Err(fault) => {
                        tracing::debug!(%sentinel, error = %fault.error, "a sentinel is not listened to");
                    }
                }
            }
            tokio::time::sleep(WATCH_RETRY).await;
        }
    }

    /// Listens to a sentinel; the token is canceled when it is gone.
    async fn listen(
        &self,
        sentinel: &Host,
        current: &Host,
        life: &Arc<Life>,
    ) -> Result<Listening, Fault> {
        let gone = CancellationToken::new();
        let (name, end, lost) = (format!("{} ", self.primary), life.clone(), gone.clone());
        let listener = move |info: PushInfo| {
            if info.kind == PushKind::Disconnection {
                lost.cancel();
            }
            let message = Msg::from_push_info(info);
            if message
                .is_some_and(|message| message.get_payload_bytes().starts_with(name.as_bytes()))
            {
                end.end(replaced());
            }
            Ok::<(), Error>(())
        };
        let mut connection = self.sentinel.host(sentinel, Some(listener)).await?;
        connection.subscribe(SWITCH).await?;
        // What happened before it was listened to; one that only thinks so is not believed.
        let found = question(&mut connection, &self.primary).await?;
        if found != *current && self.reach(&found, NOBODY).await.is_ok() {
            life.end(replaced());
        }
        Ok(Listening { gone, _connection: connection })
    }

    async fn ask(&self, sentinel: &Host) -> Result<Host, Fault> {
        let mut connection = self.sentinel.host(sentinel, NOBODY).await?;
        question(&mut connection, &self.primary).await
    }

    async fn reach(
        &self,
        host: &Host,
        listener: Option<impl AsyncPushSender>,
    ) -> Result<MultiplexedConnection, Fault> {
        let broken = |error| Fault::new(Class::Broken, error);
        self.options.check_plaintext(host).map_err(broken)?;
        let mut connection = self.server.host(host, listener).await?;
        let role = connection.send_packed_command(&redis::cmd("ROLE")).await?.extract_error();
        match role.map_err(Fault::from) {
            Ok(Value::Array(role)) if !is_primary(&role) => Err(Fault::new(
                Class::Failover,
                Error::unreachable(format!(
                    "{host} is a replica; the sentinels have not agreed on a primary"
                )),
            )),
            // A user without a right to ask finds a replica out by its first write.
            Err(fault) if fault.class != Class::Denied => Err(fault),
            _ => Ok(connection),
        }
    }
}

/// A sentinel that is listened to for as long as this lives.
struct Listening {
    gone: CancellationToken,
    _connection: MultiplexedConnection,
}

impl Listening {
    async fn cancelled(&self) {
        self.gone.cancelled().await;
    }
}

/// No listener.
const NOBODY: Option<fn(PushInfo) -> Result<(), Error>> = None;

fn replaced() -> Fault {
    Fault::new(Class::Failover, Error::unreachable("the sentinels have chosen another primary"))
}

/// The same error, and which sentinel it is about.
fn named(sentinel: &Host, error: &Error) -> Error {
    let text = format!("sentinel {sentinel}: {error}");
    match () {
        () if error.is_denied() => Error::denied(text),
        () if error.is_refused() => Error::refused(text),
        () => Error::unreachable(text),
    }
}

async fn question(connection: &mut MultiplexedConnection, primary: &str) -> Result<Host, Fault> {
    let mut question = redis::cmd("SENTINEL");
    question.arg("GET-MASTER-ADDR-BY-NAME").arg(primary);
    let reply = connection.send_packed_command(&question).await?.extract_error()?;
    let odd =
        |error| Fault::new(Class::Broken, Error::corrupt(format!("an odd sentinel: {error}")));
    let found: Option<(String, u16)> = redis::from_redis_value(reply).map_err(odd)?;
    // Transient: a sentinel that was just started does not know it yet.
    found.map(|(name, port)| Host { name, port }).ok_or_else(|| {
        Fault::new(Class::Transient, Error::unreachable(format!("it knows no primary {primary:?}")))
    })
}

fn is_primary(role: &[Value]) -> bool {
    match role.first() {
        Some(Value::BulkString(word)) => word == b"master",
        Some(Value::SimpleString(word)) => word == "master",
        _ => false,
    }
}
