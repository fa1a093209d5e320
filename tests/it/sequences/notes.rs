//! What runs leave beside their tasks in a history.

use oncue::broker::*;
use oncue::seal::Purpose;
use oncue::task::TaskId;

use super::run::{Run, Verdict, agree, coded};
use crate::fixture::*;

impl Run {
    pub fn note_held(&mut self, pick: usize, notes: &[(usize, Slot)]) -> Verdict {
        let session = self.any_session(pick);
        let held = self.book(|book| book.held(session.id));
        let certain = self.book(|book| book.is_certain(session.id));
        if held.is_empty() || !certain {
            return Ok(());
        }
        let mut written = Vec::new();
        for (pick, slot) in notes {
            let id = held[pick % held.len()];
            if let Some(at) = self.claims.iter().rposition(|claim| claim.id() == id) {
                written.push(self.seal_note(at, *slot));
            }
        }
        self.note(&session, &written)
    }

    /// As with a settle: whether a ticket of an earlier claim is good for a later one is open.
    pub fn stray_note(&mut self, pick: usize, ticket: usize, slot: Slot) -> Verdict {
        let session = self.any_session(pick);
        let Some(at) = ticket.checked_rem(self.claims.len()) else { return Ok(()) };
        let note = self.seal_note(at, slot);
        if self.is_stray_certain(&session, at) { self.note(&session, &[note]) } else { Ok(()) }
    }

    fn seal_note(&mut self, claim: usize, slot: Slot) -> Note {
        self.serial += 1;
        let (claim, text) = (&self.claims[claim], self.serial.to_string());
        let attempt = claim.trail.attempts + 1;
        let sealed = blob_of(claim, Purpose::Progress, attempt, text.as_bytes());
        Note { ticket: claim.ticket, slot, attempt, sealed }
    }

    fn note(&mut self, session: &Session, notes: &[Note]) -> Verdict {
        let theirs = coded(run(self.bench.broker.note(session.clone(), notes.to_vec())));
        let ours = coded(run(self.model.note(session.clone(), notes.to_vec())));
        agree("note", &theirs, &ours)?;
        self.refused = theirs.is_err();
        notes.iter().try_for_each(|note| self.compare_notes(note.ticket.id))
    }

    pub fn compare_notes(&self, id: TaskId) -> Verdict {
        let queue = self.bench.queue.clone();
        let theirs = coded(run(self.bench.broker.notes(queue.clone(), id)));
        agree("notes", &theirs, &coded(run(self.model.notes(queue, id))))
    }
}
