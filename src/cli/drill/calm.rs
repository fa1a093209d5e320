//! The calm phases: what a storm of panics of one kind costs another, on one healthy worker.
//!
//! Paired, so that the speed of the machine cancels out: the same tasks at the same pace, without the storm
//! and with it.

use std::time::{Duration, Instant};

use oncue::worker::Builder;
use oncue::{Client, Data, Error, Result, RetryPolicy, Task, TaskContext, TaskResult};
use serde::{Deserialize, Serialize};

use super::child::Role;
use super::fleet::{Fleet, TICK};
use super::ledger::{Ledger, Line, now, read};
use super::progress::Progress;

/// Tasks that are measured in each phase, and how far apart.
const PROBES: usize = 200;
const PROBE_EVERY: Duration = Duration::from_millis(5);
/// Tasks of the storm, how often each panics, and how soon again.
const STORM: usize = 20;
const PANICS: u32 = 25;
const AGAIN: Duration = Duration::from_millis(20);
/// How long a phase may take.
const PHASE_MAX: Duration = Duration::from_secs(30);

/// An ordinary task, measured.
#[derive(Serialize, Deserialize)]
struct Probe {
    storm: bool,
    sent: u64,
}

impl Task for Probe {
    const KIND: &'static str = "drill:probe";
}

async fn probe(task: Probe, ledger: Data<Ledger>) -> TaskResult {
    // Long enough to await, as handlers do.
    tokio::time::sleep(Duration::from_millis(1)).await;
    let ns = now().saturating_sub(task.sent);
    ledger.add(&[Line::Probed { storm: task.storm, ns }]);
    Ok(())
}

/// A task that panics, and in the end does not.
#[derive(Serialize, Deserialize)]
struct Panicking;

impl Task for Panicking {
    const KIND: &'static str = "drill:panicking";
    const MAX_RETRY: u32 = PANICS;
    const RETRY: RetryPolicy = RetryPolicy::fixed(AGAIN);
}

async fn panicking(_: Panicking, context: TaskContext) -> TaskResult {
    assert!(context.attempt() > PANICS, "a planned panic");
    Ok(())
}

/// The worker of both phases, to be.
pub(super) fn handled(client: &Client, ledger: Ledger) -> Builder {
    client.worker().handle(probe).handle(panicking).data(ledger)
}

/// The ratio of the 99th percentiles, from enqueue to end: with the storm to without.
pub(super) async fn ratio(fleet: &mut Fleet<'_>, progress: &Progress) -> Result<f64> {
    fleet.add(Role::Calm)?;
    let client = fleet.place.client.clone();
    let queue = fleet.place.calm.as_str();
    progress.phase("calm");
    // The first one waits for the worker to be there.
    probed(fleet, false, 1).await?;
    let calm = probed(fleet, false, PROBES).await?;
    progress.phase("storm");
    let storm = (0..STORM).map(|_| Panicking.draft().queue(queue));
    let storm = client.enqueue_all(storm).await?;
    let stormy = probed(fleet, true, PROBES).await?;
    fleet.end().await;
    for task in storm {
        // What a worker set aside would wait for ever. Those that ended are left alone.
        client.broker().cancel(fleet.place.calm.clone(), task.id()).await?;
    }
    Ok(percentile_99(stormy) / percentile_99(calm).max(1.0))
}

/// Enqueues some at a steady pace and waits until all have run; answers how long each took, in ns.
async fn probed(fleet: &mut Fleet<'_>, storm: bool, count: usize) -> Result<Vec<u64>> {
    let (client, queue) = (&fleet.place.client, fleet.place.calm.as_str());
    let path = fleet.ledgers().map(|(_, path)| path).next().unwrap_or_default();
    let seen = measured(&read(&path)?, storm).len();
    let mut pace = tokio::time::interval(PROBE_EVERY);
    let mut calls = Vec::new();
    for _ in 0..count {
        pace.tick().await;
        let (client, sent) = (client.clone(), now());
        let draft = Probe { storm, sent }.draft().queue(queue);
        calls.push(actix_rt::spawn(async move { client.enqueue(draft).await }));
    }
    for call in calls {
        call.await.map_err(|error| Error::system("an enqueue died").because(error))??;
    }
    let deadline = Instant::now() + PHASE_MAX;
    loop {
        let times = measured(&read(&path)?, storm);
        if times.len() >= seen + count {
            return Ok(times[seen..].to_vec());
        }
        if Instant::now() > deadline {
            let missing = seen + count - times.len();
            return Err(Error::timeout(format!(
                "{missing} of {count} tasks did not run within {PHASE_MAX:?} on a worker nobody troubled"
            )));
        }
        fleet.tick()?;
        tokio::time::sleep(TICK).await;
    }
}

fn measured(lines: &[Line], stormy: bool) -> Vec<u64> {
    let time = |line: &Line| match line {
        Line::Probed { storm, ns } if *storm == stormy => Some(*ns),
        _ => None,
    };
    lines.iter().filter_map(time).collect()
}

/// Of the nearest rank.
fn percentile_99(mut times: Vec<u64>) -> f64 {
    times.sort_unstable();
    let rank = (0.99 * times.len() as f64).ceil() as usize;
    times.get(rank.max(1) - 1).map_or(0.0, |time| *time as f64)
}
