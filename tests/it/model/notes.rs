//! Notes in the model: they lie in the row of their task.

use oncue::broker::*;
use oncue::task::TaskId;
use oncue::{Error, Result};

use super::book::{Book, Place};
use super::faulty;
use super::session::Standing;

impl Book {
    pub fn note(&mut self, session: SessionId, notes: &[Note]) -> Result<Vec<Settled>> {
        let large = |note: &Note| note.sealed.as_bytes().len() > NOTE_BYTES_MAX;
        if notes.len() > CLAIMS_MAX || notes.iter().any(large) {
            return Err(Error::too_large("too many notes, or too long"));
        }
        match self.standing(session) {
            Standing::Dead => Err(Error::fenced("it was killed")),
            Standing::Unknown => Err(Error::fenced("nobody knows this session")),
            _ => Ok(notes.iter().map(|note| self.note_one(session, note)).collect()),
        }
    }

    fn note_one(&mut self, session: SessionId, note: &Note) -> Settled {
        let blind = faulty!(self, ForgetFence);
        let Some(row) = self.tasks.get_mut(&note.ticket.id) else { return Settled::Gone };
        match row.place {
            Place::Active(holder) if holder == session || blind => {}
            _ => return Settled::Gone,
        }
        let sealed = note.sealed.as_bytes().to_vec();
        row.notes.insert(note.slot, Kept { attempt: note.attempt, sealed });
        Settled::Done
    }

    pub fn notes(&self, id: TaskId) -> Vec<(Slot, Kept)> {
        let row = self.tasks.get(&id).into_iter();
        row.flat_map(|row| row.notes.iter()).map(|(slot, kept)| (*slot, kept.clone())).collect()
    }
}
