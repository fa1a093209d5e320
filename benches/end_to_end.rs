//! A task's whole way: enqueued by a client, run by a worker, its result opened; and a thousand at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use oncue::{Client, Data, Task, TaskResult, Worker};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use tokio::sync::Notify;

const MANY: usize = 1_000;

#[derive(Serialize, Deserialize)]
struct Echo(u64);

impl Task for Echo {
    const KIND: &'static str = "echo";
    const RETENTION: Duration = Duration::from_secs(5);
}

async fn echo(task: Echo) -> TaskResult<u64> {
    Ok(task.0)
}

#[derive(Serialize, Deserialize)]
struct Tick;

impl Task for Tick {
    const KIND: &'static str = "tick";
}

/// Runs so far, and a bell for whoever waits for more.
#[derive(Default)]
struct Ticks {
    count: AtomicUsize,
    bell: Notify,
}

async fn tick(_: Tick, ticks: Data<std::sync::Arc<Ticks>>) -> TaskResult {
    ticks.count.fetch_add(1, Ordering::Relaxed);
    ticks.bell.notify_one();
    Ok(())
}

async fn start(url: &str, ticks: std::sync::Arc<Ticks>) -> oncue::Result<(Client, Worker)> {
    let client = oncue::connect(url).await?;
    let worker = client.worker().handle(echo).handle(tick).data(ticks).start().await?;
    Ok((client, worker))
}

fn end_to_end(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let home = tempfile::tempdir().expect("a directory");
    let file = format!("sqlite:{}", home.path().join("bench.db").display());
    let mut group = c.benchmark_group("end to end");
    group.sample_size(20).measurement_time(Duration::from_secs(5));
    for (name, url) in [("file", &file[..]), ("memory", "sqlite::memory:")] {
        let ticks = std::sync::Arc::<Ticks>::default();
        let (client, worker) = runtime.block_on(start(url, ticks.clone())).expect("starts");
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("one task and its result, {name}"), |b| {
            b.iter(|| {
                runtime.block_on(async {
                    let job = client.enqueue(Echo(7)).await.expect("enqueues");
                    assert_eq!(job.result::<u64>().await.expect("a result"), 7);
                });
            });
        });
        group.throughput(Throughput::Elements(MANY as u64));
        group.bench_function(format!("a thousand tasks, {name}"), |b| {
            b.iter(|| {
                runtime.block_on(async {
                    let goal = ticks.count.load(Ordering::Relaxed) + MANY;
                    client.enqueue_all((0..MANY).map(|_| Tick)).await.expect("enqueues");
                    while ticks.count.load(Ordering::Relaxed) < goal {
                        ticks.bell.notified().await;
                    }
                });
            });
        });
        runtime.block_on(worker.shutdown()).expect("shuts down");
    }
    group.finish();
}

criterion_group!(benches, end_to_end);
criterion_main!(benches);
