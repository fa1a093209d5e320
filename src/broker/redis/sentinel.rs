//! Sentinels: who the primary is at this moment.
//!
//! Asked anew for every connection, in turn; one that was replaced and does not know it yet is found out by
//! its role. The library's own client does not follow a failover.

use redis::aio::MultiplexedConnection;
use redis::{PushInfo, Value};

use super::address::Host;
use super::dial::Dial;
use super::fault::{Class, Fault};
use super::options::Options;
use crate::error::Error;

/// Connects to the primary the sentinels name; answers the host too. `sentinel` is how to reach the
/// sentinels, `server` the servers.
pub(super) async fn connect<L: redis::aio::AsyncPushSender + Clone>(
    options: &Options,
    (sentinels, primary): (&[Host], &str),
    (sentinel, server): (&Dial, &Dial),
    listener: L,
) -> Result<(MultiplexedConnection, Host), Fault> {
    let mut last = None;
    for host in sentinels {
        let found = match ask(host, primary, sentinel).await {
            Ok(found) => found,
            Err(fault) => {
                tracing::debug!(sentinel = %host, error = %fault.error, "a sentinel did not help");
                last = Some(Fault::new(fault.class, named(host, &fault.error)));
                continue;
            }
        };
        options.check_plaintext(&found).map_err(|error| Fault::new(Class::Broken, error))?;
        match reach(&found, server, listener.clone()).await {
            Ok(connection) => return Ok((connection, found)),
            // Another sentinel knows no better password.
            Err(fault) if fault.class == Class::Auth => return Err(fault),
            Err(fault) => last = Some(fault),
        }
    }
    Err(last.unwrap_or_else(|| Fault::new(Class::Broken, Error::invalid("no sentinel is named"))))
}

/// The same error, and which sentinel it is about.
fn named(host: &Host, error: &Error) -> Error {
    let text = format!("sentinel {host}: {error}");
    match () {
        () if error.is_denied() => Error::denied(text),
        () if error.is_refused() => Error::refused(text),
        () if error.is_not_found() => Error::not_found(text),
        () => Error::unreachable(text),
    }
}

async fn ask(host: &Host, primary: &str, dial: &Dial) -> Result<Host, Fault> {
    let no_listener = None::<fn(PushInfo) -> Result<(), Error>>;
    let mut connection = dial.host(host, no_listener).await?;
    let mut question = redis::cmd("SENTINEL");
    question.arg("GET-MASTER-ADDR-BY-NAME").arg(primary);
    let reply = connection.send_packed_command(&question).await?.extract_error()?;
    let found: Option<(String, u16)> = redis::from_redis_value(reply).map_err(|error| {
        Fault::new(Class::Broken, Error::corrupt(format!("an odd sentinel: {error}")))
    })?;
    // It may be on its way: a sentinel that was just started, or another one's primary.
    found.map(|(name, port)| Host { name, port }).ok_or_else(|| {
        Fault::new(Class::Transient, Error::unreachable(format!("it knows no primary {primary:?}")))
    })
}

async fn reach(
    host: &Host,
    dial: &Dial,
    listener: impl redis::aio::AsyncPushSender,
) -> Result<MultiplexedConnection, Fault> {
    let mut connection = dial.host(host, Some(listener)).await?;
    let role = connection.send_packed_command(&redis::cmd("ROLE")).await?.extract_error();
    match role.map_err(Fault::from) {
        Ok(Value::Array(role)) if !is_primary(&role) => Err(Fault::new(
            Class::Failover,
            Error::unreachable(format!(
                "{host} was the primary; the sentinels have not agreed on another"
            )),
        )),
        // A user without a right to ask finds a replica out by its first write.
        Err(fault) if fault.class != Class::Denied => Err(fault),
        _ => Ok(connection),
    }
}

fn is_primary(role: &[Value]) -> bool {
    matches!(role.first(), Some(Value::BulkString(word)) if word == b"master")
        || matches!(role.first(), Some(Value::SimpleString(word)) if word == "master")
}
