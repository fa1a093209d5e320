//! A process of the drill: this binary again, with its part on standard input. It ends with its part, or
//! with its parent.

use std::path::PathBuf;
use std::time::Duration;

use oncue::event::Event;
use oncue::worker::Builder;
use oncue::{Error, Lane, Result, Task, TaskResult};
use rustix::process::{Pid, Resource, Rlimit, Signal};
use serde::{Deserialize, Serialize};

use super::ledger::{Ledger, Line, now};
use super::plan::{LEASE, Plan};
use super::producer::answered;
use super::tasks::Runs;
use super::{calm, producer, tasks};
use crate::cli::Verdict;

/// Runs at once in a worker. Few: a kill is charged to all of them.
const CONCURRENCY: usize = 8;
/// Threads for async handlers, and for blocking ones.
const THREADS: usize = 2;
/// How long a worker that is told to end waits for its runs.
const SHUTDOWN: Duration = LEASE;
/// How often a process looks whether it gets to run, and how late it may be.
const WITNESS: Duration = Duration::from_millis(50);
const LATE: Duration = Duration::from_millis(500);
/// Longest part, in bytes.
const PART_BYTES_MAX: usize = 64 * 1024;

/// What a process is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Role {
    Worker,
    /// Advances and reclaims, and runs nothing.
    Scheduler,
    /// Enqueues its share of the numbers.
    Producer {
        share: u64,
    },
    /// The worker of the calm phases.
    Calm,
}

/// All a process needs to know.
#[derive(Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) role: Role,
    pub(super) parent: u32,
    /// May hold a password: it is on no command line.
    pub(super) url: String,
    pub(super) queue: String,
    pub(super) ledger: PathBuf,
    /// Where a producer goes on, if others had its share before.
    pub(super) from: Option<u64>,
    pub(super) plan: Plan,
    /// When the first number is to be enqueued, and how long all of them are to take.
    pub(super) began: u64,
    pub(super) span: Duration,
    /// How long completed tasks are kept.
    pub(super) keep: Duration,
}

pub(super) async fn run() -> Result<Verdict> {
    let mut text = String::new();
    let read = std::io::stdin().read_line(&mut text);
    let part = read.ok().filter(|bytes| *bytes <= PART_BYTES_MAX);
    let part = part.and_then(|_| serde_json::from_str::<Part>(&text).ok());
    let part = part.ok_or_else(|| {
        Error::invalid("--child is how `oncue drill` starts its own processes; leave it out")
    })?;
    die_with(part.parent)?;
    let ledger = Ledger::open(&part.ledger)?;
    witness(Ledger::open(&part.ledger)?)?;
    let client = answered(async || oncue::connect(&part.url).await).await?;
    match part.role {
        Role::Producer { share } => producer::produce(&client, &part, share, &ledger).await?,
        Role::Worker => {
            let runs = Runs::new(ledger);
            work(|| Ok(tasks::handled(client.worker(), runs.clone())), &part).await?;
        }
        Role::Scheduler => work(|| Ok(client.worker().handle(nothing)), &part).await?,
        Role::Calm => {
            let calm = || Ok(calm::handled(&client, Ledger::open(&part.ledger)?));
            work(calm, &part).await?;
        }
    }
    Ok(Verdict::Done)
}

/// The kernel sends SIGKILL when the thread that made this process ends. No core is dumped when it aborts.
fn die_with(parent: u32) -> Result<()> {
    let failed = |error| Error::system("cannot be bound to the parent").because(error);
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(failed)?;
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .map_err(failed)?;
    match rustix::process::getppid().map_or(0, Pid::as_raw_pid).cast_unsigned() == parent {
        true => Ok(()),
        false => Err(Error::closed("the drill that started this process is over")),
    }
}

/// A thread that notices when this process, or the machine, does not get to run.
fn witness(ledger: Ledger) -> Result<()> {
    let watch = move || {
        let mut from = now();
        loop {
            std::thread::sleep(WITNESS);
            let until = now();
            if Duration::from_nanos(until - from) > LATE {
                ledger.add(&[Line::Starved { from, until }]);
            }
            from = until;
        }
    };
    let spawned = std::thread::Builder::new().name("oncue-drill-witness".to_owned()).spawn(watch);
    spawned.map(drop).map_err(|error| Error::system("cannot start a thread").because(error))
}

/// A kind nobody enqueues: a worker must handle one.
#[derive(Serialize, Deserialize)]
struct Nothing;

impl Task for Nothing {
    const KIND: &'static str = "drill:nothing";
}

async fn nothing(_: Nothing) -> TaskResult {
    Ok(())
}

/// A worker until SIGTERM.
async fn work(worker: impl Fn() -> Result<Builder>, part: &Part) -> Result<()> {
    let started = answered(async || set_up(worker()?, part)?.start().await).await?;
    started.run().await.map(drop)
}

fn set_up(worker: Builder, part: &Part) -> Result<Builder> {
    let ledger = Ledger::open(&part.ledger)?;
    Ok(worker
        .lane(Lane::strict([part.queue.as_str()]).concurrency(CONCURRENCY))
        .lease(LEASE)
        .shutdown_timeout(SHUTDOWN)
        .threads(THREADS)
        .blocking_threads(THREADS)
        .on_event(move |event| {
            if let Some(line) = told(event) {
                ledger.add(&[line]);
            }
        }))
}

/// What of an event goes into the ledger.
fn told(event: &Event) -> Option<Line> {
    match event {
        Event::LeaseLost { id } => Some(Line::LeaseLost { id: *id }),
        Event::Stuck { .. } => Some(Line::Stuck { at: now() }),
        Event::BrokerFailed { verb: "beat", .. } => Some(Line::BeatFailed { at: now() }),
        Event::Started { .. } | Event::Settled { .. } | Event::Reclaimed { .. } => None,
        Event::Quarantined { .. } => Some(Line::Quarantined { at: now() }),
        _ => None,
    }
}
