//! What people do: cancel a task, pause or limit a queue, tell a worker. And how workers make themselves known.

use std::sync::Arc;

use redis::{Cmd, Value};

use super::inspect::{state_of, ticket_of};
use super::keys::namespace_key;
use super::wake::SIGNALS;
use super::{Inner, ms, reply};
use crate::broker::marks::only;
use crate::broker::{
    About, Act, Acted, Cancelled, KIND_LIMITS_MAX, Orders, Presence, Present, RESTARTS_MAX,
    Setting, Signal, Ticket, Wake, WorkerId,
};
use crate::envelope::{Envelope, Stored};
use crate::error::{Error, Result};
use crate::queue::{Kind, QueueName};
use crate::task::{Due, TaskId};

/// Most workers listed.
const WORKERS_MAX: usize = 10_000;

/// Cancels a task.
pub(super) async fn cancel(broker: Arc<Inner>, queue: QueueName, id: TaskId) -> Result<Cancelled> {
    let keys = broker.keys(&queue);
    let mut fetch = Cmd::new();
    fetch.arg("HGET").arg(keys.records()).arg(&id.as_bytes()[..]);
    let Some(record) = reply::maybe_bytes(broker.io.link.call(&fetch).await?)? else {
        return Ok(Cancelled::Missing);
    };
    let (_, ticket) = ticket_of(id, record);
    let mut call = broker.library.call("cancel", &keys.records());
    call.arg(&ticket.to_bytes()[..]);
    broker.stamp(&mut call);
    let told = reply::bytes(broker.io.link.call(&call).await?)?;
    let (answer, wake) = match &told[..] {
        b"x" => (Cancelled::Archived, Some(Wake::Settled)),
        b"a" => (Cancelled::Asked, Some(Wake::Ordered)),
        b"e" => (Cancelled::Ended, None),
        b"" => (Cancelled::Missing, None),
        _ => return Err(Error::corrupt("Redis answered a cancel with something nobody knows")),
    };
    wake.into_iter().for_each(|wake| broker.marks.bump(only(wake)));
    Ok(answer)
}

/// Does this to a task that is not active.
pub(super) async fn act(
    broker: Arc<Inner>,
    queue: QueueName,
    id: TaskId,
    act: Act,
) -> Result<Acted> {
    let keys = broker.keys(&queue);
    let mut fetch = Cmd::new();
    fetch.arg("HGET").arg(keys.records()).arg(&id.as_bytes()[..]);
    let Some(record) = reply::maybe_bytes(broker.io.link.call(&fetch).await?)? else {
        return Ok(Acted::Missing);
    };
    let (stored, ticket) = ticket_of(id, record);
    // What cannot be read is not where a ticket made up for it would say.
    stored.header()?;
    let (what, (how, ms)) = match act {
        Act::Run => ("r", ("", 0)),
        Act::Archive => ("x", ("", 0)),
        Act::Delete => ("d", ("", 0)),
        Act::Reschedule(due) => ("s", due_words(due)),
    };
    let mut call = broker.library.call("act", &keys.records());
    call.arg(&ticket.to_bytes()[..]).arg(what).arg(how).arg(ms);
    broker.stamp(&mut call);
    let told = reply::bytes(broker.io.link.call(&call).await?)?;
    // What became pending, due or gone depends on where it was.
    broker.marks.bump([true, true, true]);
    acted(&told)
}

/// A due time as functions take it.
fn due_words(due: Due) -> (&'static str, u64) {
    match due {
        Due::Now => ("", 0),
        Due::At(at) => ("at", at.0),
        Due::In(delay) => ("in", ms(delay)),
    }
}

fn acted(told: &[u8]) -> Result<Acted> {
    Ok(match told {
        b"ok" => Acted::Done,
        b"!" => Acted::Changed,
        b"" => Acted::Missing,
        state => Acted::Not(state_of(state)?),
    })
}

/// Writes another record in place of one that still is as it was seen.
pub(super) async fn replace(broker: Arc<Inner>, seen: Stored, envelope: Envelope) -> Result<Acted> {
    let keys = broker.keys(&envelope.header().queue);
    let mut call = broker.library.call("replace", &keys.records());
    call.arg(&Ticket::of(envelope.id(), envelope.header()).to_bytes()[..]);
    call.arg(record(&seen)).arg(envelope.record());
    broker.stamp(&mut call);
    acted(&reply::bytes(broker.io.link.call(&call).await?)?)
}

/// A record as it is stored.
fn record(stored: &Stored) -> Vec<u8> {
    let header = stored.header_bytes();
    [&(header.len() as u16).to_be_bytes(), header, stored.sealed()].concat()
}

/// Changes a setting of a queue.
pub(super) async fn set(broker: Arc<Inner>, queue: QueueName, setting: Setting) -> Result<()> {
    broker.register(&queue).await?;
    let number = |most: Option<u64>| most.map(|n| n.to_string()).unwrap_or_default();
    let mut call = broker.library.call("configure", &broker.keys(&queue).records());
    match &setting {
        Setting::Paused(paused) => call.arg("pause").arg(if *paused { "1" } else { "" }),
        Setting::Limit(most) => call.arg("max").arg(number(*most)),
        Setting::Bytes(most) => call.arg("bytes").arg(number(*most)),
        Setting::Concurrency(most) => call.arg("run").arg(number(*most)),
        Setting::KindConcurrency(kind, most) => {
            call.arg("kind").arg(&kind.hash().0[..]).arg(number(*most));
            call.arg(kind.as_str()).arg(KIND_LIMITS_MAX)
        }
        Setting::KeepCompleted(most) => call.arg("completed").arg(number(*most)),
        Setting::KeepArchived(most, age) => {
            call.arg("archived").arg(number(*most)).arg("age").arg(number(age.map(ms)))
        }
    };
    broker.stamp(&mut call);
    let done = reply::integer(&broker.io.link.call(&call).await?)? == 1;
    broker.marks.bump([true, true, true]);
    if done {
        return Ok(());
    }
    Err(Error::too_large(format!(
        "{KIND_LIMITS_MAX} kinds of this queue have a limit already; take one away first"
    )))
}

fn workers_key(broker: &Inner) -> String {
    namespace_key(&broker.options.namespace, "workers")
}

/// A worker says that it is there; answers what it is told.
pub(super) async fn report(broker: &Inner, presence: &Presence) -> Result<Orders> {
    let channel = namespace_key(&broker.options.namespace, SIGNALS);
    broker.interest.follow_channel(&broker.beats.link, channel);
    let mut call = broker.library.call("report", &workers_key(broker));
    call.arg(&presence.worker.0[..]).arg(ms(presence.lasts)).arg(presence.encode()?);
    broker.stamp(&mut call);
    orders(reply::array(broker.beats.link.call(&call).await?)?)
}

/// Names and how often they were told.
fn orders(told: Vec<Value>) -> Result<Orders> {
    let mut orders = Orders::default();
    let mut parts = told.into_iter();
    while let (Some(name), Some(times)) = (parts.next(), parts.next()) {
        let (name, times) = (reply::bytes(name)?, reply::count(&times)?);
        match &name[..] {
            b"quiet" => orders.quiet = true,
            b"stop" => orders.stop = true,
            [b'r', b':', kind @ ..] => {
                let kind = std::str::from_utf8(kind).ok().and_then(|kind| Kind::parse(kind).ok());
                orders.restart.extend(kind.map(|kind| (kind, times)));
            }
            // Of a later version.
            _ => {}
        }
    }
    orders.restart.sort();
    Ok(orders)
}

/// Every worker that is there.
pub(super) async fn workers(broker: Arc<Inner>) -> Result<Vec<Present>> {
    let mut call = broker.library.call_ro("workers", &workers_key(&broker));
    call.arg(WORKERS_MAX);
    broker.stamp(&mut call);
    let mut all = Vec::new();
    for row in reply::array(broker.io.link.call(&call).await?)? {
        let [worker, until, about, told] = reply::parts(row)?;
        // What is no id of a worker was not written by us.
        let Ok(worker) = reply::bytes(worker)?.try_into() else { continue };
        let until = reply::time(&until)?.unwrap_or_default();
        let about = About::decode(&reply::bytes(about)?);
        all.push(Present {
            worker: WorkerId(worker),
            about,
            until,
            orders: orders(reply::array(told)?)?,
        });
    }
    all.sort_by_key(|present| (present.about.started, present.worker));
    Ok(all)
}

/// Tells a worker; false if it is not there.
pub(super) async fn signal(broker: Arc<Inner>, worker: WorkerId, signal: Signal) -> Result<bool> {
    let name = match &signal {
        Signal::Quiet => "quiet".to_owned(),
        Signal::Stop => "stop".to_owned(),
        Signal::Restart(kind) => format!("r:{kind}"),
    };
    let mut call = broker.library.call("signal", &workers_key(&broker));
    // Beside the kinds there are two other orders.
    call.arg(&worker.0[..]).arg(name).arg(RESTARTS_MAX + 2);
    broker.stamp(&mut call);
    match reply::integer(&broker.io.link.call(&call).await?)? {
        -1 => Err(Error::too_large(format!(
            "this worker was told to restart {RESTARTS_MAX} kinds; stop it and start another"
        ))),
        told => {
            broker.marks.bump(only(Wake::Ordered));
            Ok(told == 1)
        }
    }
}
