//! The limit of a queue under racing producers: never over, filled exactly, open again once drained.

use std::sync::atomic::{AtomicU64, Ordering};

use oncue::broker::*;
use oncue::state::State;

use super::site::Site;
use crate::fixture::*;

const PRODUCERS: usize = 8;
const LIMIT: u64 = 200;

#[test]
fn a_limit_is_exact_under_eight_racing_producers() {
    let site = Site::new();
    let plot = site.plot();
    let _: i64 = plot.raw("HSET", b"cfg", &[b"max", LIMIT.to_string().as_bytes()]);
    let mut all = Vec::new();
    for round in 1..=3 {
        let (created, refused) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for producer in 0..PRODUCERS {
                let (bench, created, refused) = (plot.direct(), &created, &refused);
                scope.spawn(move || {
                    // Until it was refused often; in both ways, one by one and by the seven.
                    let mut refusals = 0;
                    while refusals < 10 {
                        let size = if refusals == 0 { 7 } else { 1 };
                        let batch = match producer % 2 {
                            0 => bench.batch(tasks(size)),
                            _ => bench.batch(
                                (0..size).map(|_| task(KINDS[0]).id(oncue::TaskId::fresh())),
                            ),
                        };
                        match run(bench.broker.enqueue(batch)) {
                            Ok(_) => created.fetch_add(size as u64, Ordering::SeqCst),
                            Err(error) => {
                                assert!(error.is_full(), "{error}");
                                refusals += 1;
                                refused.fetch_add(1, Ordering::SeqCst)
                            }
                        };
                    }
                });
            }
        });
        assert_eq!(created.into_inner(), LIMIT, "round {round}");
        println!("round {round}: {LIMIT} stored, {refused:?} batches refused");
        // What was refused last is taken away by the next enqueue; one that is there already is no new one.
        let (session, claims) = plot.bench.take_all();
        assert_eq!(claims.len() as u64, LIMIT);
        assert!(
            refusal(plot.bench.broker.enqueue(plot.bench.batch(tasks(1)))).is_full(),
            "claimed ones count"
        );
        for chunk in claims.chunks(100) {
            let list = chunk.iter().map(|claim| Settlement::new(claim.ticket, keep(HOUR)));
            plot.bench.settle(&session, list.collect());
        }
        all.extend(ids(&claims));
    }
    assert_eq!(plot.bench.stats().count(State::Completed), 3 * LIMIT);
    all.push(plot.bench.put_one(task(KINDS[0])));
    plot.audit().check(all);
}

/// A control: without the limit the same producers go beyond it.
#[test]
fn without_a_limit_nobody_is_refused() {
    let site = Site::new();
    let plot = site.plot();
    for _ in 0..3 {
        plot.bench.put(tasks(100));
    }
    assert_eq!(plot.bench.stats().count(State::Pending), 300);
}
