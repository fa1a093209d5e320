//! The kinds of task of a drill and their handlers. Each run writes its start and its end into the ledger.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use oncue::clock::{Clock, SystemClock};
use oncue::worker::Builder;
use oncue::{
    Client, Data, Group, Handle, Job, Result, RetryPolicy, Task, TaskContext, TaskError,
    TaskResult, batch, blocking,
};
use serde::{Deserialize, Serialize};

use super::ledger::{How, Ledger, Line, now};
use super::plan::{Plan, Work};

/// A task that snoozes does so until it is this old, so often.
const YOUNG: Duration = Duration::from_millis(600);
const SNOOZE: Duration = Duration::from_millis(300);
/// How far ahead a task that is for later is due.
const LATER: Duration = Duration::from_millis(700);
/// How many groups gather at once, how long, and how many tasks in each.
const GROUPS: u64 = 5;
const GRACE: Duration = Duration::from_millis(300);
const WITHIN: Duration = Duration::from_secs(1);
const MOST: usize = 12;
/// Failed runs are repeated this soon.
const RETRY: Duration = Duration::from_millis(200);

macro_rules! kinds {
    ($($name:ident $kind:literal)*) => { $(
        #[derive(Serialize, Deserialize)]
        struct $name {
            number: u64,
            takes: Duration,
        }

        impl Task for $name {
            const KIND: &'static str = $kind;
            const RETRY: RetryPolicy = RetryPolicy::fixed(RETRY);
        }
    )* };
}

kinds! {
    Short "drill:short"
    Flaky "drill:flaky"
    Snoozing "drill:snoozing"
    Blocking "drill:blocking"
    Long "drill:long"
    Grouped "drill:grouped"
    Hog "drill:hog"
    Poison "drill:poison"
}

/// Enqueues a number as what it stands for, under a key of its own: again it is found, not made.
pub(super) async fn enqueue(
    client: &Client,
    plan: Plan,
    number: u64,
    queue: &str,
    keep: Duration,
) -> Result<Handle> {
    let takes = plan.takes(number);
    macro_rules! draft {
        ($name:ident) => {
            $name { number, takes }.draft().queue(queue).retention(keep).key(number.to_string())
        };
    }
    macro_rules! enqueue {
        ($name:ident, $after:expr) => {
            client.enqueue(draft!($name).after($after)).await
        };
    }
    match plan.work(number) {
        Work::Short => enqueue!(Short, Duration::ZERO),
        Work::Flaky => enqueue!(Flaky, Duration::ZERO),
        Work::Snoozing => enqueue!(Snoozing, Duration::ZERO),
        Work::Blocking => enqueue!(Blocking, Duration::ZERO),
        Work::Long => enqueue!(Long, Duration::ZERO),
        Work::Grouped => {
            let group = Group::named((number % GROUPS).to_string());
            let group = group.grace(GRACE).within(WITHIN).most(MOST);
            client.enqueue(draft!(Grouped).group(group)).await
        }
        Work::Later => enqueue!(Short, LATER),
        Work::Hog => enqueue!(Hog, Duration::ZERO),
        Work::Poison => enqueue!(Poison, Duration::ZERO),
    }
}

/// The ledger of a worker; numbers its runs.
pub(super) struct Runs {
    pub(super) ledger: Ledger,
    next: AtomicU64,
}

impl Runs {
    pub(super) fn new(ledger: Ledger) -> Arc<Self> {
        Arc::new(Self { ledger, next: AtomicU64::new(0) })
    }

    fn start(self: &Arc<Self>, number: u64, context: &TaskContext) -> Run {
        let run = self.next.fetch_add(1, Ordering::Relaxed);
        let (id, attempt) = (context.id(), context.attempt());
        self.ledger.add(&[Line::Started { run, number, id, attempt, at: now() }]);
        Run { runs: self.clone(), run, how: How::Dropped }
    }
}

/// A run under way; its end is written when it is dropped.
struct Run {
    runs: Arc<Runs>,
    run: u64,
    how: How,
}

impl Run {
    fn ended<T>(mut self, how: How, result: TaskResult<T>) -> TaskResult<T> {
        self.how = how;
        result
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.runs.ledger.add(&[Line::Ended { run: self.run, how: self.how, at: now() }]);
    }
}

type Shared = Data<Arc<Runs>>;

async fn short(task: Short, runs: Shared, context: TaskContext) -> TaskResult {
    let run = runs.start(task.number, &context);
    tokio::time::sleep(task.takes).await;
    run.ended(How::Completed, Ok(()))
}

async fn long(task: Long, runs: Shared, context: TaskContext) -> TaskResult {
    let run = runs.start(task.number, &context);
    tokio::time::sleep(task.takes).await;
    run.ended(How::Completed, Ok(()))
}

async fn grouped(jobs: Vec<Job<Grouped>>, runs: Shared) -> TaskResult {
    let start = |job: &Job<Grouped>| runs.start(job.task.number, &job.context);
    let begun: Vec<Run> = jobs.iter().map(start).collect();
    tokio::time::sleep(jobs.iter().map(|job| job.task.takes).max().unwrap_or_default()).await;
    begun.into_iter().try_for_each(|run| run.ended(How::Completed, Ok(())))
}

async fn flaky(task: Flaky, runs: Shared, context: TaskContext) -> TaskResult {
    let run = runs.start(task.number, &context);
    tokio::time::sleep(task.takes).await;
    match context.attempt() {
        1 => run.ended(How::Failed, Err(TaskError::new("planned"))),
        _ => run.ended(How::Completed, Ok(())),
    }
}

async fn snoozing(task: Snoozing, runs: Shared, context: TaskContext) -> TaskResult {
    let run = runs.start(task.number, &context);
    tokio::time::sleep(task.takes).await;
    if SystemClock.now().since(context.created()) < YOUNG {
        return run.ended(How::Snoozed, Err(TaskError::snooze(SNOOZE)));
    }
    run.ended(How::Completed, Ok(()))
}

fn block(task: Blocking, runs: Shared, context: TaskContext) -> TaskResult {
    let run = runs.start(task.number, &context);
    std::thread::sleep(task.takes);
    run.ended(How::Completed, Ok(()))
}

/// What no handler should do: it blocks a thread that others need.
async fn hog(task: Hog, runs: Shared, context: TaskContext) -> TaskResult {
    let run = runs.start(task.number, &context);
    std::thread::sleep(task.takes);
    run.ended(How::Completed, Ok(()))
}

async fn poison(task: Poison, runs: Shared, context: TaskContext) -> TaskResult {
    let _run = runs.start(task.number, &context);
    std::process::abort();
}

/// A worker to be that handles them all.
pub(super) fn handled(worker: Builder, runs: Arc<Runs>) -> Builder {
    worker
        .handle(short)
        .handle(long)
        .handle(batch(grouped))
        .handle(flaky)
        .handle(snoozing)
        .handle(blocking(block))
        .handle(hog)
        .handle(poison)
        .data(runs)
}
