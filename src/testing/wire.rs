//! A wire: between a client or a worker of a bench and the broker. It counts, it can be cut, and it lets leases outlast
//! any jump of the clock: whoever lives would have beaten meanwhile.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::broker::*;
use crate::clock::Timestamp;
use crate::envelope::{Envelope, Stored};
use crate::error::Error;
use crate::queue::QueueName;
use crate::task::TaskId;

use super::fuse::{Moment, Phase};
use super::ground::Ground;

/// How long a session lives: longer than any time that passes on a bench.
const LEASE: Duration = Duration::from_secs(1_000 * 365 * 86_400);
/// A mark tells of the broker in its lower half, and of the clock in the upper.
const HALF: u32 = 32;

/// What a lock is held on: its queue, and its names there.
type Locked = (QueueName, Vec<LockName>);

/// How runs ended, as they were written.
#[derive(Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) completed: u64,
    pub(super) retried: u64,
    pub(super) snoozed: u64,
    pub(super) revoked: u64,
    pub(super) archived: u64,
}

impl Tally {
    pub(super) fn runs(&self) -> u64 {
        self.completed + self.retried + self.snoozed + self.revoked + self.archived
    }

    fn count(&mut self, order: &Order) {
        match order {
            Order::Complete { .. } => self.completed += 1,
            Order::Retry { .. } => self.retried += 1,
            Order::Snooze { .. } => self.snoozed += 1,
            Order::Archive { .. } => self.archived += 1,
            Order::Drop => self.revoked += 1,
            Order::Release { .. } => {}
        }
    }
}

/// What the process of a worker, or of a client, asks goes through one.
pub(super) struct Wire {
    ground: Arc<Ground>,
    /// Until when a call of a dead process hangs.
    hangs_until: &'static [Phase],
    cut: AtomicBool,
    tally: Arc<Mutex<Tally>>,
    /// Those that may hold something.
    sessions: Arc<Mutex<Vec<Session>>>,
    /// When it was last heard that a lock is held; one of an entry at most, as only a Scheduler asks.
    held: Arc<Mutex<HashMap<Locked, Timestamp>>>,
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Wire {
    /// A worker's own actors are told that they are dead, and end.
    pub(super) fn of_worker(ground: Arc<Ground>) -> Self {
        Self::new(ground, &[Phase::Burying, Phase::Whole])
    }

    /// What handlers ask by a client is not answered while their runs live: none of their code goes on after a crash.
    pub(super) fn of_client(ground: Arc<Ground>) -> Self {
        Self::new(ground, &[Phase::Whole])
    }

    fn new(ground: Arc<Ground>, hangs_until: &'static [Phase]) -> Self {
        let (cut, tally, sessions, held) = Default::default();
        Self { ground, hangs_until, cut, tally, sessions, held }
    }

    pub(super) fn tally(&self) -> Tally {
        *lock(&self.tally)
    }

    /// When who asks through here last heard that this lock is held.
    #[cfg(feature = "cron")]
    pub(super) fn heard_held(&self, queue: QueueName, names: Vec<LockName>) -> Option<Timestamp> {
        lock(&self.held).get(&(queue, names)).copied()
    }

    /// Nothing goes through any more, whatever becomes of the fuse.
    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    /// The sessions that may hold something. Whole once nobody who asked is left.
    pub(super) fn sessions(&self) -> Vec<Session> {
        lock(&self.sessions).clone()
    }

    /// A session is about to claim, and remembered at once: the claims may come when nobody is there to hear of them.
    fn claims_by(&self, session: &Session) {
        let mut sessions = lock(&self.sessions);
        if !sessions.contains(session) {
            sessions.push(session.clone());
        }
    }

    /// A call that is no step.
    fn pass<T: Send + 'static>(&self, call: impl FnOnce(&dyn Operate) -> Reply<T>) -> Reply<T> {
        self.step("", |_| false, call)
    }

    /// A call that writes: before it and after it are steps.
    fn write<T: Send + 'static>(
        &self,
        verb: &'static str,
        call: impl FnOnce(&dyn Operate) -> Reply<T>,
    ) -> Reply<T> {
        let write = self.ground.fuse.write();
        let reply = match self.ground.fuse.step(verb, Moment::Before) {
            true => self.hang(),
            false => self.step(verb, |_| true, call),
        };
        Box::pin(async move {
            let _write = write;
            reply.await
        })
    }

    /// A call after which is a step if it brought something.
    fn step<T: Send + 'static>(
        &self,
        verb: &'static str,
        brought: impl FnOnce(&T) -> bool + Send + 'static,
        call: impl FnOnce(&dyn Operate) -> Reply<T>,
    ) -> Reply<T> {
        if self.cut.load(Ordering::SeqCst) || self.ground.fuse.is_blown() {
            return self.hang();
        }
        let (reply, ground, hang) = (call(&*self.ground.broker), self.ground.clone(), self.hang());
        Box::pin(async move {
            let answer = reply.await;
            let counts = answer.as_ref().is_ok_and(brought);
            let dead = match counts {
                true => ground.fuse.step(verb, Moment::After),
                false => ground.fuse.is_blown(),
            };
            if dead {
                return hang.await;
            }
            if counts {
                ground.change();
            }
            answer
        })
    }

    /// What a dead process hears: nothing, until it is cleared away.
    fn hang<T: Send + 'static>(&self) -> Reply<T> {
        let (ground, until) = (self.ground.clone(), self.hangs_until);
        Box::pin(async move {
            ground.fuse.hang(until).await;
            Err(Error::fenced("the process of this call has crashed"))
        })
    }
}

impl Broker for Wire {
    fn now(&self) -> Timestamp {
        self.ground.broker.now()
    }

    fn enqueue(&self, batch: Batch) -> Reply<Vec<Enqueued>> {
        self.write("enqueue", |broker| broker.enqueue(batch))
    }

    fn dequeue(&self, ask: Ask) -> Reply<Vec<Claim>> {
        self.claims_by(&ask.session);
        let ask = Ask { lease: LEASE, ..ask };
        self.step("dequeue", |claims: &Vec<_>| !claims.is_empty(), |broker| broker.dequeue(ask))
    }

    fn settle(&self, session: Session, settlements: Vec<Settlement>) -> Reply<Vec<Settled>> {
        let tally = self.tally.clone();
        self.write("settle", move |broker| {
            let orders: Vec<_> = settlements.iter().map(|one| one.order.clone()).collect();
            let reply = broker.settle(session, settlements);
            Box::pin(async move {
                let settled = reply.await?;
                let done = orders.iter().zip(&settled).filter(|(_, how)| **how == Settled::Done);
                done.for_each(|(order, _)| lock(&tally).count(order));
                Ok(settled)
            })
        })
    }

    fn retire(&self, session: Session, known: Vec<TaskId>) -> Reply<usize> {
        self.pass(|broker| broker.retire(session, known))
    }

    /// No step: the bench does it, too, and which of them comes first is chance.
    fn advance(&self, queue: QueueName, limit: usize) -> Reply<Advanced> {
        self.pass(|broker| broker.advance(queue, limit))
    }

    /// Sessions on a bench expire because they were ended: no gap in the sweeps means anything.
    fn reclaim(&self, sweep: Sweep) -> Reply<Vec<Claim>> {
        let (session, sessions) = (sweep.session.clone(), self.sessions.clone());
        self.claims_by(&session);
        let sweep = Sweep { lease: LEASE, gap: Duration::ZERO, ..sweep };
        let brought = move |claims: &Vec<Claim>| {
            // One that found nothing is never used again, and there are many.
            if claims.is_empty() {
                lock(&sessions).retain(|known| *known != session);
            }
            !claims.is_empty()
        };
        self.step("reclaim", brought, |broker| broker.reclaim(sweep))
    }

    fn beat(&self, beat: Beat) -> Reply<Beaten> {
        self.pass(|broker| broker.beat(Beat { lease: LEASE, ..beat }))
    }

    /// A clock that was moved wakes, too.
    fn wait(&self, wake: Wake, seen: Option<u64>) -> Reply<u64> {
        let mut moves = self.ground.moves();
        let broker = self.ground.broker.clone();
        self.pass(move |_| {
            Box::pin(async move {
                let mask = (1 << HALF) - 1;
                let Some(seen) = seen else {
                    let mark = broker.wait(wake, None).await?;
                    return Ok(*moves.borrow() << HALF | mark & mask);
                };
                let mark = tokio::select! {
                    mark = broker.wait(wake, Some(seen & mask)) => mark?,
                    _ = moves.wait_for(|moves| moves << HALF != seen & !mask) => seen,
                };
                Ok(*moves.borrow() << HALF | mark & mask)
            })
        })
    }
}

impl Annotate for Wire {
    fn note(&self, session: Session, notes: Vec<Note>) -> Reply<Vec<Settled>> {
        self.write("note", |broker| broker.note(session, notes))
    }

    fn notes(&self, queue: QueueName, id: TaskId) -> Reply<Vec<(Slot, Kept)>> {
        self.pass(|broker| broker.notes(queue, id))
    }
}

impl Timetable for Wire {
    fn entries(&self) -> Reply<Vec<Entry>> {
        self.pass(|broker| broker.entries())
    }

    fn write_entry(&self, queue: QueueName, name: String, body: Vec<u8>, seen: u64) -> Reply<bool> {
        self.write("write entry", |broker| broker.write_entry(queue, name, body, seen))
    }

    fn remove_entry(&self, queue: QueueName, name: String) -> Reply<bool> {
        self.write("remove entry", |broker| broker.remove_entry(queue, name))
    }
}

impl Operate for Wire {
    fn act(&self, queue: QueueName, id: TaskId, act: Act) -> Reply<Acted> {
        self.write("act", |broker| broker.act(queue, id, act))
    }

    fn replace(&self, seen: Stored, envelope: Envelope) -> Reply<Acted> {
        self.write("replace", |broker| broker.replace(seen, envelope))
    }

    fn cancel(&self, queue: QueueName, id: TaskId) -> Reply<Cancelled> {
        self.write("cancel", |broker| broker.cancel(queue, id))
    }

    fn set(&self, queue: QueueName, setting: Setting) -> Reply<()> {
        self.write("set", |broker| broker.set(queue, setting))
    }

    fn workers(&self) -> Reply<Vec<Present>> {
        self.pass(|broker| broker.workers())
    }

    fn signal(&self, worker: WorkerId, signal: Signal) -> Reply<bool> {
        self.pass(|broker| broker.signal(worker, signal))
    }
}

impl Inspect for Wire {
    fn queues(&self) -> Reply<Vec<QueueName>> {
        self.pass(|broker| broker.queues())
    }

    fn groups(&self, queue: QueueName) -> Reply<Vec<Gathering>> {
        self.pass(|broker| broker.groups(queue))
    }

    fn holder(&self, queue: QueueName, names: Vec<LockName>) -> Reply<Option<TaskId>> {
        let (ground, held) = (self.ground.clone(), self.held.clone());
        self.pass(move |broker| {
            let reply = broker.holder(queue.clone(), names.clone());
            Box::pin(async move {
                let holder = reply.await?;
                if holder.is_some() {
                    lock(&held).insert((queue, names), ground.now());
                    // A tick that was about to be enqueued waits.
                    ground.change();
                }
                Ok(holder)
            })
        })
    }

    fn stats(&self) -> Reply<Vec<QueueStats>> {
        self.pass(|broker| broker.stats())
    }

    fn list(&self, page: Page) -> Reply<Listing> {
        self.pass(|broker| broker.list(page))
    }

    fn show(&self, queue: QueueName, id: TaskId) -> Reply<Option<TaskView>> {
        self.pass(|broker| broker.show(queue, id))
    }

    fn check_keys(&self, checks: Vec<(u32, [u8; 8])>) -> Reply<()> {
        self.pass(|broker| broker.check_keys(checks))
    }
}
