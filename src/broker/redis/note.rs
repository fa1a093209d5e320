//! Notes: what runs leave beside their tasks, one hash field a slot.

use std::sync::Arc;

use redis::Cmd;

use super::{Inner, held, reply};
use crate::broker::marks::only;
use crate::broker::{BATCH_BYTES_MAX, Kept, NOTE_BYTES_MAX, Note, Session, Settled, Slot, Wake};
use crate::error::{Error, Result};
use crate::queue::QueueName;
use crate::task::TaskId;

/// Most notes in one call: 4 MiB.
const NOTES_STEP: usize = BATCH_BYTES_MAX / NOTE_BYTES_MAX;

/// Writes notes that were checked.
pub(super) async fn note(
    broker: Arc<Inner>,
    session: Session,
    notes: Vec<Note>,
) -> Result<Vec<Settled>> {
    let keys = broker.keys(&session.queue);
    let mut answers = Vec::with_capacity(notes.len());
    // An empty call tells whether the session is dead, too.
    for some in notes.chunks(NOTES_STEP).chain(notes.is_empty().then_some(&[][..])) {
        let mut call = broker.library.call("note", &keys.records());
        call.arg(&session.id.0[..]);
        for Note { ticket, slot, attempt, sealed } in some {
            let held = [&held::field(ticket)[..], ticket.id.as_bytes()].concat();
            let kept = [&attempt.to_be_bytes()[..], sealed.as_bytes()].concat();
            call.arg(held).arg(slot.code()).arg(kept);
        }
        broker.stamp(&mut call);
        let told = reply::bytes(broker.io.link.call(&call).await?)?;
        if told.len() != some.len() {
            return Err(Error::corrupt("Redis answered notes of another number"));
        }
        let answer = |flag: &u8| if *flag == b'1' { Settled::Done } else { Settled::Gone };
        answers.extend(told.iter().map(answer));
    }
    broker.marks.bump(only(Wake::Noted));
    Ok(answers)
}

/// The notes of a task.
pub(super) async fn notes(
    broker: Arc<Inner>,
    queue: QueueName,
    id: TaskId,
) -> Result<Vec<(Slot, Kept)>> {
    let keys = broker.keys(&queue);
    broker.interest.touch(&broker.beats.link, &keys);
    let mut fetch = Cmd::new();
    fetch.arg("HMGET").arg(keys.of("nt"));
    for slot in Slot::ALL {
        fetch.arg([&id.as_bytes()[..], &[slot.code()]].concat());
    }
    let mut notes = Vec::new();
    for (slot, found) in Slot::ALL.iter().zip(reply::array(broker.io.link.call(&fetch).await?)?) {
        let found = reply::maybe_bytes(found)?.unwrap_or_default();
        // What is shorter was not written by us.
        if let Some((attempt, sealed)) = found.split_first_chunk() {
            let attempt = u32::from_be_bytes(*attempt);
            notes.push((*slot, Kept { attempt, sealed: sealed.to_vec() }));
        }
    }
    Ok(notes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_functions_know_every_slot() {
        let task = include_str!("lua/task.lua");
        assert!(task.contains(&format!("\nlocal SLOTS = {}\n", Slot::ALL.len())));
    }
}
