//! The reference broker: plain maps behind a mutex, and obviously right.
//!
//! It answers as the contract says, and where the contract leaves a choice it accepts the choice of the
//! broker it is compared with (`dequeue_as`, `reclaim_as`, `advance_as`). With the feature `failpoints` it can carry
//! the same faults as a real broker, so that the suite is tried on it before any other exists.

mod acts;
mod advance;
mod book;
mod enqueue;
mod entries;
mod gather;
mod locks;
mod notes;
mod permit;
mod session;
mod settings;
mod sweep;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::ready;
use oncue::broker::*;
use oncue::clock::{Clock, Timestamp};
use oncue::envelope::{Envelope, Stored};
use oncue::queue::QueueName;
use oncue::state::State;
use oncue::task::TaskId;
use oncue::{Error, Result};
use tokio::sync::watch;

pub use advance::First;
pub use book::Book;
pub use session::Standing;

#[cfg(feature = "failpoints")]
pub type Fault = oncue::broker::Mutant;
/// Without the feature there is no fault to have.
#[cfg(not(feature = "failpoints"))]
#[derive(Clone, Copy)]
pub enum Fault {}

/// Whether these books carry this fault.
#[cfg(feature = "failpoints")]
macro_rules! faulty {
    ($book:expr, $fault:ident) => {
        $book.fault == Some(oncue::broker::Mutant::$fault)
    };
}
#[cfg(not(feature = "failpoints"))]
macro_rules! faulty {
    ($book:expr, $fault:ident) => {
        $book.fault.is_some()
    };
}
use faulty;

pub struct Model {
    clock: Arc<dyn Clock>,
    fault: Option<Fault>,
    books: Mutex<BTreeMap<QueueName, Book>>,
    keys: Mutex<BTreeMap<u32, [u8; 8]>>,
    workers: Mutex<BTreeMap<WorkerId, Present>>,
    wakes: [watch::Sender<u64>; 5],
}

impl Model {
    pub fn new(clock: Arc<dyn Clock>, fault: Option<Fault>) -> Self {
        let wakes = [(); 5].map(|()| watch::Sender::new(0));
        Self {
            clock,
            fault,
            books: Mutex::default(),
            keys: Mutex::default(),
            workers: Mutex::default(),
            wakes,
        }
    }

    fn books(&self) -> MutexGuard<'_, BTreeMap<QueueName, Book>> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the books of one queue; every call is one atomic step.
    pub fn at<T>(&self, queue: &QueueName, act: impl FnOnce(&mut Book) -> T) -> T {
        let mut books = self.books();
        let book = books.entry(queue.clone()).or_insert_with(|| Book::new(self.fault));
        book.now = self.clock.now();
        book.drop_released();
        let answer = act(book);
        book.drop_released();
        book.drop_empty();
        answer
    }

    /// A wake-up too many is allowed, one too few is not: so every change wakes everybody.
    fn woken<T: Send + 'static>(&self, result: Result<T>) -> Reply<T> {
        if result.is_ok() {
            self.wakes.iter().for_each(|wake| wake.send_modify(|mark| *mark += 1));
        }
        ready(result).boxed()
    }
}

impl Broker for Model {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn enqueue(&self, batch: Batch) -> Reply<Vec<Enqueued>> {
        self.woken(self.at(&batch.queue, |book| book.enqueue(&batch)))
    }

    fn dequeue(&self, ask: Ask) -> Reply<Vec<Claim>> {
        ready(self.at(&ask.session.queue, |book| book.dequeue_as(&ask, None))).boxed()
    }

    fn settle(&self, session: Session, settlements: Vec<Settlement>) -> Reply<Vec<Settled>> {
        self.woken(self.at(&session.queue, |book| book.settle(session.id, &settlements)))
    }

    fn retire(&self, session: Session, known: Vec<TaskId>) -> Reply<usize> {
        self.woken(Ok(self.at(&session.queue, |book| book.retire(session.id, &known))))
    }

    fn advance(&self, queue: QueueName, limit: usize) -> Reply<Advanced> {
        self.woken(self.at(&queue, |book| book.advance(limit)))
    }

    fn reclaim(&self, sweep: Sweep) -> Reply<Vec<Claim>> {
        self.woken(self.at(&sweep.session.queue, |book| book.reclaim_as(&sweep, None)))
    }

    fn beat(&self, beat: Beat) -> Reply<Beaten> {
        let gone =
            |session: &&Session| !self.at(&session.queue, |b| b.beat(session.id, beat.lease));
        let mut beaten = Beaten::default();
        beaten.lost = beat.sessions.iter().filter(gone).map(|session| session.id).collect();
        if let Some(presence) = beat.presence {
            beaten.orders = self.report(presence);
        }
        let alive = |session: &&Session| !beaten.lost.contains(&session.id);
        for session in beat.sessions.iter().filter(alive) {
            beaten.orders.cancel.extend(self.at(&session.queue, |book| book.doomed(session.id)));
        }
        ready(Ok(beaten)).boxed()
    }

    fn wait(&self, wake: Wake, seen: Option<u64>) -> Reply<u64> {
        let mut marks = self.wakes[wake as usize].subscribe();
        async move {
            let news = |mark: &u64| seen.is_none_or(|seen| *mark > seen);
            let mark =
                marks.wait_for(news).await.map_err(|_| Error::closed("the model is gone"))?;
            Ok(*mark)
        }
        .boxed()
    }
}

impl Inspect for Model {
    fn queues(&self) -> Reply<Vec<QueueName>> {
        let books = self.books();
        let made = books.iter().filter(|(_, book)| book.made);
        ready(Ok(made.map(|(queue, _)| queue.clone()).collect())).boxed()
    }

    fn groups(&self, queue: QueueName) -> Reply<Vec<Gathering>> {
        ready(Ok(self.at(&queue, |book| book.groups()))).boxed()
    }

    fn holder(&self, queue: QueueName, names: Vec<LockName>) -> Reply<Option<TaskId>> {
        ready(Ok(self.at(&queue, |book| book.holder(&names)))).boxed()
    }

    fn stats(&self) -> Reply<Vec<QueueStats>> {
        let books = self.books();
        ready(Ok(books.iter().map(|(queue, book)| book.stats(queue.clone())).collect())).boxed()
    }

    fn list(&self, page: Page) -> Reply<Listing> {
        ready(self.at(&page.queue, |book| list(book, &page))).boxed()
    }

    fn show(&self, queue: QueueName, id: TaskId) -> Reply<Option<TaskView>> {
        ready(Ok(self.at(&queue, |book| book.show(id)))).boxed()
    }

    fn check_keys(&self, checks: Vec<(u32, [u8; 8])>) -> Reply<()> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let differs = |(id, check): &(u32, [u8; 8])| keys.get(id).is_some_and(|seen| seen != check);
        let wrong = checks.iter().any(differs);
        if !wrong {
            keys.extend(checks);
        }
        let verdict =
            if wrong { Err(Error::wrong_key("another key under this id")) } else { Ok(()) };
        ready(verdict).boxed()
    }
}

impl Model {
    fn workers(&self) -> MutexGuard<'_, BTreeMap<WorkerId, Present>> {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.retain(|_, present| present.until > self.clock.now());
        workers
    }

    fn report(&self, presence: Presence) -> Orders {
        let Presence { worker, about, lasts } = presence;
        let until = self.clock.now().plus(lasts);
        let mut workers = self.workers();
        let orders = workers.get(&worker).map(|present| present.orders.clone());
        let orders = orders.unwrap_or_default();
        workers.insert(worker, Present { worker, about, until, orders: orders.clone() });
        orders
    }
}

impl Annotate for Model {
    fn note(&self, session: Session, notes: Vec<Note>) -> Reply<Vec<Settled>> {
        self.woken(self.at(&session.queue, |book| book.note(session.id, &notes)))
    }

    fn notes(&self, queue: QueueName, id: TaskId) -> Reply<Vec<(Slot, Kept)>> {
        ready(Ok(self.at(&queue, |book| book.notes(id)))).boxed()
    }
}

impl Timetable for Model {
    fn entries(&self) -> Reply<Vec<Entry>> {
        let books = self.books();
        ready(Ok(books.values().flat_map(|book| book.entries.values().cloned()).collect())).boxed()
    }

    fn write_entry(&self, queue: QueueName, name: String, body: Vec<u8>, seen: u64) -> Reply<bool> {
        self.woken(self.at(&queue, |book| book.write_entry(&queue, &name, &body, seen)))
    }

    fn remove_entry(&self, queue: QueueName, name: String) -> Reply<bool> {
        let gone = self.at(&queue, |book| book.entries.remove(&name).is_some());
        self.woken(Ok(gone))
    }
}

impl Operate for Model {
    fn act(&self, queue: QueueName, id: TaskId, act: Act) -> Reply<Acted> {
        self.woken(Ok(self.at(&queue, |book| book.act(id, act))))
    }

    fn replace(&self, seen: Stored, envelope: Envelope) -> Reply<Acted> {
        let queue = &envelope.header().queue;
        let checked = acts::check_replace(&seen, &envelope);
        self.woken(checked.and_then(|()| self.at(queue, |book| book.replace(&seen, &envelope))))
    }

    fn cancel(&self, queue: QueueName, id: TaskId) -> Reply<Cancelled> {
        self.woken(Ok(self.at(&queue, |book| book.cancel(id))))
    }

    fn set(&self, queue: QueueName, setting: Setting) -> Reply<()> {
        self.woken(self.at(&queue, |book| book.set(setting)))
    }

    fn workers(&self) -> Reply<Vec<Present>> {
        let mut all: Vec<_> = self.workers().values().cloned().collect();
        all.sort_by_key(|present| present.about.started);
        ready(Ok(all)).boxed()
    }

    fn signal(&self, worker: WorkerId, signal: Signal) -> Reply<bool> {
        let mut workers = self.workers();
        let Some(Present { orders, .. }) = workers.get_mut(&worker) else {
            return ready(Ok(false)).boxed();
        };
        match signal {
            Signal::Quiet => orders.quiet = true,
            Signal::Stop => orders.stop = true,
            Signal::Restart(kind) => {
                match orders.restart.iter().position(|(known, _)| *known == kind) {
                    Some(at) => orders.restart[at].1 += 1,
                    None if orders.restart.len() == RESTARTS_MAX => {
                        return ready(Err(Error::too_large("too many kinds"))).boxed();
                    }
                    None => orders.restart.push((kind, 1)),
                }
                orders.restart.sort();
            }
        }
        drop(workers);
        self.woken(Ok(true))
    }
}

/// The cursor is the sort key of the last row shown: rows that come and go move no others.
fn list(book: &Book, page: &Page) -> Result<Listing> {
    if !(1..=1_000).contains(&page.rows) {
        return Err(Error::invalid("ask for 1 to 1000 rows"));
    }
    let after = page.cursor.as_deref().map(parse_cursor).transpose()?;
    let mut keys = book.sorted(page.state);
    keys.retain(|key| after.is_none_or(|after| *key > after));
    let more = keys.len() > page.rows;
    keys.truncate(page.rows);
    let cursor = keys.last().filter(|_| more).map(|(age, id)| format!("{age}/{id}"));
    Ok(Listing { tasks: keys.iter().filter_map(|(_, id)| book.show(*id)).collect(), cursor })
}

fn parse_cursor(text: &str) -> Result<(u64, TaskId)> {
    let bad = || Error::invalid("not a cursor");
    let (age, id) = text.split_once('/').ok_or_else(bad)?;
    Ok((age.parse().map_err(|_| bad())?, id.parse()?))
}

/// Where a task is, with what only that state knows.
pub fn state_of(place: &book::Place) -> State {
    match place {
        book::Place::Scheduled(_) => State::Scheduled,
        book::Place::Pending => State::Pending,
        book::Place::Active(_) => State::Active,
        book::Place::Retry(_) => State::Retry,
        book::Place::Completed { .. } => State::Completed,
        book::Place::Archived(..) => State::Archived,
        book::Place::Aggregating(_) => State::Aggregating,
    }
}
