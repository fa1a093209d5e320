//! A broker between the runtime and a real one, whose verbs a test can take over.

use std::sync::Arc;

use oncue::broker::*;
use oncue::clock::Timestamp;
use oncue::envelope::{Envelope, Stored};
use oncue::queue::QueueName;
use oncue::task::TaskId;

/// What a test does in place of a verb; it may hand the call on.
type Hook<A, T> = Box<dyn Fn(&Arc<dyn Operate>, A) -> Reply<T> + Send + Sync>;

/// Hands every call on, unless told otherwise.
pub struct Proxy {
    pub inner: Arc<dyn Operate>,
    pub enqueue: Hook<Batch, Vec<Enqueued>>,
    pub dequeue: Hook<Ask, Vec<Claim>>,
    pub settle: Hook<(Session, Vec<Settlement>), Vec<Settled>>,
    pub retire: Hook<(Session, Vec<TaskId>), usize>,
    pub beat: Hook<Beat, Beaten>,
    pub advance: Hook<(QueueName, usize), Advanced>,
    pub reclaim: Hook<Sweep, Vec<Claim>>,
    pub wait: Hook<(Wake, Option<u64>), u64>,
    pub note: Hook<(Session, Vec<Note>), Vec<Settled>>,
    pub show: Hook<(QueueName, TaskId), Option<TaskView>>,
    /// Finds every key good, without a look at the broker.
    pub trusting: bool,
}

impl Proxy {
    pub fn of(inner: Arc<dyn Operate>) -> Self {
        Self {
            inner,
            enqueue: Box::new(|inner, batch| inner.enqueue(batch)),
            dequeue: Box::new(|inner, ask| inner.dequeue(ask)),
            settle: Box::new(|inner, (session, settlements)| inner.settle(session, settlements)),
            retire: Box::new(|inner, (session, known)| inner.retire(session, known)),
            beat: Box::new(|inner, beat| inner.beat(beat)),
            advance: Box::new(|inner, (queue, limit)| inner.advance(queue, limit)),
            reclaim: Box::new(|inner, sweep| inner.reclaim(sweep)),
            wait: Box::new(|inner, (wake, seen)| inner.wait(wake, seen)),
            note: Box::new(|inner, (session, notes)| inner.note(session, notes)),
            show: Box::new(|inner, (queue, id)| inner.show(queue, id)),
            trusting: false,
        }
    }

    /// A worker starts on it without waiting.
    pub fn at_once(inner: Arc<dyn Operate>) -> Self {
        Self { trusting: true, ..Self::of(inner) }
    }
}

impl Broker for Proxy {
    fn now(&self) -> Timestamp {
        self.inner.now()
    }
    fn enqueue(&self, batch: Batch) -> Reply<Vec<Enqueued>> {
        (self.enqueue)(&self.inner, batch)
    }
    fn dequeue(&self, ask: Ask) -> Reply<Vec<Claim>> {
        (self.dequeue)(&self.inner, ask)
    }
    fn settle(&self, session: Session, settlements: Vec<Settlement>) -> Reply<Vec<Settled>> {
        (self.settle)(&self.inner, (session, settlements))
    }
    fn retire(&self, session: Session, known: Vec<TaskId>) -> Reply<usize> {
        (self.retire)(&self.inner, (session, known))
    }
    fn advance(&self, queue: QueueName, limit: usize) -> Reply<Advanced> {
        (self.advance)(&self.inner, (queue, limit))
    }
    fn reclaim(&self, sweep: Sweep) -> Reply<Vec<Claim>> {
        (self.reclaim)(&self.inner, sweep)
    }
    fn beat(&self, beat: Beat) -> Reply<Beaten> {
        (self.beat)(&self.inner, beat)
    }
    fn wait(&self, wake: Wake, seen: Option<u64>) -> Reply<u64> {
        (self.wait)(&self.inner, (wake, seen))
    }
}

impl Annotate for Proxy {
    fn note(&self, session: Session, notes: Vec<Note>) -> Reply<Vec<Settled>> {
        (self.note)(&self.inner, (session, notes))
    }

    fn notes(&self, queue: QueueName, id: TaskId) -> Reply<Vec<(Slot, Kept)>> {
        self.inner.notes(queue, id)
    }
}

impl Timetable for Proxy {
    fn entries(&self) -> Reply<Vec<Entry>> {
        self.inner.entries()
    }

    fn write_entry(&self, queue: QueueName, name: String, body: Vec<u8>, seen: u64) -> Reply<bool> {
        self.inner.write_entry(queue, name, body, seen)
    }

    fn remove_entry(&self, queue: QueueName, name: String) -> Reply<bool> {
        self.inner.remove_entry(queue, name)
    }
}

impl Operate for Proxy {
    fn act(&self, queue: QueueName, id: TaskId, act: Act) -> Reply<Acted> {
        self.inner.act(queue, id, act)
    }

    fn replace(&self, seen: Stored, envelope: Envelope) -> Reply<Acted> {
        self.inner.replace(seen, envelope)
    }

    fn cancel(&self, queue: QueueName, id: TaskId) -> Reply<Cancelled> {
        self.inner.cancel(queue, id)
    }
    fn set(&self, queue: QueueName, setting: Setting) -> Reply<()> {
        self.inner.set(queue, setting)
    }
    fn workers(&self) -> Reply<Vec<Present>> {
        self.inner.workers()
    }
    fn signal(&self, worker: WorkerId, signal: Signal) -> Reply<bool> {
        self.inner.signal(worker, signal)
    }
}

impl Inspect for Proxy {
    fn queues(&self) -> Reply<Vec<QueueName>> {
        self.inner.queues()
    }

    fn groups(&self, queue: QueueName) -> Reply<Vec<Gathering>> {
        self.inner.groups(queue)
    }

    fn holder(&self, queue: QueueName, names: Vec<LockName>) -> Reply<Option<TaskId>> {
        self.inner.holder(queue, names)
    }

    fn stats(&self) -> Reply<Vec<QueueStats>> {
        self.inner.stats()
    }
    fn list(&self, page: Page) -> Reply<Listing> {
        self.inner.list(page)
    }
    fn show(&self, queue: QueueName, id: TaskId) -> Reply<Option<TaskView>> {
        (self.show)(&self.inner, (queue, id))
    }
    fn check_keys(&self, checks: Vec<(u32, [u8; 8])>) -> Reply<()> {
        match self.trusting {
            true => Box::pin(std::future::ready(Ok(()))),
            false => self.inner.check_keys(checks),
        }
    }
}
