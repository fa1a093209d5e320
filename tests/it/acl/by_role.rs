//! A broker that is many: every call goes by the user whose role it is, and by turns where several have it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use oncue::broker::redis::RedisBroker;
use oncue::broker::redis::acl::Role;
use oncue::broker::*;
use oncue::clock::{ManualClock, Timestamp};
use oncue::envelope::{Envelope, Stored};
use oncue::queue::QueueName;
use oncue::task::TaskId;

use super::users::Users;

pub struct ByRole {
    producer: RedisBroker,
    worker: RedisBroker,
    scheduler: RedisBroker,
    viewer: RedisBroker,
    operator: RedisBroker,
    calls: AtomicUsize,
}

impl ByRole {
    pub fn open(users: &Users, clock: &Arc<ManualClock>) -> Self {
        let open = |role| users.broker(role, clock);
        Self {
            producer: open(Role::Producer),
            worker: open(Role::Worker),
            scheduler: open(Role::Scheduler),
            viewer: open(Role::Viewer),
            operator: open(Role::Operator),
            calls: AtomicUsize::new(0),
        }
    }

    fn turn<'b>(&self, first: &'b RedisBroker, second: &'b RedisBroker) -> &'b RedisBroker {
        match self.calls.fetch_add(1, Ordering::Relaxed) % 2 {
            0 => first,
            _ => second,
        }
    }

    fn sweeper(&self) -> &RedisBroker {
        self.turn(&self.worker, &self.scheduler)
    }
}

impl Broker for ByRole {
    fn now(&self) -> Timestamp {
        self.worker.now()
    }

    fn enqueue(&self, batch: Batch) -> Reply<Vec<Enqueued>> {
        match batch.tick {
            // Only who may enqueue ticks may.
            Some(_) => self.scheduler.enqueue(batch),
            None => self.turn(&self.producer, &self.scheduler).enqueue(batch),
        }
    }

    fn dequeue(&self, ask: Ask) -> Reply<Vec<Claim>> {
        self.worker.dequeue(ask)
    }

    fn settle(&self, session: Session, settlements: Vec<Settlement>) -> Reply<Vec<Settled>> {
        self.sweeper().settle(session, settlements)
    }

    fn retire(&self, session: Session, known: Vec<TaskId>) -> Reply<usize> {
        self.sweeper().retire(session, known)
    }

    fn advance(&self, queue: QueueName, limit: usize) -> Reply<Advanced> {
        self.sweeper().advance(queue, limit)
    }

    fn reclaim(&self, sweep: Sweep) -> Reply<Vec<Claim>> {
        self.sweeper().reclaim(sweep)
    }

    fn beat(&self, beat: Beat) -> Reply<Beaten> {
        self.sweeper().beat(beat)
    }

    fn wait(&self, wake: Wake, seen: Option<u64>) -> Reply<u64> {
        // Each role is a process of its own, and its marks tell what it did itself. Of ends and notes the producer hears.
        let all = match wake {
            Wake::Settled | Wake::Noted => vec![self.producer.clone()],
            _ => [&self.producer, &self.worker, &self.scheduler, &self.operator]
                .map(Clone::clone)
                .into(),
        };
        Box::pin(async move {
            loop {
                let marks = all.iter().map(|broker| broker.wait(wake, None));
                let marks = futures::future::try_join_all(marks).await?;
                let total = marks.iter().sum();
                if seen != Some(total) {
                    return Ok(total);
                }
                let next =
                    all.iter().zip(marks).map(|(broker, mark)| broker.wait(wake, Some(mark)));
                futures::future::select_all(next).await.0?;
            }
        })
    }
}

impl Annotate for ByRole {
    fn note(&self, session: Session, notes: Vec<Note>) -> Reply<Vec<Settled>> {
        self.worker.note(session, notes)
    }

    fn notes(&self, queue: QueueName, id: TaskId) -> Reply<Vec<(Slot, Kept)>> {
        self.viewer.notes(queue, id)
    }
}

impl Timetable for ByRole {
    fn entries(&self) -> Reply<Vec<Entry>> {
        self.sweeper().entries()
    }

    fn write_entry(&self, queue: QueueName, name: String, body: Vec<u8>, seen: u64) -> Reply<bool> {
        self.operator.write_entry(queue, name, body, seen)
    }

    fn remove_entry(&self, queue: QueueName, name: String) -> Reply<bool> {
        self.operator.remove_entry(queue, name)
    }
}

impl Operate for ByRole {
    fn act(&self, queue: QueueName, id: TaskId, act: Act) -> Reply<Acted> {
        self.operator.act(queue, id, act)
    }

    fn replace(&self, seen: Stored, envelope: Envelope) -> Reply<Acted> {
        self.operator.replace(seen, envelope)
    }

    fn cancel(&self, queue: QueueName, id: TaskId) -> Reply<Cancelled> {
        self.operator.cancel(queue, id)
    }

    fn set(&self, queue: QueueName, setting: Setting) -> Reply<()> {
        self.operator.set(queue, setting)
    }

    fn workers(&self) -> Reply<Vec<Present>> {
        self.turn(&self.viewer, &self.operator).workers()
    }

    fn signal(&self, worker: WorkerId, signal: Signal) -> Reply<bool> {
        self.operator.signal(worker, signal)
    }
}

impl Inspect for ByRole {
    fn queues(&self) -> Reply<Vec<QueueName>> {
        self.worker.queues()
    }

    fn groups(&self, queue: QueueName) -> Reply<Vec<Gathering>> {
        self.turn(&self.viewer, &self.operator).groups(queue)
    }

    fn holder(&self, queue: QueueName, names: Vec<LockName>) -> Reply<Option<TaskId>> {
        self.producer.holder(queue, names)
    }

    fn stats(&self) -> Reply<Vec<QueueStats>> {
        self.viewer.stats()
    }

    fn list(&self, page: Page) -> Reply<Listing> {
        self.viewer.list(page)
    }

    fn show(&self, queue: QueueName, id: TaskId) -> Reply<Option<TaskView>> {
        self.viewer.show(queue, id)
    }

    fn check_keys(&self, checks: Vec<(u32, [u8; 8])>) -> Reply<()> {
        let third = self.calls.load(Ordering::Relaxed).is_multiple_of(3);
        let broker = if third { &self.producer } else { self.sweeper() };
        broker.check_keys(checks)
    }
}
