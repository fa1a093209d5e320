//! What the runtime itself costs: CPU per task of a whole worker, and of a client, over a broker that is none.
//!
//! The broker hands out claims sealed beforehand and swallows what it is given, on a thread of its own that
//! takes a round trip's time and is not counted. CPU is that of threads, so neighbors on the machine matter
//! little. Arguments: how many tasks (200,000 unless told).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::ready;
use futures::{FutureExt, StreamExt};
use oncue::broker::*;
use oncue::clock::{Clock, SystemClock, Timestamp};
use oncue::envelope::{Envelope, Stored};
use oncue::queue::QueueName;
use oncue::seal::{Keyring, Sealer};
use oncue::task::{TaskId, Trail};
use oncue::worker::Lane as Queues;
use oncue::{Client, Error, Task, TaskResult};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, oneshot};

/// A round trip to a broker near by.
const ROUND_TRIP: Duration = Duration::from_micros(100);
/// How often each figure is taken; the least is shown, for noise only adds.
const ROUNDS: usize = 3;

#[derive(Serialize, Deserialize)]
struct Payload(String);

impl Task for Payload {
    const KIND: &'static str = "payload";
}

impl Payload {
    fn new() -> Self {
        Self("x".repeat(98))
    }
}

async fn nothing(_: Payload) -> TaskResult {
    Ok(())
}

/// What the wire carries: an answer to be given after a round trip.
type Answer = Box<dyn FnOnce() + Send>;

/// A broker that hands out what it was given beforehand.
struct Fake {
    wire: Sender<Answer>,
    claims: Mutex<Vec<Claim>>,
    records: Mutex<Vec<(Ticket, Vec<u8>)>>,
    keep: bool,
    dequeues: AtomicUsize,
    settles: AtomicUsize,
    left: AtomicUsize,
    done: Notify,
}

/// Answers everything that came in, one round trip later.
fn carry(wire: &Receiver<Answer>) {
    while let Ok(first) = wire.recv() {
        std::thread::sleep(ROUND_TRIP);
        first();
        wire.try_iter().for_each(|answer| answer());
    }
}

impl Fake {
    fn new(keep: bool) -> Arc<Self> {
        let (wire, end) = channel();
        let thread = std::thread::Builder::new().name("wire".into());
        thread.spawn(move || carry(&end)).expect("a thread");
        Arc::new(Self {
            wire,
            claims: Mutex::default(),
            records: Mutex::default(),
            keep,
            dequeues: 0.into(),
            settles: 0.into(),
            left: 0.into(),
            done: Notify::new(),
        })
    }

    fn answer<T: Send + 'static>(&self, value: T) -> Reply<T> {
        let (tell, told) = oneshot::channel();
        let _ = self.wire.send(Box::new(move || drop(tell.send(value))));
        async move { told.await.map_err(|_| Error::unreachable("the wire was cut")) }.boxed()
    }

    /// As many claims as were enqueued, anew.
    fn load(&self) {
        let records = self.records.lock().expect("not poisoned");
        let claim = |(ticket, record): &(Ticket, Vec<u8>)| {
            let stored = Stored::parse(ticket.id, record.clone()).expect("a record");
            Claim {
                ticket: *ticket,
                cause: Cause::Dequeued,
                stored,
                trail: Trail::default(),
                group: None,
            }
        };
        *self.claims.lock().expect("not poisoned") = records.iter().map(claim).collect();
        self.left.store(records.len(), Ordering::SeqCst);
        self.dequeues.store(0, Ordering::SeqCst);
        self.settles.store(0, Ordering::SeqCst);
    }
}

impl Broker for Fake {
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }
    fn enqueue(&self, batch: Batch) -> Reply<Vec<Enqueued>> {
        if self.keep {
            let kept = batch.tasks.iter().map(|NewTask { envelope, .. }| {
                (Ticket::of(envelope.id(), envelope.header()), envelope.record())
            });
            self.records.lock().expect("not poisoned").extend(kept);
        }
        ready(Ok(vec![Enqueued::Created; batch.tasks.len()])).boxed()
    }
    fn dequeue(&self, ask: Ask) -> Reply<Vec<Claim>> {
        let mut claims = self.claims.lock().expect("not poisoned");
        let max = if ask.lane == Lane::Alone { 0 } else { ask.max };
        let rest = claims.len().saturating_sub(max);
        let claimed = claims.split_off(rest);
        self.dequeues.fetch_add(usize::from(!claimed.is_empty()), Ordering::Relaxed);
        self.answer(claimed)
    }
    fn settle(&self, _: Session, settlements: Vec<Settlement>) -> Reply<Vec<Settled>> {
        let count = settlements.len();
        self.settles.fetch_add(1, Ordering::Relaxed);
        if self.left.fetch_sub(count, Ordering::SeqCst) == count {
            self.done.notify_one();
        }
        self.answer(vec![Settled::Done; count])
    }
    fn retire(&self, _: Session, _: Vec<TaskId>) -> Reply<usize> {
        self.answer(0)
    }
    fn advance(&self, _: QueueName, _: usize) -> Reply<Advanced> {
        self.answer(Advanced::default())
    }
    fn reclaim(&self, _: Sweep) -> Reply<Vec<Claim>> {
        self.answer(Vec::new())
    }
    fn beat(&self, _: Beat) -> Reply<Beaten> {
        self.answer(Beaten::default())
    }
    fn wait(&self, _: Wake, seen: Option<u64>) -> Reply<u64> {
        match seen {
            None => ready(Ok(0)).boxed(),
            Some(_) => std::future::pending().boxed(),
        }
    }
}

impl Annotate for Fake {
    fn note(&self, _: Session, _: Vec<Note>) -> Reply<Vec<Settled>> {
        self.answer(Vec::new())
    }

    fn notes(&self, _: QueueName, _: TaskId) -> Reply<Vec<(Slot, Kept)>> {
        self.answer(Vec::new())
    }
}

impl Timetable for Fake {
    fn entries(&self) -> Reply<Vec<Entry>> {
        self.answer(Vec::new())
    }

    fn write_entry(&self, _: QueueName, _: String, _: Vec<u8>, _: u64) -> Reply<bool> {
        self.answer(false)
    }

    fn remove_entry(&self, _: QueueName, _: String) -> Reply<bool> {
        self.answer(false)
    }
}

impl Operate for Fake {
    fn act(&self, _: QueueName, _: TaskId, _: Act) -> Reply<Acted> {
        self.answer(Acted::Missing)
    }

    fn replace(&self, _: Stored, _: Envelope) -> Reply<Acted> {
        self.answer(Acted::Missing)
    }

    fn cancel(&self, _: QueueName, _: TaskId) -> Reply<Cancelled> {
        self.answer(Cancelled::Missing)
    }
    fn set(&self, _: QueueName, _: Setting) -> Reply<()> {
        self.answer(())
    }
    fn workers(&self) -> Reply<Vec<Present>> {
        self.answer(Vec::new())
    }
    fn signal(&self, _: WorkerId, _: Signal) -> Reply<bool> {
        self.answer(false)
    }
}

impl Inspect for Fake {
    fn queues(&self) -> Reply<Vec<QueueName>> {
        self.answer(Vec::new())
    }

    fn groups(&self, _: QueueName) -> Reply<Vec<Gathering>> {
        self.answer(Vec::new())
    }

    fn holder(&self, _: QueueName, _: Vec<LockName>) -> Reply<Option<TaskId>> {
        self.answer(None)
    }

    fn stats(&self) -> Reply<Vec<QueueStats>> {
        self.answer(Vec::new())
    }
    fn list(&self, _: Page) -> Reply<Listing> {
        self.answer(Listing { tasks: Vec::new(), cursor: None })
    }
    fn show(&self, _: QueueName, _: TaskId) -> Reply<Option<TaskView>> {
        self.answer(None)
    }
    fn check_keys(&self, _: Vec<(u32, [u8; 8])>) -> Reply<()> {
        self.answer(())
    }
}

fn client(broker: &Arc<Fake>) -> Client {
    let sealer = Sealer::new(Keyring::generate().expect("keys"), "bench").expect("a sealer");
    Client::new(broker.clone(), sealer)
}

/// CPU time of every thread that lives, but for the wire's, in us by name.
fn cpu() -> BTreeMap<String, f64> {
    let mut times = BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task").expect("procfs").flatten() {
        let read = |file| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
        let (name, stat) = (read("comm").trim().to_owned(), read("schedstat"));
        let ns: f64 = stat.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0.0);
        if name != "wire" {
            *times.entry(name).or_default() += ns / 1e3;
        }
    }
    times
}

/// CPU time since, per task: all of it, and by thread.
fn since(before: &BTreeMap<String, f64>, tasks: usize) -> (f64, String) {
    let per_task = |(name, time): (&String, &f64)| {
        let cost = (time - before.get(name).copied().unwrap_or(0.0)) / tasks as f64;
        (name.clone(), cost)
    };
    let costs: Vec<_> = cpu().iter().map(per_task).collect();
    let of = |(name, cost): &(String, f64)| (*cost >= 0.05).then(|| format!("{name} {cost:.2}"));
    let shown: Vec<_> = costs.iter().filter_map(of).collect();
    (costs.iter().map(|(_, cost)| cost).sum(), shown.join(", "))
}

/// Drains everything with this many runs at once.
async fn drain(client: &Client, broker: &Arc<Fake>, tasks: usize, concurrency: usize) {
    let mut best: Option<(f64, String)> = None;
    for _ in 0..ROUNDS {
        broker.load();
        let lane = Queues::weighted([("default", 1)]).concurrency(concurrency);
        let (before, began) = (cpu(), Instant::now());
        let worker = client.worker().handle(nothing).lane(lane).start().await.expect("starts");
        broker.done.notified().await;
        let (cost, threads) = since(&before, tasks);
        let rate = tasks as f64 / began.elapsed().as_secs_f64();
        let a_call = |calls: &AtomicUsize| tasks / calls.load(Ordering::Relaxed).max(1);
        let text = format!(
            "drain, {concurrency:>4} at once: {cost:.2} us a task ({threads}); {} a dequeue, {} a settle; {rate:.0}/s",
            a_call(&broker.dequeues),
            a_call(&broker.settles),
        );
        worker.shutdown().await.expect("shuts down");
        if best.as_ref().is_none_or(|(least, _)| cost < *least) {
            best = Some((cost, text));
        }
    }
    println!("{}", best.expect("rounds").1);
}

/// Runs something that enqueues so many tasks.
async fn enqueue<F: Future<Output = ()>>(name: &str, tasks: usize, run: impl Fn() -> F) {
    let mut least = f64::MAX;
    for _ in 0..ROUNDS {
        let before = cpu();
        run().await;
        least = least.min(since(&before, tasks).0);
    }
    println!("{name}: {least:.2} us a task");
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let told = std::env::args().skip(1).find_map(|word| word.parse().ok());
    let tasks: usize = told.unwrap_or(200_000);
    let broker = Fake::new(true);
    let full = client(&broker);
    for from in (0..tasks).step_by(BATCH_TASKS_MAX) {
        let drafts = (from..tasks.min(from + BATCH_TASKS_MAX)).map(|_| Payload::new());
        full.enqueue_all(drafts).await.expect("enqueued");
    }
    for concurrency in [64, 256, 1_000] {
        drain(&full, &broker, tasks, concurrency).await;
    }
    let hungry = client(&Fake::new(false));
    let drafts = || (0..BATCH_TASKS_MAX).map(|_| Payload::new());
    let batches = tasks.div_ceil(BATCH_TASKS_MAX);
    enqueue("drafts alone", batches * BATCH_TASKS_MAX, || async {
        (0..batches).for_each(|_| drop(std::hint::black_box(drafts().collect::<Vec<_>>())));
    })
    .await;
    enqueue("enqueue_all, 1000 a batch", batches * BATCH_TASKS_MAX, || async {
        for _ in 0..batches {
            hungry.enqueue_all(drafts()).await.expect("enqueued");
        }
    })
    .await;
    enqueue("enqueue, 64 in flight", tasks, || async {
        let one = |_| async { drop(hungry.enqueue(Payload::new()).await.expect("enqueued")) };
        futures::stream::iter(0..tasks)
            .map(one)
            .buffer_unordered(64)
            .for_each(|()| ready(()))
            .await;
    })
    .await;
}
