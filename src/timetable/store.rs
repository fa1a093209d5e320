//! Writing entries: always by compare and swap, so that nobody's change is lost, and nothing that says the same again.

use crate::broker::Operate;
use crate::clock::Timestamp;
use crate::error::{Error, Result, suggestion};
use crate::queue::QueueName;
use crate::seal::Sealer;

use super::{Entry, Listed, Origin, Plan};

/// How often a write is tried anew that somebody else came before.
const TRIES_MAX: usize = 8;

/// What a put did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// There was none.
    Made,
    /// There was another.
    Changed,
    /// It is there already, and was not written.
    Same,
    /// A newer version of oncue wrote it, so it was left as it is.
    Newer,
}

/// Puts an entry in place of what is there under its name. That stays paused if it is.
pub(crate) async fn put(
    broker: &dyn Operate,
    sealer: &Sealer,
    entry: &Entry,
    origin: Origin,
) -> Result<Put> {
    for _ in 0..TRIES_MAX {
        let mut plan = entry.seal(sealer, origin)?;
        let there = broker.entries().await?;
        let there = there.into_iter().find(|there| at(there) == (entry.queue(), entry.name()));
        let (seen, did) = match there.map(Listed::new) {
            None => (0, Put::Made),
            Some(listed) => {
                match listed.plan() {
                    Ok(old) if is_same(&listed, old, entry, &plan, sealer)? => {
                        return Ok(Put::Same);
                    }
                    Ok(old) => follow(&mut plan, old, broker.now()),
                    Err(error) if error.is_newer() => return Ok(Put::Newer),
                    Err(_) => plan.since = broker.now(),
                }
                (listed.version, Put::Changed)
            }
        };
        if write(broker, entry.queue(), entry.name(), &plan, seen).await? {
            return Ok(did);
        }
    }
    Err(busy(entry.name()))
}

/// Changes an entry that is there. Needs the key; its name and queue stay.
pub(crate) async fn edit(
    broker: &dyn Operate,
    sealer: &Sealer,
    queue: Option<&QueueName>,
    name: &str,
    mut change: impl FnMut(Entry) -> Result<Entry>,
) -> Result<()> {
    for _ in 0..TRIES_MAX {
        let listed = find(broker, queue, name).await?;
        let entry = change(Entry::open(&listed, sealer)?)?;
        if (entry.queue(), entry.name()) != (&listed.queue, &listed.name[..]) {
            return Err(Error::invalid("an entry keeps its name and queue; make another"));
        }
        let old = listed.plan().map_err(Error::replicate)?;
        let mut plan = entry.seal(sealer, old.origin)?;
        follow(&mut plan, old, broker.now());
        if write(broker, &listed.queue, name, &plan, listed.version).await? {
            return Ok(());
        }
    }
    Err(busy(name))
}

/// Pauses an entry or lets it go on; false if it was so already. Ticks that came while it was paused are not caught up
/// with. Needs no key.
pub(crate) async fn pause(
    broker: &dyn Operate,
    queue: Option<&QueueName>,
    name: &str,
    paused: bool,
) -> Result<bool> {
    for _ in 0..TRIES_MAX {
        let listed = find(broker, queue, name).await?;
        let plan = listed.plan().map_err(Error::replicate)?;
        if plan.paused == paused {
            return Ok(false);
        }
        let plan = Plan { paused, since: plan.since.max(broker.now()), ..plan.clone() };
        if write(broker, &listed.queue, name, &plan, listed.version).await? {
            return Ok(true);
        }
    }
    Err(busy(name))
}

/// The entry of this name, in this queue or in the one queue that has it.
pub(crate) async fn find(
    broker: &dyn Operate,
    queue: Option<&QueueName>,
    name: &str,
) -> Result<Listed> {
    let all = broker.entries().await?;
    let hint = suggestion(name, all.iter().map(|entry| &entry.name[..]));
    let is_meant = |entry: &crate::broker::Entry| {
        entry.name == name && queue.is_none_or(|queue| *queue == entry.queue)
    };
    let mut found: Vec<_> = all.into_iter().filter(is_meant).collect();
    match (found.pop(), found.pop()) {
        (Some(entry), None) => Ok(Listed::new(entry)),
        (Some(one), Some(other)) => Err(Error::invalid(format!(
            "there is an entry {name:?} in the queues {} and {}; name the queue",
            other.queue, one.queue
        ))),
        (None, _) => Err(Error::not_found(format!("there is no entry {name:?}{hint}"))),
    }
}

fn at(entry: &crate::broker::Entry) -> (&QueueName, &str) {
    (&entry.queue, &entry.name)
}

/// What people did to an entry outlives what it says; another schedule begins now, and ticks for no time before.
fn follow(plan: &mut Plan, old: &Plan, now: Timestamp) {
    plan.paused = old.paused;
    plan.since = if plan.ticks_like(old) { old.since } else { now };
}

/// Whether nothing would change: not the key either, so that a rotation reaches every entry.
fn is_same(
    listed: &Listed,
    old: &Plan,
    entry: &Entry,
    plan: &Plan,
    sealer: &Sealer,
) -> Result<bool> {
    let key = |plan: &Plan| crate::seal::key_id(&plan.sealed);
    if !plan.says_like(old)? || key(plan) != key(old) {
        return Ok(false);
    }
    Ok(Entry::open(listed, sealer).is_ok_and(|old| old.carries_like(entry)))
}

async fn write(
    broker: &dyn Operate,
    queue: &QueueName,
    name: &str,
    plan: &Plan,
    seen: u64,
) -> Result<bool> {
    broker.write_entry(queue.clone(), name.to_owned(), plan.encode()?, seen).await
}

fn busy(name: &str) -> Error {
    Error::unreachable(format!("entry {name:?} is changed by others all the time; try again"))
}
