//! What can be checked of a call before a broker is asked: sizes, and what fits together.

use super::{
    Ask, BATCH_BYTES_MAX, BATCH_TASKS_MAX, Batch, CLAIMS_MAX, ENTRY_BYTES_MAX, LOCK_NAMES_MAX,
    Lock, NOTE_BYTES_MAX, NewTask, Note, PAGE_ROWS_MAX, SWEEP_MAX, Settlement, Sweep, Tick,
    check_name,
};
use crate::envelope::{Envelope, Header, PRIORITY_MAX, Stored};
use crate::error::{Error, Result};
use crate::task::Group;

/// A batch: of one queue, within its limits.
pub(crate) fn batch(batch: &Batch) -> Result<()> {
    if let Some(tick) = &batch.tick {
        self::tick(tick)?;
    }
    for NewTask { envelope, lock, group, front, .. } in batch.tasks.iter() {
        if let Some(lock) = lock {
            self::lock(lock)?;
        }
        let header = envelope.header();
        self::group(header, group.as_deref(), *front)?;
        if header.queue != batch.queue {
            return Err(Error::invalid(format!(
                "a task for queue {} in a batch for queue {}; one queue a batch",
                header.queue, batch.queue
            )));
        }
        if header.priority > PRIORITY_MAX {
            return Err(Error::invalid(format!(
                "priority {}; use 0 to {PRIORITY_MAX}",
                header.priority
            )));
        }
    }
    let (tasks, bytes) = (
        batch.tasks.len(),
        batch.tasks.iter().map(|task| task.envelope.record_len()).sum::<usize>(),
    );
    if tasks > BATCH_TASKS_MAX || bytes > BATCH_BYTES_MAX {
        return Err(Error::too_large(format!(
            "a batch of {tasks} tasks and {bytes} bytes; at most {BATCH_TASKS_MAX} and {BATCH_BYTES_MAX}: send several"
        )));
    }
    Ok(())
}

/// A record in place of another: of the same task, which goes where the other went.
pub(crate) fn replacement(seen: &Stored, envelope: &Envelope) -> Result<()> {
    let (old, new) = (seen.header()?, envelope.header());
    let stays = |header: &Header| {
        (
            header.kind.clone(),
            header.queue.clone(),
            header.priority,
            header.class,
            header.group.clone(),
        )
    };
    if seen.id() == envelope.id() && stays(&old) == stays(new) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "the new record of task {} is of another id, kind, queue, priority, class or group; enqueue a new task instead",
        seen.id()
    )))
}

/// A tick that can be compared.
fn tick(tick: &Tick) -> Result<()> {
    if tick.at <= tick.last {
        return Err(Error::invalid("a tick must come after the last one"));
    }
    check_name(&tick.entry)
}

/// A lock that can be taken.
fn lock(lock: &Lock) -> Result<()> {
    if (1..=LOCK_NAMES_MAX).contains(&lock.names.len()) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "a lock of {} names; it has 1 to {LOCK_NAMES_MAX}, one for each index key",
        lock.names.len()
    )))
}

/// A group that can be joined: the one the header names.
fn group(header: &Header, group: Option<&Group>, front: bool) -> Result<()> {
    if header.group.as_ref() != group.map(|group| &group.name) {
        return Err(Error::invalid("a task joins the group that its header names, and no other"));
    }
    match group {
        Some(_) if front || header.priority > 0 => {
            Err(Error::invalid("a task of a group has no priority and does not go to the front"))
        }
        Some(group) => group.check(),
        None => Ok(()),
    }
}

/// How many notes, and how large.
pub(crate) fn notes(notes: &[Note]) -> Result<()> {
    if notes.len() > CLAIMS_MAX {
        return Err(Error::too_large(format!("{} notes; send at most {CLAIMS_MAX}", notes.len())));
    }
    let largest = notes.iter().map(|note| note.sealed.as_bytes().len()).max().unwrap_or_default();
    if largest > NOTE_BYTES_MAX {
        return Err(Error::too_large(format!(
            "a note of {largest} bytes; at most {NOTE_BYTES_MAX}"
        )));
    }
    Ok(())
}

/// What is to be written in the timetable.
pub(crate) fn entry(name: &str, body: &[u8]) -> Result<()> {
    if body.len() > ENTRY_BYTES_MAX {
        return Err(Error::too_large(format!(
            "an entry of {} bytes; at most {ENTRY_BYTES_MAX}",
            body.len()
        )));
    }
    check_name(name)
}

/// How much is asked for.
pub(crate) fn ask(ask: &Ask) -> Result<()> {
    if ask.max > CLAIMS_MAX {
        return Err(Error::invalid(format!("{} claims; ask for at most {CLAIMS_MAX}", ask.max)));
    }
    Ok(())
}

/// How much is swept.
pub(crate) fn sweep(sweep: &Sweep) -> Result<()> {
    if sweep.max > SWEEP_MAX {
        return Err(Error::invalid(format!("{} claims; ask for at most {SWEEP_MAX}", sweep.max)));
    }
    Ok(())
}

/// How many rows a page has.
pub(crate) fn rows(rows: usize) -> Result<()> {
    if (1..=PAGE_ROWS_MAX).contains(&rows) {
        return Ok(());
    }
    Err(Error::invalid(format!("{rows} rows; ask for 1 to {PAGE_ROWS_MAX}")))
}

/// A settlement as it is written: its trail is encoded, so that a bad one is refused before any change.
pub(crate) struct Entry {
    pub(crate) settlement: Settlement,
    /// None: unchanged; empty: there is none any more.
    pub(crate) trail: Option<Vec<u8>>,
}

/// How many settlements, and their trails.
pub(crate) fn settlements(settlements: Vec<Settlement>) -> Result<Vec<Entry>> {
    if settlements.len() > CLAIMS_MAX {
        return Err(Error::too_large(format!(
            "{} settlements; send at most {CLAIMS_MAX}",
            settlements.len()
        )));
    }
    let entry = |settlement: Settlement| {
        let trail = match &settlement.trail {
            None => None,
            Some(trail) if trail.is_empty() => Some(Vec::new()),
            Some(trail) => Some(trail.encode()?),
        };
        Ok(Entry { settlement, trail })
    };
    settlements.into_iter().map(entry).collect()
}
