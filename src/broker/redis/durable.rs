//! What Redis really keeps: replicas that are waited for, and what a crash would cost.
//!
//! Nothing here makes Redis consistent: a confirmed task is on so many machines, and is lost if a failover
//! picks another. See <https://redis.io/docs/latest/commands/wait/>.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redis::{Cmd, Value};

use super::fault::{Class, Fault};
use super::keys::QueueKeys;
use super::link::Conn;
use super::options::Options;
use super::{Inner, enqueue, io::Io, reply};
use crate::broker::Batch;
use crate::error::{Error, Result};

/// Waits until so many replicas have a batch that was stored.
///
/// `WAIT` waits for what its own connection wrote, and blocks it: so it has one of its own, and writes there. The
/// batch is sent there once more: if that is another primary meanwhile, it may not have it.
pub(super) async fn confirm(broker: Arc<Inner>, batch: Batch) -> Result<()> {
    let keys = QueueKeys::new(&broker.options.namespace, &batch.queue);
    let replicas = batch.replicas;
    let reply = broker.replicas()?.run({
        let broker = broker.clone();
        async move {
            let timeout = broker.options.replica_timeout;
            let link = &broker.replicas()?.link;
            let again = enqueue::repeat(&broker, &keys.records(), &batch);
            Ok(link.replicated(again, &keys.of("w"), replicas, timeout).await?)
        }
    });
    let confirmed = reply.await?;
    if confirmed >= u64::from(replicas) {
        return Ok(());
    }
    Err(Error::not_durable(format!(
        "stored, but {confirmed} of {replicas} replicas confirmed it in time; it may run all the same, and \
         sending the same batch again asks again"
    )))
}

impl Inner {
    /// The connection that waits for replicas; made when first needed.
    fn replicas(&self) -> Result<&Io> {
        if let Some(io) = self.replicas.get() {
            return Ok(io);
        }
        let greeting: super::link::Greeting = Arc::new(|_| Box::pin(async { Ok(()) }));
        let io = Io::start("oncue-replicas", self.options.clone(), greeting, Arc::new(|_| {}))?;
        // Another call may have been first; its connection is the one.
        Ok(self.replicas.get_or_init(|| io))
    }
}

/// Says once what a crash of the server would cost, and refuses a server that throws tasks away.
pub(super) async fn probe(
    conn: &mut Conn,
    options: &Options,
    told: &AtomicBool,
) -> Result<(), Fault> {
    let mut info = Cmd::new();
    info.arg("INFO").arg("persistence").arg("replication").arg("memory");
    let text = match conn.ask(&info).await {
        Ok(Value::BulkString(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
        Ok(Value::VerbatimString { text, .. }) => text,
        // Several servers, or one that does not say.
        Ok(_) => return Ok(()),
        Err(fault) if fault.class == Class::Denied => {
            if !told.swap(true, Ordering::Relaxed) {
                tracing::info!("this user may not ask Redis (INFO) what a crash would cost");
            }
            return Ok(());
        }
        Err(fault) => return Err(fault),
    };
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().trim().to_owned()
    };
    let (policy, limit) = (field("maxmemory_policy"), field("maxmemory"));
    let evicts = !policy.is_empty() && policy != "noeviction" && limit != "0";
    if evicts && !options.eviction_allowed {
        return Err(Fault::new(
            Class::Broken,
            Error::refused(format!(
                "this Redis evicts keys when its memory is full (maxmemory-policy {policy}), and tasks with them; \
                 set noeviction, or allow it in words by `insecure=eviction`"
            )),
        ));
    }
    if !told.swap(true, Ordering::Relaxed) {
        let (aof, replicas) = (field("aof_enabled") == "1", field("connected_slaves"));
        let window = if aof {
            "what its appendfsync allows, by default the last second, two if the disk is busy"
        } else {
            "all since its last snapshot, or everything: it has no append-only file"
        };
        if aof {
            tracing::info!(%replicas, evicts, lost_by_a_crash = window, "how durable this Redis is");
        } else {
            tracing::warn!(%replicas, evicts, lost_by_a_crash = window, "how durable this Redis is");
        }
    }
    Ok(())
}

/// The commands of one confirmation, in one pipeline to one node.
pub(super) fn ask_replicas(
    again: Cmd,
    key: &str,
    replicas: u8,
    timeout: std::time::Duration,
) -> [Cmd; 3] {
    let (mut write, mut wait) = (Cmd::new(), Cmd::new());
    write.arg("SET").arg(key).arg(1).arg("PX").arg(60_000);
    wait.arg("WAIT").arg(replicas).arg(super::ms(timeout));
    [again, write, wait]
}

/// How many replicas confirmed.
pub(super) fn confirmed(replies: Vec<Value>) -> Result<u64> {
    let last = replies.into_iter().next_back();
    reply::count(&last.ok_or_else(|| Error::corrupt("Redis answered nothing to WAIT"))?)
}
