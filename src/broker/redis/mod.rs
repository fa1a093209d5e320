//! The broker for many machines: Redis 7 or later, or Valkey 7.2 or later.
//!
//! [`RedisBroker`] is a handle; connections live on threads of its own, one for beats, one for all else. Every
//! verb is one call of a function that runs inside Redis (`lua/`), atomic there; the records of tasks go past
//! Lua where they can. `keys` is the catalogue of what is stored, `fault` of what replies mean.

pub mod acl;
mod address;
mod clock;
mod cluster;
mod conn;
mod credentials;
mod deploy;
mod dequeue;
mod dial;
mod durable;
mod enqueue;
mod era;
mod fault;
mod held;
mod inspect;
mod io;
mod keeper;
mod keys;
mod lease;
mod library;
mod link;
mod note;
mod operate;
mod options;
mod reply;
mod sentinel;
mod settle;
mod timetable;
mod tls;
mod usage;
mod wake;

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use redis::{Cmd, Value};

pub use credentials::{CommandPassword, CredentialSource, Credentials, EnvPassword, FilePassword};
pub use deploy::{Deployed, Found, deploy};
pub use options::Options;

use self::clock::ServerClock;
use self::enqueue::Piles;
use self::era::Eras;
use self::held::Numbers;
use self::io::Io;
use self::keys::{QueueKeys, namespace_key};
use self::library::Library;
use self::wake::Interest;
use super::marks::Marks;
use super::{
    Act, Acted, Advanced, Annotate, Ask, Batch, Beat, Beaten, Broker, Cancelled, Claim, Enqueued,
    Entry, Gathering, Inspect, Kept, Listing, LockName, Note, Operate, Page, Present, QueueStats,
    Reply, Session, Setting, Settled, Settlement, Signal, Slot, Sweep, TaskView, Timetable, Usage,
    Wake, WorkerId, check,
};
use crate::clock::Timestamp;
use crate::envelope::{Envelope, Stored};
use crate::error::{Error, Result};
use crate::queue::QueueName;
use crate::task::TaskId;

/// Keeps tasks in Redis. Clones share everything; the last one to go closes the connections.
#[derive(Clone)]
pub struct RedisBroker(Arc<Inner>);

struct Inner {
    options: Arc<Options>,
    library: Arc<Library>,
    clock: Arc<ServerClock>,
    marks: Arc<Marks>,
    interest: Interest,
    piles: Piles,
    registered: Arc<Registered>,
    eras: Arc<Eras>,
    numbers: Numbers,
    /// Queues this process has swept.
    swept: Mutex<HashSet<QueueName>>,
    io: Io,
    /// Carries beats, and listens: a connection that publishes within a transaction must not, for Redis 7.0
    /// puts the message into the middle of the reply.
    beats: Io,
    /// Waits for replicas; made when first needed.
    replicas: OnceLock<Io>,
}

/// Queues that are known to be in the registry. Forgotten with the connection: the next one may lead to a server
/// that lost it.
#[derive(Default)]
struct Registered(Mutex<HashSet<QueueName>>);

impl Registered {
    fn lock(&self) -> MutexGuard<'_, HashSet<QueueName>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A span in ms, rounded up as everywhere.
fn ms(span: Duration) -> u64 {
    Timestamp(0).plus(span).0
}

/// An answer that needs no call.
fn ready<T: Send + 'static>(answer: Result<T>) -> Reply<T> {
    Box::pin(std::future::ready(answer))
}

impl fmt::Debug for RedisBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBroker").finish_non_exhaustive()
    }
}

impl RedisBroker {
    /// Starts the threads and begins to connect; what is called before there is a connection waits for it, up
    /// to the response timeout.
    ///
    /// # Errors
    /// A thread that cannot be started [`is_system`](Error::is_system).
    pub fn open(options: Options) -> Result<Self> {
        let library = Arc::new(Library::of(&options));
        let (options, clock) = (Arc::new(options), Arc::new(ServerClock::default()));
        let marks = Arc::new(Marks::new());
        options.check()?;
        let greeting = greeting(options.clone(), library.clone(), clock.clone());
        let (heard, registered) = (marks.clone(), Arc::<Registered>::default());
        let hear: link::OnEvent = Arc::new(move |event| wake::hear(&heard, &event));
        let (eras, known) = (Arc::<Eras>::default(), registered.clone());
        let (ended, also) = (eras.clone(), hear.clone());
        let hear_io: link::OnEvent = Arc::new(move |event| {
            if let link::LinkEvent::Down = event {
                known.lock().clear();
                ended.end();
            }
            also(event);
        });
        let io = Io::start("oncue-redis", options.clone(), greeting.clone(), hear_io)?;
        let beats = Io::start("oncue-beats", options.clone(), greeting, hear)?;
        let inner = Inner {
            options,
            library,
            clock,
            marks,
            interest: Interest::default(),
            piles: Piles::default(),
            registered,
            eras,
            numbers: Numbers::new(),
            swept: Mutex::default(),
            io,
            beats,
            replicas: OnceLock::new(),
        };
        Ok(Self(Arc::new(inner)))
    }

    fn call<T, F>(&self, call: impl FnOnce(Arc<Inner>) -> F) -> Reply<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        self.0.io.run(call(self.0.clone()))
    }
}

/// On every connection: what the server keeps, the functions are there, and what time it is.
fn greeting(
    options: Arc<Options>,
    library: Arc<Library>,
    clock: Arc<ServerClock>,
) -> link::Greeting {
    let told = Arc::new(AtomicBool::new(false));
    Arc::new(move |mut conn| {
        let (options, library) = (options.clone(), library.clone());
        let (clock, told) = (clock.clone(), told.clone());
        Box::pin(async move {
            durable::probe(&mut conn, &options, &told).await?;
            library.ensure(&mut conn).await?;
            let mut time = Cmd::new();
            time.arg("TIME");
            if let Ok(Value::Array(parts)) = conn.call(&time).await
                && let [seconds, micros] = &parts[..]
                && let (Ok(seconds), Ok(micros)) = (reply::count(seconds), reply::count(micros))
            {
                clock.set(Timestamp(seconds * 1_000 + micros / 1_000));
            }
            Ok(())
        })
    })
}

impl Inner {
    fn keys(&self, queue: &QueueName) -> QueueKeys {
        QueueKeys::new(&self.options.namespace, queue)
    }

    /// Gives a call the time, where the functions do not ask the server.
    fn stamp(&self, call: &mut Cmd) {
        if let Some(clock) = &self.options.clock {
            call.arg(clock.now().0);
        }
    }

    /// A reply told the server's time.
    fn learn_time(&self, told: &Value) -> Result<Timestamp> {
        let now = Timestamp(reply::count(told)?);
        self.clock.set(now);
        Ok(now)
    }

    /// A sweep of this process came by, and found the marks of a sweep before or none.
    fn note_sweep(&self, queue: &QueueName, is_first: bool) {
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        if !swept.insert(queue.clone()) && is_first {
            tracing::error!(
                %queue,
                "Redis has lost what it knew of this queue: it was emptied, or restarted without its data; tasks that \
                 were acknowledged are gone. See that it persists (`appendonly yes`) and evicts nothing \
                 (`maxmemory-policy noeviction`)"
            );
        }
    }

    /// Writes a queue into the registry, once.
    async fn register(&self, queue: &QueueName) -> Result<()> {
        if self.registered.lock().contains(queue) {
            return Ok(());
        }
        let mut add = Cmd::new();
        add.arg("SADD").arg(namespace_key(&self.options.namespace, "queues")).arg(queue.as_str());
        self.io.link.call(&add).await?;
        self.registered.lock().insert(queue.clone());
        Ok(())
    }
}

impl Broker for RedisBroker {
    fn now(&self) -> Timestamp {
        match &self.0.options.clock {
            Some(clock) => clock.now(),
            None => self.0.clock.now(),
        }
    }

    fn enqueue(&self, batch: Batch) -> Reply<Vec<Enqueued>> {
        if let Err(error) = check_batch(&batch) {
            return ready(Err(error));
        }
        if batch.tasks.is_empty() && batch.tick.is_none() {
            return ready(Ok(Vec::new()));
        }
        if batch.replicas == 0 {
            return enqueue::enqueue(&self.0, batch);
        }
        let stored = enqueue::enqueue(&self.0, batch.clone());
        let broker = self.0.clone();
        Box::pin(async move {
            let answers = stored.await?;
            durable::confirm(broker, batch).await?;
            Ok(answers)
        })
    }

    fn dequeue(&self, ask: Ask) -> Reply<Vec<Claim>> {
        match check::ask(&ask) {
            Ok(()) => self.call(|broker| dequeue::dequeue(broker, ask)),
            Err(error) => ready(Err(error)),
        }
    }

    fn settle(&self, session: Session, settlements: Vec<Settlement>) -> Reply<Vec<Settled>> {
        match check::settlements(settlements) {
            Ok(entries) => self.call(|broker| settle::settle(broker, session, entries)),
            Err(error) => ready(Err(error)),
        }
    }

    fn retire(&self, session: Session, known: Vec<TaskId>) -> Reply<usize> {
        self.call(|broker| lease::retire(broker, session, known))
    }

    fn advance(&self, queue: QueueName, limit: usize) -> Reply<Advanced> {
        self.call(|broker| lease::advance(broker, queue, limit))
    }

    fn reclaim(&self, sweep: Sweep) -> Reply<Vec<Claim>> {
        match check::sweep(&sweep) {
            Ok(()) => self.call(|broker| lease::reclaim(broker, sweep)),
            Err(error) => ready(Err(error)),
        }
    }

    fn beat(&self, beat: Beat) -> Reply<Beaten> {
        if beat.sessions.is_empty() && beat.presence.is_none() {
            return ready(Ok(Beaten::default()));
        }
        self.0.beats.run(lease::beat(self.0.clone(), beat))
    }

    fn wait(&self, wake: Wake, seen: Option<u64>) -> Reply<u64> {
        if matches!(wake, Wake::Settled | Wake::Noted) {
            self.0.interest.want(&self.0.beats.link, wake);
        }
        wake::wait(&self.0.marks, wake, seen)
    }
}

impl Annotate for RedisBroker {
    fn note(&self, session: Session, notes: Vec<Note>) -> Reply<Vec<Settled>> {
        match check::notes(&notes) {
            Ok(()) => self.call(|broker| note::note(broker, session, notes)),
            Err(error) => ready(Err(error)),
        }
    }

    fn notes(&self, queue: QueueName, id: TaskId) -> Reply<Vec<(Slot, Kept)>> {
        self.call(move |broker| note::notes(broker, queue, id))
    }
}

impl Timetable for RedisBroker {
    fn entries(&self) -> Reply<Vec<Entry>> {
        self.call(timetable::entries)
    }

    fn write_entry(&self, queue: QueueName, name: String, body: Vec<u8>, seen: u64) -> Reply<bool> {
        match check::entry(&name, &body) {
            Ok(()) => self.call(move |broker| timetable::write(broker, queue, name, body, seen)),
            Err(error) => ready(Err(error)),
        }
    }

    fn remove_entry(&self, queue: QueueName, name: String) -> Reply<bool> {
        match super::check_name(&name) {
            Ok(()) => self.call(move |broker| timetable::remove(broker, queue, name)),
            Err(error) => ready(Err(error)),
        }
    }
}

impl Operate for RedisBroker {
    fn act(&self, queue: QueueName, id: TaskId, act: Act) -> Reply<Acted> {
        self.call(move |broker| operate::act(broker, queue, id, act))
    }

    fn replace(&self, seen: Stored, envelope: Envelope) -> Reply<Acted> {
        match check::replacement(&seen, &envelope) {
            Ok(()) => self.call(|broker| operate::replace(broker, seen, envelope)),
            Err(error) => ready(Err(error)),
        }
    }

    fn cancel(&self, queue: QueueName, id: TaskId) -> Reply<Cancelled> {
        self.call(move |broker| operate::cancel(broker, queue, id))
    }

    fn set(&self, queue: QueueName, setting: Setting) -> Reply<()> {
        self.call(move |broker| operate::set(broker, queue, setting))
    }

    fn workers(&self) -> Reply<Vec<Present>> {
        self.call(operate::workers)
    }

    fn signal(&self, worker: WorkerId, signal: Signal) -> Reply<bool> {
        self.call(move |broker| operate::signal(broker, worker, signal))
    }
}

/// What the tickets in Redis have no room for is refused, not forgotten.
fn check_batch(batch: &Batch) -> Result<()> {
    check::batch(batch)?;
    match batch.tasks.iter().find(|task| task.envelope.header().class != 0) {
        Some(task) => Err(Error::invalid(format!(
            "class {}; classes are reserved, use 0",
            task.envelope.header().class
        ))),
        None => Ok(()),
    }
}

impl Inspect for RedisBroker {
    fn queues(&self) -> Reply<Vec<QueueName>> {
        self.call(|broker| async move { inspect::queues(&broker).await })
    }

    fn groups(&self, queue: QueueName) -> Reply<Vec<Gathering>> {
        self.call(|broker| inspect::groups(broker, queue))
    }

    fn holder(&self, queue: QueueName, names: Vec<LockName>) -> Reply<Option<TaskId>> {
        self.call(|broker| inspect::holder(broker, queue, names))
    }

    fn stats(&self) -> Reply<Vec<QueueStats>> {
        self.call(inspect::stats)
    }

    fn list(&self, page: Page) -> Reply<Listing> {
        match check::rows(page.rows) {
            Ok(()) => self.call(|broker| inspect::list(broker, page)),
            Err(error) => ready(Err(error)),
        }
    }

    fn show(&self, queue: QueueName, id: TaskId) -> Reply<Option<TaskView>> {
        self.call(move |broker| inspect::show(broker, queue, id, true))
    }

    fn glance(&self, queue: QueueName, id: TaskId) -> Reply<Option<TaskView>> {
        self.call(move |broker| inspect::show(broker, queue, id, false))
    }

    fn check_keys(&self, checks: Vec<(u32, [u8; 8])>) -> Reply<()> {
        self.call(|broker| inspect::check_keys(broker, checks))
    }

    fn usage(&self) -> Reply<Option<Usage>> {
        self.call(usage::usage)
    }
}
