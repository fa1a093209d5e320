//! The embedded broker: one SQLite file, shared by many processes, or a database in memory.
//!
//! [`SqliteBroker`] is a handle; the work is done by threads of its own: a writer with group commit,
//! a second one for beats, two readers, and a watchman for what other processes do. They
//! end with the last handle. It needs no runtime. Each verb has a file; `txn` is what they all work in.

mod act;
mod advance;
mod concurrency;
mod dequeue;
mod enqueue;
mod fault;
mod file;
mod forget;
mod found;
mod gathering;
mod group;
mod inspect;
mod keep;
mod line;
mod lock;
mod note;
mod open;
mod operate;
mod options;
mod place;
mod precedence;
mod presence;
mod reader;
mod reclaim;
mod retire;
mod room;
mod schema;
mod session;
mod setting;
mod settle;
mod task;
#[cfg(test)]
mod tests;
mod timetable;
mod txn;
mod wake;
mod writer;

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rusqlite::Connection;

pub use options::{Durability, Location, Options};

use super::check;
use super::marks::Marks;
use super::{
    Act, Acted, Advanced, Annotate, Ask, Batch, Beat, Beaten, Broker, Cancelled, Claim, Enqueued,
    Entry, Gathering, Inspect, Kept, Listing, LockName, Note, Operate, Page, Present, QueueStats,
    Reply, Session, Setting, Settled, Settlement, Signal, Slot, Sweep, TaskView, Timetable, Wake,
    WorkerId,
};
use crate::clock::Timestamp;
use crate::envelope::{Envelope, Stored};
use crate::error::{Error, Result};
use crate::queue::QueueName;
use crate::task::TaskId;
use fault::Step;
use file::Anchor;
use open::{Use, connect};
use reader::Readers;
use txn::Desk;
use wake::Watchman;
use writer::{Closing, Haste, Mailbox, Writer};

/// How a database in memory is called in messages.
const IN_MEMORY: &str = "the queue in memory";

/// Keeps tasks in SQLite. Clones share everything; the last one to go closes the database.
#[derive(Clone)]
pub struct SqliteBroker(Arc<Inner>);

struct Inner {
    options: Options,
    anchor: Option<Anchor>,
    created: bool,
    marks: std::sync::Weak<Marks>,
    /// Started by the first wait. None in memory, where there are no others.
    watchman: OnceLock<Option<Watchman>>,
    writer: Mailbox,
    /// The writer itself, in memory.
    beats: Mailbox,
    /// None in memory.
    readers: Option<Readers>,
    /// Last: waits for those above.
    _closing: Closing,
}

impl std::fmt::Debug for SqliteBroker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteBroker").field("options", &self.0.options).finish_non_exhaustive()
    }
}

impl SqliteBroker {
    /// Opens a database and starts its threads. Blocks, shortly: unless another process holds the file.
    ///
    /// A missing file [`is_not_found`](Error::is_not_found) unless it may be created; one that is not
    /// ours or damaged [`is_corrupt`](Error::is_corrupt), one of a later version
    /// [`is_newer`](Error::is_newer), a read-only one or one on a network
    /// [`is_refused`](Error::is_refused).
    pub fn open(options: Options) -> Result<Self> {
        open::check_version()?;
        let (anchor, made) = match &options.location {
            Location::Memory => (None, true),
            Location::File(path) => {
                let (path, made) = file::find(path, options.create)?;
                (Some(Anchor::of(path)?), made)
            }
        };
        let path = anchor.as_ref().map(Anchor::path);
        let name: Arc<str> =
            path.map_or(IN_MEMORY.into(), |path| path.display().to_string().into());
        let conn = connect(path, Use::Write, &name)?;
        let create = options.create || made;
        if path.is_some() {
            // Before anything is written: a file of another program stays as it is.
            schema::check(&conn, &name, create).map_err(|halt| halt.into_error(&name))?;
            open::use_wal(&conn, &name)?;
        }
        // Not `made`: whoever made the file may have died before it was more than that.
        let created =
            schema::prepare(&conn, &name, create).map_err(|halt| halt.into_error(&name))?;
        path.into_iter().for_each(file::check_mode);
        Self::start(options, anchor, created, conn, name)
    }

    fn start(
        options: Options,
        anchor: Option<Anchor>,
        created: bool,
        conn: Connection,
        name: Arc<str>,
    ) -> Result<Self> {
        let marks = Arc::new(Marks::new());
        let weak = Arc::downgrade(&marks);
        let precedence = Arc::default();
        let make = |conn, marks| Writer {
            conn,
            desk: Desk::new(&options),
            durability: options.durability,
            anchor: anchor.clone(),
            name: name.clone(),
            marks,
            precedence: Arc::clone(&precedence),
            planned: options.planned.clone(),
        };
        let path = anchor.as_ref().map(Anchor::path);
        let (open, closing) = Closing::new();
        let writer = make(conn, Some(marks)).start("oncue-writer", open.clone())?;
        let (beats, readers) = match path {
            None => (writer.clone(), None),
            Some(path) => {
                let conn = connect(Some(path), Use::Beat, &name)?;
                let beats = make(conn, None).start("oncue-beats", open)?;
                (beats, Some(Readers::start(path, name.clone(), options.planned.clone())?))
            }
        };
        let watchman = OnceLock::new();
        Ok(Self(Arc::new(Inner {
            options,
            anchor,
            created,
            marks: weak,
            watchman,
            writer,
            beats,
            readers,
            _closing: closing,
        })))
    }

    /// Whether this open made the queue: the file, or what was an empty one. Of several at once one did.
    pub fn created(&self) -> bool {
        self.0.created
    }

    /// The full path of the file; none in memory.
    pub fn path(&self) -> Option<&Path> {
        self.0.anchor.as_ref().map(Anchor::path)
    }

    fn watchman(&self, marks: &Arc<Marks>) -> Option<&Watchman> {
        let start = || {
            self.0.anchor.as_ref()?;
            // Without a thread there are still the own commits, and whoever waits looks now and then.
            Watchman::start(marks, self.0.writer.knocker(), self.0.options.planned.clone()).ok()
        };
        self.0.watchman.get_or_init(start).as_ref()
    }

    fn read<T: Send + 'static>(
        &self,
        body: impl Fn(&Connection) -> Step<T> + Send + 'static,
    ) -> Reply<T> {
        match &self.0.readers {
            Some(readers) => readers.call(body),
            None => self.0.writer.call(Haste::Look, move |tx| body(tx.conn).map(Some)),
        }
    }
}

/// An answer that needs no thread.
fn ready<T: Send + 'static>(answer: Result<T>) -> Reply<T> {
    Box::pin(std::future::ready(answer))
}

impl Broker for SqliteBroker {
    fn now(&self) -> Timestamp {
        self.0.options.clock.now()
    }

    fn enqueue(&self, batch: Batch) -> Reply<Vec<Enqueued>> {
        if let Err(error) = enqueue::check(&batch) {
            #[cfg(feature = "failpoints")]
            if error.is_too_large() && self.0.options.mutant == Some(super::Mutant::HalfBatch) {
                return self.enqueue_half(batch, error);
            }
            return ready(Err(error));
        }
        if batch.tasks.is_empty() && batch.tick.is_none() {
            return ready(Ok(Vec::new()));
        }
        self.0.writer.call(Haste::Hard, move |tx| enqueue::enqueue(tx, &batch))
    }

    fn dequeue(&self, ask: Ask) -> Reply<Vec<Claim>> {
        if let Err(error) = check::ask(&ask) {
            return ready(Err(error));
        }
        self.0.writer.call(Haste::Look, move |tx| dequeue::dequeue(tx, &ask))
    }

    fn settle(&self, session: Session, settlements: Vec<Settlement>) -> Reply<Vec<Settled>> {
        let entries = match check::settlements(settlements) {
            Ok(entries) => entries,
            Err(error) => return ready(Err(error)),
        };
        self.0.writer.call(Haste::Hard, move |tx| settle::settle(tx, &session, &entries))
    }

    fn retire(&self, session: Session, known: Vec<TaskId>) -> Reply<usize> {
        let known: HashSet<TaskId> = known.into_iter().collect();
        self.0.writer.call(Haste::Soft, move |tx| retire::retire(tx, &session, &known))
    }

    fn advance(&self, queue: QueueName, limit: usize) -> Reply<Advanced> {
        self.0.writer.call(Haste::Look, move |tx| advance::advance(tx, &queue, limit))
    }

    fn reclaim(&self, sweep: Sweep) -> Reply<Vec<Claim>> {
        if let Err(error) = check::sweep(&sweep) {
            return ready(Err(error));
        }
        self.0.writer.call(Haste::Look, move |tx| reclaim::reclaim(tx, &sweep))
    }

    fn beat(&self, beat: Beat) -> Reply<Beaten> {
        if beat.sessions.is_empty() && beat.presence.is_none() {
            return ready(Ok(Beaten::default()));
        }
        self.0.beats.call(Haste::Soft, move |tx| presence::beat(tx, &beat))
    }

    fn wait(&self, wake: Wake, seen: Option<u64>) -> Reply<u64> {
        match self.0.marks.upgrade() {
            Some(marks) => wake::wait(&marks, self.watchman(&marks), wake, seen),
            None => ready(Err(Error::closed("the SQLite broker was closed"))),
        }
    }
}

impl Inspect for SqliteBroker {
    fn queues(&self) -> Reply<Vec<QueueName>> {
        self.read(inspect::queues)
    }

    fn groups(&self, queue: QueueName) -> Reply<Vec<Gathering>> {
        self.read(move |conn| gathering::list(conn, &queue))
    }

    fn holder(&self, queue: QueueName, names: Vec<LockName>) -> Reply<Option<TaskId>> {
        if let Err(error) = lock::check(&names) {
            return ready(Err(error));
        }
        let clock = self.0.options.clock.clone();
        self.read(move |conn| lock::holder(conn, &queue, &names, clock.now()))
    }

    fn stats(&self) -> Reply<Vec<QueueStats>> {
        self.read(inspect::stats)
    }

    fn list(&self, page: Page) -> Reply<Listing> {
        if let Err(error) = check::rows(page.rows) {
            return ready(Err(error));
        }
        self.read(move |conn| inspect::list(conn, &page))
    }

    fn show(&self, queue: QueueName, id: TaskId) -> Reply<Option<TaskView>> {
        self.read(move |conn| inspect::show(conn, &queue, id))
    }

    fn check_keys(&self, checks: Vec<(u32, [u8; 8])>) -> Reply<()> {
        self.0.writer.call(Haste::Look, move |tx| inspect::check_keys(tx, &checks))
    }
}

impl Annotate for SqliteBroker {
    fn note(&self, session: Session, notes: Vec<Note>) -> Reply<Vec<Settled>> {
        if let Err(error) = check::notes(&notes) {
            return ready(Err(error));
        }
        // Whether an effect is done cannot be found out again.
        let lasts = notes.iter().any(|note| note.slot == Slot::Effects);
        let haste = if lasts { Haste::Hard } else { Haste::Soft };
        self.0.writer.call(haste, move |tx| note::note(tx, &session, &notes))
    }

    fn notes(&self, queue: QueueName, id: TaskId) -> Reply<Vec<(Slot, Kept)>> {
        self.read(move |conn| note::notes(conn, &queue, id))
    }
}

impl Timetable for SqliteBroker {
    fn entries(&self) -> Reply<Vec<Entry>> {
        self.read(timetable::entries)
    }

    fn write_entry(&self, queue: QueueName, name: String, body: Vec<u8>, seen: u64) -> Reply<bool> {
        if let Err(error) = check::entry(&name, &body) {
            return ready(Err(error));
        }
        self.0.writer.call(Haste::Hard, move |tx| timetable::write(tx, &queue, &name, &body, seen))
    }

    fn remove_entry(&self, queue: QueueName, name: String) -> Reply<bool> {
        self.0.writer.call(Haste::Hard, move |tx| timetable::remove(tx, &queue, &name))
    }
}

impl Operate for SqliteBroker {
    fn act(&self, queue: QueueName, id: TaskId, act: Act) -> Reply<Acted> {
        self.0.writer.call(Haste::Hard, move |tx| act::act(tx, &queue, id, act))
    }

    fn replace(&self, seen: Stored, envelope: Envelope) -> Reply<Acted> {
        if let Err(error) = check::replacement(&seen, &envelope) {
            return ready(Err(error));
        }
        self.0.writer.call(Haste::Hard, move |tx| act::replace(tx, &seen, &envelope))
    }

    fn cancel(&self, queue: QueueName, id: TaskId) -> Reply<Cancelled> {
        self.0.writer.call(Haste::Hard, move |tx| operate::cancel(tx, &queue, id))
    }

    fn set(&self, queue: QueueName, setting: Setting) -> Reply<()> {
        self.0.writer.call(Haste::Hard, move |tx| setting::set(tx, &queue, &setting))
    }

    fn workers(&self) -> Reply<Vec<Present>> {
        let clock = self.0.options.clock.clone();
        self.read(move |conn| presence::workers(conn, clock.now()))
    }

    fn signal(&self, worker: WorkerId, signal: Signal) -> Reply<bool> {
        self.0.writer.call(Haste::Hard, move |tx| presence::signal(tx, worker, &signal))
    }
}

#[cfg(feature = "failpoints")]
impl SqliteBroker {
    /// Stores the first task of a batch that is refused.
    fn enqueue_half(&self, mut batch: Batch, error: Error) -> Reply<Vec<Enqueued>> {
        batch.tasks = batch.tasks.iter().take(1).cloned().collect();
        let stored = self.0.writer.call(Haste::Hard, move |tx| enqueue::enqueue(tx, &batch));
        Box::pin(async move {
            stored.await?;
            Err(error)
        })
    }
}
