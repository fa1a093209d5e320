//! A short history that uses every verb, and what must be true after it, whatever went missing on the way.

use std::time::Duration;

use oncue::broker::*;
use oncue::state::{Reason, State};
use oncue::task::TaskId;

use super::site::{Plot, again};
use crate::fixture::*;

/// More claims than come with their records: those are fetched by another command.
const MANY: usize = 10;

/// Enqueues in both ways, claims few and many, settles by every order, hands back, lets leases run out, and
/// drains: at the end every task is kept. Answers which those are.
pub fn play(plot: &Plot<'_>) -> Vec<TaskId> {
    let bench = &plot.bench;
    let fresh = bench.batch(tasks(MANY));
    let given = [
        task(KINDS[0]).key("one"),
        task(KINDS[1]).after(MINUTE),
        task(KINDS[1]).priority(3),
        task(KINDS[2]).id(TaskId::fresh()),
    ];
    let given = bench.batch(given);
    let mut ids = Vec::new();
    for batch in [&fresh, &given] {
        plot.enqueue(batch);
        ids.extend(batch.tasks.iter().map(|task| task.envelope.id()));
    }
    every_order(plot);
    // One session is handed back, one dies.
    let (session, _) = plot.claim(3);
    plot.retire(&session);
    plot.claim(3);
    sweep(plot);
    for _ in 0..4 {
        bench.pass(HOUR);
        again(|| bench.broker.advance(bench.queue.clone(), 1_000)).expect("advanced");
        for lane in [Lane::Shared, Lane::Alone] {
            let (session, claims) = plot.claim_from(lane, CLAIMS_MAX);
            let list: Vec<_> = claims.iter().map(kept).collect();
            plot.settle(&session, &list).expect("settled");
        }
    }
    ids
}

fn kept(claim: &Claim) -> Settlement {
    Settlement::new(claim.ticket, keep(Duration::from_secs(1_000 * 3_600)))
}

/// Settles as many claims as there are orders.
fn every_order(plot: &Plot<'_>) {
    let (session, claims) = plot.claim(MANY);
    let forever = Duration::from_secs(1_000 * 3_600);
    let result = Some((1, result_of(&claims[0], 1, b"1")));
    let orders = [
        Order::Complete { keep: forever, result },
        Order::Archive { reason: Reason::Exhausted },
        Order::Retry { after: MINUTE, front: false },
        Order::Snooze { after: MINUTE },
        release(),
        Order::Release { lane: Lane::Alone },
    ];
    let settlement = |(claim, order): (&Claim, Order)| Settlement {
        trail: Some(trail(1)),
        ..Settlement::new(claim.ticket, order)
    };
    let list: Vec<_> = claims.iter().zip(orders).map(settlement).collect();
    plot.settle(&session, &list).expect("settled");
    // A beat of what is not settled; then it runs out, or is given back.
    let beat = Beat { sessions: vec![session.clone()], lease: LEASE, presence: None };
    assert_eq!(again(|| plot.bench.broker.beat(beat.clone())).expect("beaten").lost, []);
}

/// Takes over what sessions before held, and hands it back.
fn sweep(plot: &Plot<'_>) {
    let bench = &plot.bench;
    for _ in 0..8 {
        // A sweep whose answer was lost is another sweeper's to find.
        let sweeper = bench.session();
        match run(bench.broker.reclaim(bench.sweep(&sweeper))) {
            Ok(claims) if claims.is_empty() => {}
            Ok(claims) => {
                let back = |claim: &Claim| Settlement::new(claim.ticket, release());
                let list: Vec<_> = claims.iter().map(back).collect();
                plot.settle(&sweeper, &list).expect("settled");
            }
            Err(error) => assert!(error.is_unreachable(), "{error}"),
        }
        bench.pass(GAP / 2 + SECOND);
    }
}

/// Fails unless every task was kept once, by one completion, and nothing else is there.
#[track_caller]
pub fn check(plot: &Plot<'_>, ids: &[TaskId]) {
    // The next enqueue takes away what a late one left: one more task shows it.
    plot.enqueue(&plot.bench.batch(tasks(1)));
    let (session, claims) = plot.claim(CLAIMS_MAX);
    assert_eq!(claims.len(), 1, "nothing but the last one is pending");
    plot.settle(&session, &[Settlement::new(claims[0].ticket, complete())]).expect("settled");
    plot.audit().check(ids.iter().copied());
    let stats = plot.bench.stats();
    let ended = (stats.count(State::Completed), stats.count(State::Archived));
    let all = ids.len() as u64;
    assert_eq!(ended.0 + ended.1, all, "{stats:?}");
    assert_eq!(stats.total(), all);
    // The last one was completed too, and is gone.
    assert_eq!(stats.completed, ended.0 + 1, "each completion is recorded once");
}
