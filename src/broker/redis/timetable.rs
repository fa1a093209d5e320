//! The timetable: entries of queues, written if they are as they were seen, read name by name.

use std::sync::Arc;

use redis::Cmd;

use super::inspect;
use super::{Inner, reply};
use crate::broker::marks::only;
use crate::broker::{ENTRIES_MAX, ENTRY_BYTES_MAX, Entry, Tick, Wake, check_name};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::queue::QueueName;
use crate::task::TaskId;

/// Most entries asked for in one call: 4 MiB of bodies.
const ENTRIES_STEP: usize = 4 * 1024 * 1024 / ENTRY_BYTES_MAX;

/// Every entry, by queue and name.
pub(super) async fn entries(broker: Arc<Inner>) -> Result<Vec<Entry>> {
    let mut all = Vec::new();
    for queue in inspect::queues(&broker).await? {
        all.extend(of_queue(&broker, queue).await?);
    }
    Ok(all)
}

async fn of_queue(broker: &Inner, queue: QueueName) -> Result<Vec<Entry>> {
    let keys = broker.keys(&queue);
    let mut fetch = Cmd::new();
    fetch.arg("HKEYS").arg(keys.of("cr"));
    let mut names = Vec::new();
    for name in reply::array(broker.io.link.call(&fetch).await?)? {
        // What is no name was not written by us.
        let name = String::from_utf8(reply::bytes(name)?).ok();
        names.extend(name.filter(|name| check_name(name).is_ok()));
    }
    names.sort();
    names.truncate(ENTRIES_MAX);
    let mut all = Vec::new();
    for some in names.chunks(ENTRIES_STEP) {
        let mut call = broker.library.call_ro("entries", &keys.records());
        call.arg(some);
        broker.stamp(&mut call);
        let mut told = reply::array(broker.io.link.call(&call).await?)?.into_iter();
        for name in some {
            let (Some(entry), Some(ticks)) = (told.next(), told.next()) else {
                return Err(Error::corrupt("Redis answered half a timetable"));
            };
            let (entry, ticks) = (reply::bytes(entry)?, reply::bytes(ticks)?);
            all.extend(read(&queue, name, &entry, &ticks));
        }
    }
    Ok(all)
}

/// An entry as `lua/tick.lua` tells; none if it is gone meanwhile, or was not written by us.
fn read(queue: &QueueName, name: &str, entry: &[u8], ticks: &[u8]) -> Option<Entry> {
    let (version, body) = entry.split_first_chunk()?;
    let (last, latest) = ticks.split_first_chunk()?;
    let (latest, _) = latest.as_chunks::<24>();
    let tick = |tick: &[u8; 24]| {
        let (at, id) = tick.split_first_chunk()?;
        Some((Timestamp(u64::from_be_bytes(*at)), TaskId::from_bytes(id.try_into().ok()?)))
    };
    Some(Entry {
        queue: queue.clone(),
        name: name.to_owned(),
        body: body.to_vec(),
        version: u64::from_be_bytes(*version),
        last: Timestamp(u64::from_be_bytes(*last)),
        ticks: latest.iter().filter_map(tick).collect(),
    })
}

/// Writes what is in an entry, if its version is `seen`.
pub(super) async fn write(
    broker: Arc<Inner>,
    queue: QueueName,
    name: String,
    body: Vec<u8>,
    seen: u64,
) -> Result<bool> {
    broker.register(&queue).await?;
    let mut call = broker.library.call("write_entry", &broker.keys(&queue).records());
    call.arg(name).arg(&seen.to_be_bytes()[..]).arg(body).arg(ENTRIES_MAX);
    change(&broker, call).await
}

/// Removes an entry.
pub(super) async fn remove(broker: Arc<Inner>, queue: QueueName, name: String) -> Result<bool> {
    let mut call = broker.library.call("remove_entry", &broker.keys(&queue).records());
    call.arg(name);
    change(&broker, call).await
}

async fn change(broker: &Inner, mut call: Cmd) -> Result<bool> {
    broker.stamp(&mut call);
    let changed = reply::integer(&broker.io.link.call(&call).await?)? == 1;
    if changed {
        broker.marks.bump(only(Wake::Due));
    }
    Ok(changed)
}

/// A tick as `lua/tick.lua` compares it.
pub(super) fn tick(tick: Option<&Tick>) -> Vec<u8> {
    let Some(Tick { entry, version, last, at }) = tick else { return Vec::new() };
    let numbers = [*version, last.0, at.0].map(u64::to_be_bytes);
    [&numbers.concat()[..], entry.as_bytes()].concat()
}
