//! A cluster: the library keeps the map of slots and the connections to the nodes; redirections are followed
//! here.
//!
//! The library would follow them itself, but by the same setting it would also repeat what was cut off, and a
//! repeated dequeue claims twice. So it repeats nothing, and here only what a node refused to run is sent on.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{
    MultipleNodeRoutingInfo, Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr,
};
use redis::{Arg, Cmd, ErrorKind, Pipeline, ProtocolVersion, RedisError, ServerErrorKind, Value};

use super::address::Host;
use super::conn::Life;
use super::dial::{CONNECT_TIME_MAX, Dial, socket};
use super::fault::{Class, Fault};
use crate::error::Error;

/// Most redirections of one call.
const HOPS_MAX: usize = 5;
/// How long the library may take to learn where a slot went.
const MAP_TIME: Duration = Duration::from_millis(50);
/// Most commands on their way to one node at once.
const WINDOW: usize = 256;

/// Connects to all nodes, by those named.
pub(super) async fn connect(
    nodes: &[Host],
    dial: &Dial,
    listener: impl redis::aio::AsyncPushSender,
) -> Result<ClusterConnection, Fault> {
    let infos = nodes.iter().map(|node| dial.info(node)).collect::<Result<Vec<_>, _>>()?;
    let mut builder = ClusterClientBuilder::new(infos)
        .use_protocol(ProtocolVersion::RESP3)
        .connection_timeout(CONNECT_TIME_MAX)
        .response_timeout(dial.response_timeout)
        .overall_response_timeout(Some(dial.response_timeout))
        .connection_concurrency_limit(WINDOW)
        .tcp_settings(socket())
        .retries(0)
        .push_sender(listener);
    if let Some(tls) = &dial.tls {
        builder = builder.certs(tls.clone());
    }
    let connecting = async { builder.build()?.get_async_connection().await };
    match tokio::time::timeout(CONNECT_TIME_MAX * 2, connecting).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => match Fault::from(error) {
            fault if fault.class.passes() => Err(refusal(nodes, dial).await.unwrap_or(fault)),
            fault => Err(fault),
        },
        Err(_) => {
            Err(Fault::new(Class::Ambiguous, Error::unreachable("the cluster does not answer")))
        }
    }
}

/// Why a node that was reached refuses us, if one does: a certificate, a password. The library tells of all nodes in
/// one text, and calls all of it unreachable.
async fn refusal(nodes: &[Host], dial: &Dial) -> Option<Fault> {
    let nobody = None::<fn(redis::PushInfo) -> Result<(), Error>>;
    let asked = nodes.iter().map(|node| dial.host(node, nobody));
    let answers = futures::future::join_all(asked).await;
    answers.into_iter().filter_map(Result::err).find(|fault| !fault.class.passes())
}

/// Where a node sends us for a slot.
struct Redirection {
    ask: bool,
    node: SingleNodeRoutingInfo,
}

/// Reads a `MOVED` or `ASK`: of a single command, or what made a transaction abort.
fn redirection(error: &RedisError) -> Option<Redirection> {
    let first =
        error.clone().into_server_errors().and_then(|all| all.first().map(|(_, e)| e.clone()));
    let error = first.map_or_else(|| error.clone(), RedisError::from);
    let ask = error.kind() == ServerErrorKind::Ask.into();
    let (address, _) = error.redirect_node()?;
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_matches(['[', ']']).to_owned();
    let node = SingleNodeRoutingInfo::ByAddress { host, port: port.parse().ok()? };
    Some(Redirection { ask, node })
}

pub(super) async fn call(wire: &mut ClusterConnection, cmd: &Cmd) -> Result<Value, Fault> {
    if is_for_all(cmd) {
        return everywhere(wire, cmd).await;
    }
    let mut reply = extracted(wire.req_packed_command(cmd).await);
    for _ in 0..HOPS_MAX {
        let Some(redirection) = reply.as_ref().err().and_then(redirection) else { break };
        reply = if redirection.ask {
            // In one piece: between the two another task's command would use up the ASKING.
            let mut pipe = redis::pipe();
            pipe.cmd("ASKING").add_command(cmd.clone());
            let replies = wire.route_pipeline(pipe, 1, 1, redirection.node).await;
            extracted(replies.map(|mut replies| replies.pop().unwrap_or(Value::Nil)))
        } else {
            let node = RoutingInfo::SingleNode(redirection.node);
            extracted(wire.route_command(cmd.clone(), node).await)
        };
        if is_unknown_node(&reply) {
            tokio::time::sleep(MAP_TIME).await;
            reply = extracted(wire.req_packed_command(cmd).await);
        }
    }
    match reply.map_err(unmoved) {
        Err(fault) if fault.class == Class::Undeployed => Err(name_node(wire, cmd, fault).await),
        reply => reply,
    }
}

/// Whether a command has no key and its answer may differ from node to node: a function called without keys,
/// and the loading of functions.
fn is_for_all(cmd: &Cmd) -> bool {
    let word = |at| match cmd.args_iter().nth(at) {
        Some(Arg::Simple(word)) => word,
        _ => &[],
    };
    match word(0) {
        b"FCALL" | b"FCALL_RO" => word(2) == b"0",
        b"FUNCTION" => word(1) == b"LOAD",
        _ => false,
    }
}

/// Sends a command to every primary that can be reached. The first error is the answer; answers that differ are
/// nil. (The library, asked whether all succeeded, looks at one of the answers.)
async fn everywhere(wire: &mut ClusterConnection, cmd: &Cmd) -> Result<Value, Fault> {
    let all = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
    let Value::Map(replies) = wire.route_command(cmd.clone(), all).await? else {
        return Err(Fault::new(
            Class::Broken,
            Error::corrupt("the answers of a cluster are no map"),
        ));
    };
    let mut common = None;
    for (node, reply) in replies {
        let node = redis::from_redis_value::<String>(node).unwrap_or_default();
        let reply = extracted(Ok(reply)).map_err(|error| match Fault::from(error) {
            fault if fault.class == Class::Undeployed => at_node(&node, &fault),
            fault => fault,
        })?;
        common = match common {
            Some(other) if other != reply => Some(Value::Nil),
            _ => Some(reply),
        };
    }
    Ok(common.unwrap_or(Value::Nil))
}

fn at_node(node: &str, fault: &Fault) -> Fault {
    Fault::new(fault.class, Error::undeployed(format!("node {node}: {}", fault.error)))
}

/// A fault; of what is still redirected after the last hop, that its node is not to be found.
fn unmoved(error: RedisError) -> Fault {
    match redirection(&error) {
        Some(_) => Fault::new(
            Class::Transient,
            Error::unreachable(format!(
                "the node of a slot cannot be reached; try again later ({error})"
            )),
        ),
        None => error.into(),
    }
}

fn extracted(reply: Result<Value, RedisError>) -> Result<Value, RedisError> {
    reply.and_then(Value::extract_error)
}

/// Whether it was sent on to a node the library has no connection to, so that it now looks for a new map.
fn is_unknown_node<T>(reply: &Result<T, RedisError>) -> bool {
    let unknown = |error: &RedisError| error.kind() == ErrorKind::ClusterConnectionNotFound;
    reply.as_ref().is_err_and(unknown)
}

/// Which node lacks our functions, if this user may ask for it.
async fn name_node(wire: &mut ClusterConnection, fcall: &Cmd, fault: Fault) -> Fault {
    // FCALL function keys key
    let Some(Arg::Simple(key)) = fcall.args_iter().nth(3) else { return fault };
    let route = SingleNodeRoutingInfo::SpecificNode(Route::with_key(key, SlotAddr::Master));
    let nodes = redis::cmd("CLUSTER").arg("NODES").to_owned();
    let ask = wire.route_command(nodes, RoutingInfo::SingleNode(route));
    let Ok(nodes) = ask.await.and_then(|nodes| Ok(redis::from_redis_value::<String>(nodes)?))
    else {
        return fault;
    };
    let myself = nodes.lines().find(|line| line.contains("myself"));
    match myself.and_then(|line| line.split([' ', '@']).nth(1)) {
        Some(node) => at_node(node, &fault),
        None => fault,
    }
}

pub(super) async fn pipe(
    wire: &mut ClusterConnection,
    pipe: &Pipeline,
    life: &Arc<Life>,
) -> Result<Vec<Value>, Fault> {
    let mut reply: Result<Vec<Value>, RedisError> = pipe.query_async(wire).await;
    for _ in 0..HOPS_MAX {
        let Some(redirection) = reply.as_ref().err().and_then(redirection) else { break };
        // The library hides which commands of a plain pipeline did run; sent again they would run twice.
        if !pipe.is_transaction() && pipe.len() > 1 {
            let error = Error::unreachable("a slot moved in the middle of a pipeline");
            return Err(Fault::new(Class::Ambiguous, error));
        }
        let moved = !redirection.ask;
        reply = redirected(wire, pipe, redirection).await;
        if is_unknown_node(&reply) {
            tokio::time::sleep(MAP_TIME).await;
            reply = pipe.query_async(wire).await;
        } else if moved {
            // The library does not learn from a transaction that a slot moved; a new connection does.
            life.end(Fault::new(
                Class::Failover,
                Error::unreachable("a slot of the cluster moved"),
            ));
        }
    }
    reply.map_err(unmoved)
}

/// Sends a pipeline to the node it was sent on to, in one piece.
async fn redirected(
    wire: &mut ClusterConnection,
    pipe: &Pipeline,
    redirection: Redirection,
) -> Result<Vec<Value>, RedisError> {
    let (mut whole, atomic) = (redis::pipe(), pipe.is_transaction());
    if redirection.ask {
        whole.cmd("ASKING");
    }
    if atomic {
        whole.cmd("MULTI");
    }
    for cmd in pipe.cmd_iter() {
        whole.add_command(cmd.clone());
    }
    if atomic {
        whole.cmd("EXEC");
    }
    let kept = if atomic { 1 } else { pipe.len() };
    let skipped = whole.len() - kept;
    let mut replies = wire.route_pipeline(whole, skipped, kept, redirection.node).await?;
    if atomic {
        replies = match extracted(Ok(replies.pop().unwrap_or(Value::Nil)))? {
            Value::Array(replies) => replies,
            _ => Vec::new(),
        };
    }
    replies.into_iter().map(Value::extract_error).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_node_to_node_goes_to_all() {
        for (line, all) in [
            ("FCALL_RO oncue_1_probe 0", true),
            ("FCALL oncue_1_push 1 key 0", false),
            ("FUNCTION LOAD REPLACE text", true),
            ("FUNCTION LIST", false),
            ("PING", false),
        ] {
            let mut cmd = Cmd::new();
            cmd.arg(line.split(' ').collect::<Vec<_>>());
            assert_eq!(is_for_all(&cmd), all, "{line}");
        }
    }

    #[test]
    fn a_redirection_is_read_wherever_it_stands() {
        let error = |line: &str| {
            let value = redis::parse_redis_value(line.as_bytes()).expect("parses");
            value.extract_error().expect_err("an error")
        };
        for (line, ask, expected) in [
            ("-ASK 7 10.0.0.1:6380\r\n", true, ("10.0.0.1", 6380)),
            ("-MOVED 7 [::1]:6380\r\n", false, ("::1", 6380)),
            ("-MOVED 7 fe80::1:6380\r\n", false, ("fe80::1", 6380)),
        ] {
            let found = redirection(&error(line)).expect(line);
            let (host, port) = (expected.0.to_owned(), expected.1);
            assert_eq!(found.ask, ask);
            assert_eq!(found.node, SingleNodeRoutingInfo::ByAddress { host, port });
        }
        assert!(redirection(&error("-TRYAGAIN later\r\n")).is_none());
        let fault = unmoved(error("-MOVED 7 10.0.0.1:6380\r\n"));
        assert!(fault.class == Class::Transient && fault.error.is_unreachable());
    }
}
