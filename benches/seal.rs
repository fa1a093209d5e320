//! Sealing and opening one payload, by size: what encryption costs a task, without a broker.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use oncue::Codec;
use oncue::seal::{Keyring, Purpose, Sealer, Seat};
use oncue::task::TaskId;

const SIZES: [usize; 4] = [100, 1_024, 16_384, 262_144];
/// Seals drawn from one batch: nonces come from the system once for all of them.
const BATCH: usize = 128;

fn seal(c: &mut Criterion) {
    let sealer = Sealer::new(Keyring::generate().expect("keys"), "bench").expect("sealer");
    let seat =
        Seat { purpose: Purpose::Result, task: TaskId::fresh(), attempt: 1, header: &[7; 60] };
    let mut group = c.benchmark_group("seal");
    for size in SIZES {
        let plaintext = vec![42; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("one", size), |b| {
            b.iter(|| sealer.seal(&seat, Codec::Json, black_box(&plaintext)).expect("seals"));
        });
        group.bench_function(BenchmarkId::new("in a batch of 128", size), |b| {
            b.iter_batched_ref(
                || sealer.batch(BATCH).expect("batch"),
                |batch| batch.seal(&seat, Codec::Json, black_box(&plaintext)).expect("seals"),
                BatchSize::NumIterations(BATCH as u64),
            );
        });
        let sealed = sealer.seal(&seat, Codec::Json, &plaintext).expect("seals");
        group.bench_function(BenchmarkId::new("open", size), |b| {
            b.iter(|| sealer.open(&seat, black_box(sealed.as_bytes())).expect("opens"));
        });
    }
    group.finish();
}

criterion_group!(benches, seal);
criterion_main!(benches);
