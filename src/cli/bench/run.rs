//! The bench itself: fill, close, measure the file, open again, drain, then one task at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use oncue::broker::{BATCH_BYTES_MAX, BATCH_TASKS_MAX, Usage};
use oncue::{Client, Data, Lane, Result, Task, TaskContext, TaskResult};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::figures::Figures;
use super::place::Place;
use super::tally::Tally;
use super::{Args, QUEUE, ceiling};
use crate::cli::pickup::Pickups;

/// Calls under way while enqueueing one at a time.
const IN_FLIGHT: usize = 64;
/// Calls under way while enqueueing in batches.
const CALLS: usize = 4;
/// Most tasks enqueued one at a time.
const SINGLES_MAX: u64 = 5_000;
/// Tasks that measure pickup, and how far apart.
const PROBES: u64 = 500;
const PROBE_EVERY: Duration = Duration::from_millis(10);
/// Bytes of a record beside its payload, generously.
const RECORD_EXTRA: usize = 512;

/// A task that does nothing but be counted.
#[derive(Serialize, Deserialize)]
struct Nothing {
    /// Tells the tasks of this run from those that an earlier one left.
    run: u32,
    number: u64,
    fill: String,
}

impl Task for Nothing {
    const KIND: &'static str = "bench:nothing";
    const QUEUE: &'static str = QUEUE;
}

impl Nothing {
    /// Of this many bytes when written as JSON, but for very small payloads.
    fn new(number: u64, payload: usize) -> Self {
        let run = std::process::id();
        let bare = format!(r#"{{"run":{run},"number":{number},"fill":""}}"#).len();
        Self { run, number, fill: "x".repeat(payload.saturating_sub(bare)) }
    }
}

async fn count(
    task: Nothing,
    tally: Data<Arc<Tally>>,
    pickups: Data<Arc<Pickups>>,
    context: TaskContext,
) -> TaskResult {
    if task.run == std::process::id() {
        pickups.started(&context);
        tally.ran(task.number);
    }
    Ok(())
}

/// Measures everything. Tasks are numbered on through all phases.
pub(super) async fn measure(args: &Args, place: &Place) -> Result<Figures> {
    let client = place.client().await?;
    let held = place.held(&client, args.yes).await?;
    // A database in memory is gone with its last handle, so that one stays open.
    let (client, empty) = match place.is_volatile() {
        true => (client, None),
        false => {
            drop(client);
            let size = place.size().await;
            (place.client().await?, size)
        }
    };
    let singles = args.tasks.min(SINGLES_MAX);
    let preloaded = singles + args.tasks;
    let enqueue_single_per_s = one_at_a_time(&client, singles, args.payload).await?;
    let before = client.broker().usage().await?;
    let enqueue_bulk_per_s = in_bulk(&client, singles..preloaded, args.payload).await?;
    let filled = client.broker().usage().await?;
    let (client, full) = match place.is_volatile() {
        true => (client, None),
        false => {
            drop(client);
            let size = place.size().await;
            (place.client().await?, size)
        }
    };
    let served = before.zip(filled).map(|(before, filled)| Served { before, filled });
    let grown = empty.zip(full).map(|(empty, full)| full.saturating_sub(empty));

    let tally = Arc::new(Tally::new((preloaded + PROBES) as usize));
    let pickups = Arc::new(Pickups::new());
    let (events, cpu, began) = (tally.clone(), cpu_us(), Instant::now());
    let worker = client
        .worker()
        .handle(count)
        .data(tally.clone())
        .data(pickups.clone())
        .lane(Lane::weighted([(QUEUE, 1)]).concurrency(args.concurrency))
        .on_event(move |event| events.note(event))
        .start()
        .await?;
    tally.settled(held + preloaded).await;
    let (drained, cpu) = (began.elapsed(), cpu_us().saturating_sub(cpu));
    let emptied = client.broker().usage().await?;
    probe(&client, &pickups, preloaded, args.payload).await?;
    tally.settled(held + preloaded + PROBES).await;
    worker.shutdown().await?;
    let drain_per_s = per_s(held + preloaded, drained);
    let ceiling = ceiling::drain(client.broker(), args.tasks, args.payload).await?;
    let served = served.zip(emptied);
    let per_task = |spent: fn(&Usage) -> u64| {
        served.as_ref().map(|(served, emptied)| {
            let life = |from: &Usage, to: &Usage| spent(to).saturating_sub(spent(from)) as f64;
            let stored = life(&served.before, &served.filled) / args.tasks as f64;
            hundredth(stored + life(&served.filled, emptied) / (held + preloaded) as f64)
        })
    };
    let memory = served.as_ref().map(|(served, _)| {
        let grown = served.filled.memory.saturating_sub(served.before.memory);
        tenth(grown as f64 / args.tasks as f64)
    });
    Ok(Figures {
        tasks: args.tasks,
        payload_bytes: args.payload,
        concurrency: args.concurrency,
        enqueue_single_per_s,
        enqueue_bulk_per_s,
        drain_per_s,
        pickup_p50_us: pickups.percentile(0.50),
        pickup_p99_us: pickups.percentile(0.99),
        worker_cpu_us_per_task: tenth(cpu as f64 / (held + preloaded) as f64),
        bytes_per_pending_task: grown
            .map(|bytes| tenth(bytes as f64 / preloaded as f64))
            .or(memory),
        redis_cpu_us_per_task: per_task(|usage| usage.cpu_us),
        redis_requests_per_task: per_task(|usage| usage.requests),
        ceiling_ratio: hundredth(drain_per_s / ceiling),
        lost: tally.lost(0..preloaded + PROBES),
        duplicates: tally.duplicates(),
    })
}

/// What the server had spent before and after the tasks were stored in batches.
struct Served {
    before: Usage,
    filled: Usage,
}

async fn one_at_a_time(client: &Client, tasks: u64, payload: usize) -> Result<f64> {
    let began = Instant::now();
    stream::iter(0..tasks)
        .map(|number| client.enqueue(Nothing::new(number, payload)))
        .buffer_unordered(IN_FLIGHT)
        .try_for_each(|_| std::future::ready(Ok(())))
        .await?;
    Ok(per_s(tasks, began.elapsed()))
}

/// Tasks of a batch: 1,000, fewer only if the payload is so large that those do not fit.
pub(super) fn batch_size(payload: usize) -> usize {
    (BATCH_BYTES_MAX / (payload + RECORD_EXTRA)).clamp(1, BATCH_TASKS_MAX)
}

async fn in_bulk(client: &Client, tasks: std::ops::Range<u64>, payload: usize) -> Result<f64> {
    let size = batch_size(payload) as u64;
    let (began, count) = (Instant::now(), tasks.end - tasks.start);
    let starts = tasks.clone().step_by(size as usize);
    stream::iter(starts)
        .map(|from| {
            let batch = from..(from + size).min(tasks.end);
            client.enqueue_all(batch.map(|number| Nothing::new(number, payload)))
        })
        .buffer_unordered(CALLS)
        .try_for_each(|_| std::future::ready(Ok(())))
        .await?;
    Ok(per_s(count, began.elapsed()))
}

/// At a steady pace, whatever an enqueue takes.
async fn probe(client: &Client, pickups: &Arc<Pickups>, first: u64, payload: usize) -> Result<()> {
    let mut ticks = interval(PROBE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut calls = JoinSet::new();
    for number in first..first + PROBES {
        ticks.tick().await;
        let (client, pickups) = (client.clone(), pickups.clone());
        calls.spawn(async move {
            client.enqueue(pickups.stamped(Nothing::new(number, payload))).await.map(drop)
        });
    }
    while let Some(call) = calls.join_next().await {
        call.map_err(|error| oncue::Error::system("an enqueue panicked").because(error))??;
    }
    Ok(())
}

/// Processor time of this process so far.
fn cpu_us() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let (seconds, nanos) = (time.tv_sec.max(0) as u64, time.tv_nsec.max(0) as u64);
    seconds * 1_000_000 + nanos / 1_000
}

fn per_s(count: u64, time: Duration) -> f64 {
    tenth(count as f64 / time.as_secs_f64().max(1e-6))
}

fn hundredth(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

fn tenth(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_has_the_size_asked_for() {
        for (number, payload) in [(0, 100), (123_456, 64), (7, 4096)] {
            let bytes = serde_json::to_vec(&Nothing::new(number, payload)).expect("json");
            assert_eq!(bytes.len(), payload);
        }
    }
}
