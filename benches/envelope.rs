//! The record of a task: its header written and read, a whole envelope made and opened.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use oncue::clock::Timestamp;
use oncue::envelope::{Header, Stored};
use oncue::queue::{Kind, QueueName};
use oncue::seal::{Keyring, Sealer};
use oncue::task::TaskId;

const BODY: [u8; 100] = [42; 100];

fn header() -> Header {
    Header {
        retention: Duration::from_secs(60),
        ..Header::new(
            Kind::parse("email:send").expect("kind"),
            QueueName::parse("default").expect("queue"),
            Timestamp(1_700_000_000_000),
        )
    }
}

fn envelope(c: &mut Criterion) {
    let sealer = Sealer::new(Keyring::generate().expect("keys"), "bench").expect("sealer");
    let (id, header) = (TaskId::fresh(), header());
    let mut group = c.benchmark_group("envelope");
    let bytes = header.encode().expect("encodes");
    group.bench_function("header encode", |b| b.iter(|| black_box(&header).encode()));
    group.bench_function("header decode", |b| b.iter(|| Header::decode(black_box(&bytes))));
    group.bench_function("make 100 in one batch", |b| {
        b.iter(|| {
            let mut batch = sealer.batch(100).expect("batch");
            for _ in 0..100 {
                black_box(batch.envelope(id, header.clone(), &[], &BODY).expect("seals"));
            }
        });
    });
    let made = sealer.batch(1).and_then(|mut batch| batch.envelope(id, header.clone(), &[], &BODY));
    let record = made.expect("seals").record();
    group.bench_function("open", |b| {
        b.iter(|| {
            let stored = Stored::parse(id, black_box(record.clone())).expect("parses");
            sealer.open_task(&stored).expect("opens")
        });
    });
    group.finish();
}

criterion_group!(benches, envelope);
criterion_main!(benches);
