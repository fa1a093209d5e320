//! The task of a tick: an entry's template opened, and sealed anew as a task of its own.

use crate::broker::{Conflict, Hold, Lock, LockName, NewTask};
use crate::clock::Timestamp;
use crate::envelope::Header;
use crate::error::{Error, Result};
use crate::queue::QueueName;
use crate::seal::Sealer;
use crate::task::{Due, TaskId};

use super::{Plan, Runs};

/// The header by which a run knows the entry it comes from.
pub const ENTRY_HEADER: &str = "oncue-entry";
/// The header by which a run knows its tick: the time it was due by the schedule, in RFC 3339. Not there if a person said
/// run now.
pub const TICK_HEADER: &str = "oncue-tick";

/// The task of this tick, the same whoever makes it.
pub(crate) fn tick(
    sealer: &Sealer,
    (queue, name): (&QueueName, &str),
    plan: &Plan,
    at: Timestamp,
    now: Timestamp,
) -> Result<NewTask> {
    let id = sealer.derive_tick(queue, name, at.0)?;
    let due = plan.schedule.jittered(name, at);
    // By the broker's own clock, of which ours may be ahead.
    let task = make(sealer, (queue, name), plan, id, Some(at), now.max(due), now)?;
    Ok(NewTask { due: Due::At(due), ..task })
}

/// A task at once that belongs to no tick.
pub(crate) fn run_now(
    sealer: &Sealer,
    (queue, name): (&QueueName, &str),
    plan: &Plan,
    now: Timestamp,
) -> Result<NewTask> {
    make(sealer, (queue, name), plan, TaskId::fresh(), None, now, now)
}

fn make(
    sealer: &Sealer,
    (queue, name): (&QueueName, &str),
    plan: &Plan,
    id: TaskId,
    tick: Option<Timestamp>,
    due: Timestamp,
    now: Timestamp,
) -> Result<NewTask> {
    let mut opened = sealer.open_template((queue, name), &plan.header, &plan.sealed)?;
    let header = plan.header()?;
    if header.queue != *queue || header.codec != opened.codec {
        return Err(Error::tampered("a template with the header of another"));
    }
    if plan.group.as_ref().map(|group| &group.name) != header.group.as_ref() {
        return Err(Error::tampered("an entry with the group of another"));
    }
    opened.headers.push((ENTRY_HEADER.to_owned(), name.to_owned()));
    opened.headers.extend(tick.map(|tick| (TICK_HEADER.to_owned(), tick.to_string())));
    let names = match plan.runs {
        Runs::Allow => None,
        Runs::Skip | Runs::Queue => Some(sealer.derive_runs(queue, name)?),
    };
    let lock = names.map(|names| Lock {
        names: names.into_iter().map(LockName).collect(),
        hold: Hold::UntilEnd,
        lasts: None,
        conflict: Conflict::Keep,
        within: None,
    });
    let header = Header {
        created: now,
        expires: header.expires.map(|wait| due.plus(wait.since(Timestamp(0)))),
        unique: lock.as_ref().map_or(0, |lock| lock.hold.code()),
        ..header
    };
    let envelope = sealer.batch(1)?.envelope(id, header, &opened.headers, &opened.body)?;
    let (front, lock, group) = (plan.front, lock.map(Box::new), plan.group.clone().map(Box::new));
    Ok(NewTask { front, lock, group, ..NewTask::new(envelope, Due::Now) })
}
