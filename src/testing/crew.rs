//! A crew: one worker on a bench, worked until nothing that is due is left, or until it is killed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::broker::{Beat, Gathering, Page, QueueStats, TaskView};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::queue::{KindHash, QueueName};
use crate::state::State;
use crate::worker::{Builder, Failed, Worker};
#[cfg(feature = "cron")]
use crate::{
    broker::LockName,
    seal::Sealer,
    timetable::{Listed, Runs},
};

use super::bench::Bench;
use super::ground::Ground;
use super::wire::Wire;

/// Most runs of one drain: what never ends, such as a task that snoozes for ever, is told so.
pub const RUNS_MAX: u64 = 10_000;
/// A drain in which nothing changes for so long, of real time, fails.
pub const STALLED_AFTER: Duration = Duration::from_secs(30);

/// How often a worker on a bench looks for sessions that were ended.
const SWEEP: Duration = Duration::from_millis(5);
/// How long after it heard that a run goes on a Scheduler looks again whether its tick may come; not less than it takes.
#[cfg(feature = "cron")]
const POLL: Duration = Duration::from_secs(1);
/// Tasks looked at at once.
const PAGE: usize = 100;

/// What a drain did.
#[derive(Debug)]
#[non_exhaustive]
pub struct Drained {
    /// Runs that ended, with tasks that were archived without one.
    pub runs: u64,
    /// Runs that completed.
    pub completed: u64,
    /// Runs that failed and were to be repeated.
    pub retried: u64,
    /// Runs that put their task off.
    pub snoozed: u64,
    /// Runs that called their task void.
    pub revoked: u64,
    /// Tasks that were archived, in order, with what they said.
    pub archived: Vec<Failed>,
    /// How far the clock went.
    pub passed: Duration,
    /// Tasks in the queues of the worker that have not ended: of kinds it does not handle, in paused queues, or not due.
    pub left: u64,
}

/// One worker and what it serves.
pub(super) struct Crew {
    ground: Arc<Ground>,
    wire: Arc<Wire>,
    worker: Worker,
    queues: Vec<QueueName>,
    kinds: Vec<KindHash>,
    /// Whether it keeps the timetable.
    #[cfg(feature = "cron")]
    schedules: bool,
    #[cfg(feature = "cron")]
    sealer: Sealer,
    archived: Arc<Mutex<Vec<Failed>>>,
    began: Timestamp,
    runs_max: u64,
}

/// How the timetable stands.
#[derive(Default)]
struct Ticks {
    /// A tick came, and is about to be enqueued.
    due: bool,
    /// One that came waits for the end of a task.
    held: bool,
    /// When one that came is looked at again, which nothing holds back any more.
    again: Option<Timestamp>,
    /// When the next one comes.
    next: Option<Timestamp>,
}

/// What holds a tick back that waits for the run before it.
#[cfg(feature = "cron")]
enum Held {
    /// Nothing: the Scheduler is about to look.
    No,
    /// A task that has not ended: what moves it moves the tick.
    ByRun,
    /// Nothing any more, but the Scheduler looks again only then.
    Until(Timestamp),
}

impl Crew {
    pub(super) async fn start(
        bench: &Bench,
        build: impl FnOnce(Builder) -> Builder,
    ) -> Result<Self> {
        let ground = bench.ground.clone();
        let wire = Arc::new(Wire::of_worker(ground.clone()));
        let builder =
            Builder::new(wire.clone(), bench.client().sealer().clone()).threads(1).sweep(SWEEP);
        let archived = Arc::new(Mutex::new(Vec::new()));
        let told = archived.clone();
        let builder = build(builder).on_archive(move |failed| {
            told.lock().unwrap_or_else(PoisonError::into_inner).push(failed.clone());
        });
        let there = bench.client().broker().queues().await?;
        let (queues, kinds) = builder.serves(&there)?;
        #[cfg(feature = "cron")]
        let schedules = builder.keeps_the_timetable();
        let (began, worker) = (ground.now(), builder.start().await?);
        let runs_max = bench.runs_max;
        Ok(Self {
            ground,
            wire,
            worker,
            queues,
            kinds,
            #[cfg(feature = "cron")]
            schedules,
            #[cfg(feature = "cron")]
            sealer: bench.client().sealer().clone(),
            archived,
            began,
            runs_max,
        })
    }

    /// Lets it run all that is due, and time jump to what is due next; until then at most, if that is told.
    pub(super) async fn work(&self, until: Option<Timestamp>) -> Result<()> {
        loop {
            // Marked before the look: what changes after it is not missed.
            let mut changes = self.ground.changes();
            if self.wire.tally().runs() > self.runs_max {
                return Err(Error::timeout(format!(
                    "more than {} runs, and tasks are still due",
                    self.runs_max
                )));
            }
            let mut ticks = self.ticks().await?;
            if ticks.due || self.is_busy(&changes).await? {
                let changed = tokio::time::timeout(STALLED_AFTER, changes.changed()).await;
                changed.map_err(|_| self.stalled())?.map_err(|_| self.stalled())?;
                continue;
            }
            if ticks.held {
                // Its run may have ended between the two looks; nothing runs now that could end.
                ticks = self.ticks().await?;
                if ticks.due {
                    continue;
                }
            }
            // Ticks go on for ever: they are waited for only as long as one is told to.
            let tick = ticks.next.filter(|_| until.is_some());
            match self.next().await?.into_iter().chain(ticks.again).chain(tick).min() {
                Some(due) if until.is_none_or(|until| due <= until) => {
                    self.ground.jump(due, &self.queues).await?;
                }
                _ => match until {
                    Some(until) => return self.ground.jump(until, &self.queues).await,
                    None => return Ok(()),
                },
            }
        }
    }

    fn stalled(&self) -> Error {
        let health = self.worker.health();
        Error::timeout(format!(
            "tasks are due or run, and nothing changed for {STALLED_AFTER:?}; the worker is {health:?}"
        ))
    }

    /// The counts of its queues.
    async fn stats(&self) -> Result<Vec<QueueStats>> {
        let mut stats = self.ground.broker.stats().await?;
        stats.retain(|stats| self.queues.contains(&stats.queue));
        Ok(stats)
    }

    /// Whether something runs, or will without a jump of the clock. Counts are of one moment, lists of another: what is
    /// claimed in between is in neither, unless the counts are the same afterwards and nothing changed.
    async fn is_busy(&self, changes: &watch::Receiver<u64>) -> Result<bool> {
        let stats = self.stats().await?;
        if stats.iter().any(|stats| stats.count(State::Active) > 0) {
            return Ok(true);
        }
        let waits = |stats: &&QueueStats| {
            !stats.paused && stats.count(State::Pending) + stats.count(State::Aggregating) > 0
        };
        let mut waiting = stats.iter().filter(waits).peekable();
        if waiting.peek().is_none() {
            return Ok(false);
        }
        for stats in waiting {
            if self.first(&stats.queue, State::Pending).await?.is_some()
                || self.groups(&stats.queue).await?.any(|group| group.closes.is_none())
            {
                return Ok(true);
            }
        }
        Ok(self.stats().await? != stats || changes.has_changed().unwrap_or(true))
    }

    #[cfg(not(feature = "cron"))]
    async fn ticks(&self) -> Result<Ticks> {
        Ok(Ticks::default())
    }

    /// What the timetable says.
    #[cfg(feature = "cron")]
    async fn ticks(&self) -> Result<Ticks> {
        let mut ticks = Ticks::default();
        if !self.schedules {
            return Ok(ticks);
        }
        let now = self.ground.now();
        for entry in self.ground.broker.entries().await?.into_iter().map(Listed::new) {
            let Ok(plan) = entry.plan() else { continue };
            match entry.next() {
                Some(tick) if tick <= now && plan.runs() == Runs::Queue => {
                    match self.held_back(&entry, now).await? {
                        Held::No => ticks.due = true,
                        Held::Until(again) => {
                            ticks.again = ticks.again.into_iter().chain([again]).min();
                        }
                        Held::ByRun => ticks.held = true,
                    }
                }
                Some(tick) if tick <= now => ticks.due = true,
                next => ticks.next = ticks.next.into_iter().chain(next).min(),
            }
        }
        Ok(ticks)
    }

    /// What holds back a tick that came and waits for the run before it. What the Scheduler heard decides, not what holds the
    /// lock now: it looks again only when its time is up.
    #[cfg(feature = "cron")]
    async fn held_back(&self, entry: &Listed, now: Timestamp) -> Result<Held> {
        let names = self.sealer.derive_runs(&entry.queue, &entry.name)?;
        let names: Vec<_> = names.into_iter().map(LockName).collect();
        let queue = entry.queue.clone();
        let heard = self.wire.heard_held(queue.clone(), names.clone());
        let Some(again) = heard.map(|heard| heard.plus(POLL)).filter(|again| *again > now) else {
            return Ok(Held::No);
        };
        let holder = self.ground.broker.holder(queue, names).await?;
        Ok(if holder.is_some() { Held::ByRun } else { Held::Until(again) })
    }

    /// When the next task is due, or the next group closes.
    async fn next(&self) -> Result<Option<Timestamp>> {
        let mut next = None;
        for queue in &self.queues {
            for state in [State::Scheduled, State::Retry] {
                let first = self.first(queue, state).await?.and_then(|view| view.until);
                next = next.into_iter().chain(first).min();
            }
            let closes = self.groups(queue).await?.filter_map(|group| group.closes);
            next = next.into_iter().chain(closes).min();
        }
        Ok(next)
    }

    /// The groups of the kinds it handles.
    async fn groups(&self, queue: &QueueName) -> Result<impl Iterator<Item = Gathering>> {
        let groups = self.ground.broker.groups(queue.clone()).await?;
        Ok(groups.into_iter().filter(|group| self.kinds.contains(&group.kind)))
    }

    /// The first task in this state of a kind it handles.
    async fn first(&self, queue: &QueueName, state: State) -> Result<Option<TaskView>> {
        let mut cursor = None;
        loop {
            let page = Page { queue: queue.clone(), state, cursor, rows: PAGE };
            let listing = self.ground.broker.list(page).await?;
            let is_ours = |view: &TaskView| {
                view.stored.header().is_ok_and(|header| self.kinds.contains(&header.kind.hash()))
            };
            if let Some(view) = listing.tasks.into_iter().find(is_ours) {
                return Ok(Some(view));
            }
            cursor = listing.cursor;
            if cursor.is_none() {
                return Ok(None);
            }
        }
    }

    /// Ends it in order.
    pub(super) async fn dismiss(self) -> Result<Drained> {
        self.worker.shutdown().await?;
        let stats = self.stats().await?;
        let ended =
            |stats: &QueueStats| stats.count(State::Completed) + stats.count(State::Archived);
        let left = stats.iter().map(|stats| stats.total() - ended(stats)).sum();
        let tally = self.wire.tally();
        let archived =
            std::mem::take(&mut *self.archived.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Drained {
            runs: tally.runs(),
            completed: tally.completed,
            retried: tally.retried,
            snoozed: tally.snoozed,
            revoked: tally.revoked,
            archived,
            passed: self.ground.now().since(self.began),
            left,
        })
    }

    /// Buries it after its fuse has blown: no code of its runs goes on, and its leases are over.
    pub(super) async fn bury(self) -> Result<()> {
        self.wire.cut();
        // The order matters: a run that heard that its call failed would go on.
        self.worker.cut();
        self.ground.fuse.bury();
        // It hears of its end by an error.
        let _ = self.worker.shutdown().await;
        self.ground.fuse.mend();
        let sessions = self.wire.sessions();
        let beat = Beat { sessions, lease: Duration::ZERO, presence: None };
        self.ground.broker.beat(beat).await.map(drop)
    }
}
