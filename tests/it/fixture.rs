//! What every broker test stands on: a broker, a clock it reads, and short words for tasks and claims.

mod road;
mod spec;
mod terms;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use oncue::broker::*;
use oncue::clock::{Clock, ManualClock, Timestamp};
use oncue::queue::{KindHash, QueueName};
use oncue::state::State;
use oncue::task::TaskId;
use oncue::{Error, Result};

pub use spec::*;
pub use terms::*;

/// The kinds a test's worker knows.
pub const KINDS: [&str; 3] = ["mail:send", "file:digest", "log:trim"];
/// When every test begins: 2026-01-01.
pub const START: Timestamp = Timestamp(1_767_225_600_000);
pub const LEASE: Duration = Duration::from_secs(30);
pub const GAP: Duration = Duration::from_secs(60);
pub const GRACE: Duration = Duration::from_secs(600);
pub const SECOND: Duration = Duration::from_secs(1);
pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3_600);

/// Most calls until nothing is due any more.
const CALLS_MAX: usize = 100;
/// Longest a reply may take before the test fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(30);

thread_local! {
    static RUNTIME: tokio::runtime::Runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
}

/// Drives a reply to its end: no broker may need a runtime of its caller's.
#[track_caller]
pub fn run<T>(reply: impl Future<Output = T>) -> T {
    let answer =
        RUNTIME.with(|rt| rt.block_on(async { tokio::time::timeout(PATIENCE, reply).await }));
    answer.expect("a broker answers")
}

/// A broker just opened, with whatever must outlive it.
pub struct Opened {
    pub broker: Arc<dyn Operate>,
    pub guard: Option<Box<dyn std::any::Any + Send + Sync>>,
}

/// Opens a fresh broker that reads this clock.
pub type Opener<'a> = &'a dyn Fn(Arc<ManualClock>) -> Opened;

/// One broker with its clock and one queue.
pub struct Bench {
    pub broker: Arc<dyn Operate>,
    pub clock: Arc<ManualClock>,
    pub queue: QueueName,
    _guard: Option<Box<dyn std::any::Any + Send + Sync>>,
}

impl Bench {
    pub fn new(open: Opener<'_>) -> Self {
        let clock = Arc::new(ManualClock::at(START));
        let opened = open(clock.clone());
        Self::at(clock, opened)
    }

    /// A broker that was opened with this clock.
    pub fn at(clock: Arc<ManualClock>, opened: Opened) -> Self {
        let Opened { broker, guard } = opened;
        Self { broker, clock, queue: queue("default"), _guard: guard }
    }

    /// Another broker at the same clock and queue.
    pub fn twin(&self, broker: Arc<dyn Operate>) -> Self {
        Self { broker, clock: self.clock.clone(), queue: self.queue.clone(), _guard: None }
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    pub fn session(&self) -> Session {
        Session::fresh(self.queue.clone())
    }

    pub fn batch(&self, tasks: impl IntoIterator<Item = Spec>) -> Batch {
        let tasks: Vec<_> =
            tasks.into_iter().map(|spec| spec.seal(&self.queue, self.now())).collect();
        Batch::new(self.queue.clone(), tasks)
    }

    /// Stores these tasks, all of them new, and answers their ids in order.
    #[track_caller]
    pub fn put(&self, tasks: impl IntoIterator<Item = Spec>) -> Vec<TaskId> {
        let batch = self.batch(tasks);
        let ids = batch.tasks.iter().map(|task| task.envelope.id()).collect();
        assert_eq!(self.enqueue(&batch), vec![Enqueued::Created; batch.tasks.len()]);
        ids
    }

    #[track_caller]
    pub fn put_one(&self, task: Spec) -> TaskId {
        self.put([task])[0]
    }

    #[track_caller]
    pub fn enqueue(&self, batch: &Batch) -> Vec<Enqueued> {
        run(self.broker.enqueue(batch.clone())).expect("stored")
    }

    /// Asks for up to `max` tasks of every known kind.
    pub fn ask(&self, session: &Session, max: usize) -> Ask {
        let accept = KINDS.map(|kind| (KindHash::of(kind), max)).to_vec();
        Ask { session: session.clone(), lease: LEASE, max, lane: Lane::Shared, accept }
    }

    #[track_caller]
    pub fn claims(&self, ask: Ask) -> Vec<Claim> {
        run(self.broker.dequeue(ask)).expect("claims")
    }

    #[track_caller]
    pub fn take(&self, session: &Session, max: usize) -> Vec<Claim> {
        self.claims(self.ask(session, max))
    }

    /// A fresh session that holds all that was pending.
    #[track_caller]
    pub fn take_all(&self) -> (Session, Vec<Claim>) {
        let session = self.session();
        let claims = self.take(&session, CLAIMS_MAX);
        (session, claims)
    }

    #[track_caller]
    pub fn settle(&self, session: &Session, list: Vec<Settlement>) -> Vec<Settled> {
        run(self.broker.settle(session.clone(), list)).expect("settled")
    }

    /// Settles one claim, which must be held.
    #[track_caller]
    pub fn end(&self, session: &Session, claim: &Claim, order: Order) {
        let settled = self.settle(session, vec![Settlement::new(claim.ticket, order)]);
        assert_eq!(settled, [Settled::Done]);
    }

    #[track_caller]
    pub fn retire(&self, session: &Session, known: &[TaskId]) -> usize {
        run(self.broker.retire(session.clone(), known.to_vec())).expect("retired")
    }

    #[track_caller]
    pub fn advance(&self) -> Advanced {
        run(self.broker.advance(self.queue.clone(), 1_000)).expect("advanced")
    }

    pub fn sweep(&self, session: &Session) -> Sweep {
        let known = KINDS.map(KindHash::of).to_vec();
        Sweep {
            session: session.clone(),
            lease: LEASE,
            max: SWEEP_MAX,
            gap: GAP,
            known,
            grace: GRACE,
        }
    }

    #[track_caller]
    pub fn reclaim(&self, session: &Session) -> Vec<Claim> {
        run(self.broker.reclaim(self.sweep(session))).expect("reclaimed")
    }

    /// Sweeps, finding nothing, until the gap guard is satisfied: takes a bit more than `GAP`, so that
    /// a session opened before it is expired after it.
    #[track_caller]
    pub fn warm_up_sweeps(&self) {
        for _ in 0..2 {
            assert_eq!(ids(&self.reclaim(&self.session())), []);
            self.pass(GAP / 2 + SECOND);
        }
    }

    /// A sweep session that took over all that was lost.
    #[track_caller]
    pub fn take_over(&self) -> (Session, Vec<Claim>) {
        let sweeper = self.session();
        let claims = self.reclaim(&sweeper);
        (sweeper, claims)
    }

    /// Answers which of these sessions are gone.
    #[track_caller]
    pub fn beat(&self, sessions: &[&Session]) -> Vec<SessionId> {
        let sessions = sessions.iter().map(|session| (*session).clone()).collect();
        run(self.broker.beat(Beat { sessions, lease: LEASE, presence: None })).expect("beat").lost
    }

    /// The cancelled tasks these sessions are told of.
    #[track_caller]
    pub fn doomed(&self, sessions: &[&Session]) -> Vec<TaskId> {
        let sessions = sessions.iter().map(|session| (*session).clone()).collect();
        let beat = Beat { sessions, lease: LEASE, presence: None };
        run(self.broker.beat(beat)).expect("beat").orders.cancel
    }

    #[track_caller]
    pub fn act(&self, id: TaskId, act: Act) -> Acted {
        run(self.broker.act(self.queue.clone(), id, act)).expect("acted")
    }

    #[track_caller]
    pub fn cancel(&self, id: TaskId) -> Cancelled {
        run(self.broker.cancel(self.queue.clone(), id)).expect("cancelled")
    }

    #[track_caller]
    pub fn set(&self, setting: Setting) {
        run(self.broker.set(self.queue.clone(), setting)).expect("set");
    }

    /// Advances until nothing is due: however many calls that takes.
    #[track_caller]
    pub fn catch_up(&self) {
        for _ in 0..CALLS_MAX {
            let Advanced { next, more, .. } = self.advance();
            if !more && next.is_none_or(|next| next > self.now()) {
                return;
            }
        }
        panic!("more is due after {CALLS_MAX} calls");
    }

    /// Lets a minute pass, in which groups are quiet, and closes them.
    #[track_caller]
    pub fn close(&self) {
        self.pass(MINUTE);
        self.catch_up();
    }

    /// The groups that hold tasks.
    #[track_caller]
    pub fn groups(&self) -> Vec<Gathering> {
        run(self.broker.groups(self.queue.clone())).expect("listed")
    }

    /// The task that holds a lock under any of these names.
    #[track_caller]
    pub fn holder(&self, names: impl IntoIterator<Item = u8>) -> Option<TaskId> {
        let names = names.into_iter().map(name).collect();
        run(self.broker.holder(self.queue.clone(), names)).expect("answered")
    }

    #[track_caller]
    pub fn show(&self, id: TaskId) -> Option<TaskView> {
        run(self.broker.show(self.queue.clone(), id)).expect("shown")
    }

    #[track_caller]
    pub fn state(&self, id: TaskId) -> Option<State> {
        self.show(id).map(|view| view.state)
    }

    /// The counts of the queue; those of an empty one if the broker has not heard of it.
    #[track_caller]
    pub fn stats(&self) -> QueueStats {
        let stats = run(self.broker.stats()).expect("stats");
        let mine = stats.into_iter().find(|stats| stats.queue == self.queue);
        mine.unwrap_or_else(|| QueueStats::empty(self.queue.clone()))
    }

    /// Every task in a state, page by page.
    #[track_caller]
    pub fn list(&self, state: State) -> Vec<TaskView> {
        let (mut rows, mut cursor) = (Vec::new(), None);
        loop {
            let page = Page { queue: self.queue.clone(), state, cursor, rows: 1_000 };
            let listing = run(self.broker.list(page)).expect("listed");
            rows.extend(listing.tasks);
            cursor = listing.cursor;
            if cursor.is_none() {
                return rows;
            }
        }
    }
}

pub fn queue(name: &str) -> QueueName {
    QueueName::parse(name).expect("a queue name")
}

pub fn ids(claims: &[Claim]) -> Vec<TaskId> {
    claims.iter().map(Claim::id).collect()
}

/// The refusal of a call that must not succeed.
#[track_caller]
pub fn refusal<T>(reply: BoxFuture<'static, Result<T>>) -> Error {
    match run(reply) {
        Ok(_) => panic!("the call should have been refused"),
        Err(error) => error,
    }
}
