//! Notes: a row for each slot of a task, written by whoever holds the task.

use rusqlite::{Connection, params};

use super::fault::Step;
use super::inspect;
use super::session;
use super::settle::{self, Held};
use super::task::{self, NOTE};
use super::txn::Txn;
use crate::broker::{Kept, Note, Session, Settled, Slot, Wake};
use crate::queue::QueueName;
use crate::task::TaskId;

/// Rows of notes for each row of a task: no fewer than slots. Golden, as the rows are.
const ROWS: i64 = 4;

const WRITE: &str = "INSERT INTO oncue_note (row, attempt, sealed) VALUES (?1, ?2, ?3)
    ON CONFLICT (row) DO UPDATE SET attempt = excluded.attempt, sealed = excluded.sealed";
pub(super) const READ: &str = "SELECT n.row % 4, n.attempt, n.sealed FROM oncue_task t
    CROSS JOIN oncue_note n WHERE t.queue = ?1 AND t.id = ?2
    AND n.row BETWEEN t.row * 4 AND t.row * 4 + 3 ORDER BY n.row";
pub(super) const DELETE: &str = "DELETE FROM oncue_note WHERE row BETWEEN ?1 * 4 AND ?1 * 4 + 3";

/// Writes notes that were checked, each on its own.
pub(super) fn note(
    tx: &mut Txn<'_>,
    session: &Session,
    notes: &[Note],
) -> Step<Option<Vec<Settled>>> {
    let session = session::settler(tx, session)?;
    let mut find = tx.conn.prepare_cached(settle::FIND)?;
    let mut write = tx.conn.prepare_cached(WRITE)?;
    let mut answers = Vec::with_capacity(notes.len());
    for note in notes {
        let Some(held) = Held::find(tx, &mut find, &session, note.ticket.id)? else {
            answers.push(Settled::Gone);
            continue;
        };
        let row = held.row * ROWS + i64::from(note.slot.code());
        write.execute(params![row, note.attempt, note.sealed.as_bytes()])?;
        if held.marks & NOTE == 0 {
            task::mark(tx, held.row, NOTE)?;
        }
        tx.wake(Wake::Noted);
        answers.push(Settled::Done);
    }
    Ok(Some(answers))
}

/// The notes of a task.
pub(super) fn notes(conn: &Connection, queue: &QueueName, id: TaskId) -> Step<Vec<(Slot, Kept)>> {
    let Some(queue) = inspect::queue_row(conn, queue)? else { return Ok(Vec::new()) };
    let mut query = conn.prepare_cached(READ)?;
    let mut rows = query.query(params![queue, id.as_bytes()])?;
    let mut notes = Vec::new();
    while let Some(row) = rows.next()? {
        // A slot of a later version is not ours to show.
        let Some(slot) = Slot::from_code(row.get(0)?) else { continue };
        notes.push((slot, Kept { attempt: row.get(1)?, sealed: row.get(2)? }));
    }
    Ok(notes)
}
