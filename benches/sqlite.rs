//! The verbs of the SQLite broker on a file, durability full, without runtime or handlers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use oncue::Connect;
use oncue::broker::{Ask, Batch, Beat, Claim, Lane, NewTask, Operate, Order, Session, Settlement};
use oncue::envelope::Header;
use oncue::queue::{Kind, QueueName};
use oncue::seal::{Keyring, Sealer};
use oncue::task::{Due, TaskId};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

const LEASE: Duration = Duration::from_secs(60);
const SIZES: [usize; 3] = [1, 100, 1_000];

struct Bench {
    broker: Arc<dyn Operate>,
    sealer: Sealer,
    queue: QueueName,
    kind: Kind,
    runtime: Runtime,
    _home: TempDir,
}

impl Bench {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let url = format!("sqlite:{}", home.path().join("bench.db").display());
        let connection = Connect::new(url).open().expect("opens");
        Self {
            broker: connection.broker,
            sealer: Sealer::new(Keyring::generate().expect("keys"), "bench").expect("sealer"),
            queue: QueueName::parse("bench").expect("queue"),
            kind: Kind::parse("bench").expect("kind"),
            runtime: Builder::new_current_thread().build().expect("a runtime"),
            _home: home,
        }
    }

    fn batch(&self, tasks: usize) -> Batch {
        let header = Header::new(self.kind.clone(), self.queue.clone(), self.broker.now());
        let mut seals = self.sealer.batch(tasks).expect("batch");
        let mut task = || {
            let sealed = seals.envelope(TaskId::fresh(), header.clone(), &[], &[42; 100]);
            NewTask { fresh: true, ..NewTask::new(sealed.expect("seals"), Due::Now) }
        };
        let tasks: Vec<_> = (0..tasks).map(|_| task()).collect();
        Batch::new(self.queue.clone(), tasks)
    }

    fn fill(&self, tasks: usize) {
        self.runtime.block_on(self.broker.enqueue(self.batch(tasks))).expect("enqueues");
    }

    fn claim(&self, session: &Session, max: usize) -> Vec<Claim> {
        let accept = vec![(self.kind.hash(), max)];
        let ask = Ask { session: session.clone(), lease: LEASE, max, lane: Lane::Shared, accept };
        let claims = self.runtime.block_on(self.broker.dequeue(ask)).expect("dequeues");
        assert_eq!(claims.len(), max);
        claims
    }

    fn settle(&self, session: &Session, claims: &[Claim]) {
        let done = |claim: &Claim| {
            let order = Order::Complete { keep: Duration::ZERO, result: None };
            Settlement::new(claim.ticket, order)
        };
        let settlements = claims.iter().map(done).collect();
        self.runtime.block_on(self.broker.settle(session.clone(), settlements)).expect("settles");
    }
}

/// Times `run` alone, `rounds` times.
fn timed<T>(rounds: u64, mut before: impl FnMut() -> T, mut run: impl FnMut(T)) -> Duration {
    let mut total = Duration::ZERO;
    for _ in 0..rounds {
        let ready = before();
        let begun = Instant::now();
        run(ready);
        total += begun.elapsed();
    }
    total
}

fn verbs(c: &mut Criterion) {
    let mut group = c.benchmark_group("sqlite");
    group.sample_size(20).measurement_time(Duration::from_secs(3));
    for size in SIZES {
        group.throughput(Throughput::Elements(size as u64));
        let bench = Bench::new();
        group.bench_function(BenchmarkId::new("enqueue", size), |b| {
            let enqueue = |batch| {
                bench.runtime.block_on(bench.broker.enqueue(batch)).expect("enqueues");
            };
            b.iter_custom(|rounds| timed(rounds, || bench.batch(size), enqueue));
        });
        let bench = Bench::new();
        let session = Session::fresh(bench.queue.clone());
        group.bench_function(BenchmarkId::new("dequeue", size), |b| {
            b.iter_custom(|rounds| {
                let claim = |()| drop(bench.claim(&session, size));
                timed(rounds, || bench.fill(size), claim)
            });
        });
        let bench = Bench::new();
        let session = Session::fresh(bench.queue.clone());
        group.bench_function(BenchmarkId::new("settle", size), |b| {
            let claimed = || {
                bench.fill(size);
                bench.claim(&session, size)
            };
            b.iter_custom(|rounds| timed(rounds, claimed, |c| bench.settle(&session, &c)));
        });
    }
    group.throughput(Throughput::Elements(1));
    let bench = Bench::new();
    let session = Session::fresh(bench.queue.clone());
    bench.fill(1);
    bench.claim(&session, 1);
    group.bench_function("beat", |b| {
        let beat = || Beat { sessions: vec![session.clone()], lease: LEASE, presence: None };
        b.iter(|| bench.runtime.block_on(bench.broker.beat(beat())).expect("beats"));
    });
    group.bench_function("advance, nothing due", |b| {
        b.iter(|| {
            bench
                .runtime
                .block_on(bench.broker.advance(bench.queue.clone(), 500))
                .expect("advances")
        });
    });
    group.finish();
}

criterion_group!(benches, verbs);
criterion_main!(benches);
