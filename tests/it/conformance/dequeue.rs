//! `dequeue`: who may claim, what, and in which order.

use std::collections::BTreeSet;

use oncue::broker::*;
use oncue::queue::KindHash;
use oncue::state::State;
use oncue::task::Trail;

use super::open;
use crate::fixture::*;

#[test]
fn a_claim_brings_all_that_is_needed_to_run_and_to_settle() {
    let bench = open();
    let batch = bench.batch([task(KINDS[2]).priority(3)]);
    bench.enqueue(&batch);
    let (_, claims) = bench.take_all();
    let (claim, envelope) = (&claims[0], &batch.tasks[0].envelope);
    assert_eq!(claim.ticket, Ticket::of(envelope.id(), envelope.header()));
    assert_eq!((claim.cause, &claim.trail), (Cause::Dequeued, &Trail::default()));
    assert_eq!(claim.stored.header().expect("decodes"), *envelope.header());
    assert_eq!(claim.stored.record_len(), envelope.record_len());
    assert_eq!(bench.state(claim.id()), Some(State::Active));
}

#[test]
fn an_empty_answer_opens_the_session_all_the_same() {
    let bench = open();
    let session = bench.session();
    assert_eq!(ids(&bench.take(&session, 5)), []);
    assert_eq!(bench.beat(&[&session]), []);
}

#[test]
fn first_in_is_first_out_within_a_kind() {
    let bench = open();
    let mut put = bench.put(tasks(2));
    put.extend(bench.put(tasks(3)));
    let session = bench.session();
    for id in put {
        assert_eq!(ids(&bench.take(&session, 1)), [id]);
    }
}

#[test]
fn a_higher_priority_goes_first_within_its_kind() {
    let bench = open();
    let put = bench.put([0u8, 9, 4, 9].map(|priority| task(KINDS[0]).priority(priority)));
    let session = bench.session();
    for at in [1, 3, 2, 0] {
        assert_eq!(ids(&bench.take(&session, 1)), [put[at]]);
    }
}

#[test]
fn what_is_released_goes_before_what_never_ran_but_passes_no_priority() {
    let bench = open();
    let put = bench.put(tasks(3));
    let session = bench.session();
    let claims = bench.take(&session, 1);
    bench.end(&session, &claims[0], release());
    let urgent = bench.put_one(task(KINDS[0]).priority(1));
    for id in [urgent, put[0], put[1], put[2]] {
        assert_eq!(ids(&bench.take(&session, 1)), [id]);
    }
}

#[test]
fn no_more_than_asked_for_are_claimed() {
    let bench = open();
    bench.put(tasks(5));
    let session = bench.session();
    assert_eq!(bench.take(&session, 2).len(), 2);
    assert_eq!(bench.take(&session, 2).len(), 2);
    assert_eq!(bench.take(&session, 2).len(), 1);
    assert_eq!(bench.stats().count(State::Active), 5);
}

#[test]
fn a_limit_of_one_kind_holds_that_kind_back_and_no_other() {
    let bench = open();
    let first = bench.put((0..50).map(|_| task(KINDS[0])));
    let second = bench.put((0..5).map(|_| task(KINDS[1])));
    let mut ask = bench.ask(&bench.session(), 10);
    ask.accept = vec![(KindHash::of(KINDS[0]), 2), (KindHash::of(KINDS[1]), 9)];
    let claimed: BTreeSet<_> = ids(&bench.claims(ask)).into_iter().collect();
    assert_eq!(claimed, first[..2].iter().chain(&second).copied().collect());
}

#[test]
fn no_kind_waits_behind_the_backlog_of_others_for_ever() {
    let bench = open();
    let few = bench.put((0..5).map(|_| task(KINDS[2])));
    for kind in &KINDS[..2] {
        bench.put((0..100).map(|_| task(kind)));
    }
    // A queue in between has its share of whatever numbers a broker hands out.
    for others in 0..3 {
        let session = bench.session();
        let mut claimed = BTreeSet::new();
        for _ in 0..20 {
            let mut ask = bench.ask(&session, 1);
            ask.accept = KINDS[..3].iter().map(|kind| (KindHash::of(kind), 1)).collect();
            claimed.extend(ids(&bench.claims(ask)));
            (0..others).for_each(|_| drop(bench.take(&bench.session(), 0)));
        }
        assert!(few.iter().all(|id| claimed.contains(id)), "beside {others} others");
        bench.retire(&session, &[]);
    }
}

#[test]
fn kinds_that_are_not_accepted_are_not_claimed_and_stay_pending() {
    let bench = open();
    let refused = bench.put_one(task("odd:one"));
    assert_eq!(ids(&bench.take_all().1), []);
    assert_eq!(bench.state(refused), Some(State::Pending));
    let mut ask = bench.ask(&bench.session(), 1);
    ask.accept = vec![(KindHash::of("odd:one"), 1)];
    assert_eq!(ids(&bench.claims(ask)), [refused]);
}

#[test]
fn ten_thousand_refused_tasks_do_not_stand_in_the_way_of_ten() {
    let bench = open();
    for _ in 0..10 {
        bench.put((0..1_000).map(|_| task("odd:one").priority(9)));
    }
    let wanted = bench.put(tasks(10));
    assert_eq!(ids(&bench.take(&bench.session(), 10)), wanted);
    assert_eq!(bench.stats().count(State::Pending), 10_000);
}

#[test]
fn the_lanes_are_kept_apart() {
    let bench = open();
    let put = bench.put(tasks(2));
    let session = bench.session();
    let claims = bench.take(&session, 1);
    bench.end(&session, &claims[0], Order::Release { lane: Lane::Alone });
    let alone = Ask { lane: Lane::Alone, ..bench.ask(&session, 9) };
    assert_eq!(ids(&bench.take(&session, 9)), [put[1]]);
    let claims = bench.claims(alone.clone());
    assert_eq!(ids(&claims), [put[0]]);
    bench.end(&session, &claims[0], release());
    assert_eq!(ids(&bench.claims(alone)), []);
    assert_eq!(ids(&bench.take(&session, 9)), [put[0]]);
}

#[test]
fn a_task_stays_in_its_lane_until_a_release_says_otherwise() {
    let bench = open();
    let id = bench.put_one(task(KINDS[0]));
    let session = bench.session();
    let claims = bench.take(&session, 1);
    bench.end(&session, &claims[0], Order::Release { lane: Lane::Alone });
    let alone = || Ask { lane: Lane::Alone, ..bench.ask(&session, 9) };
    let claims = bench.claims(alone());
    bench.end(&session, &claims[0], Order::Retry { after: SECOND, front: false });
    bench.pass(SECOND);
    bench.advance();
    assert_eq!(ids(&bench.take(&session, 9)), []);
    assert_eq!(ids(&bench.claims(alone())), [id]);
}

#[test]
fn a_thousand_are_claimed_at_once_and_never_more() {
    let bench = open();
    bench.put(tasks(CLAIMS_MAX));
    bench.put(tasks(10));
    assert_eq!(bench.take(&bench.session(), CLAIMS_MAX).len(), CLAIMS_MAX);
    bench.put(tasks(CLAIMS_MAX));
    let reply = run(bench.broker.dequeue(bench.ask(&bench.session(), CLAIMS_MAX + 1)));
    let claimed = reply.map_or(0, |claims| claims.len());
    assert!(claimed <= CLAIMS_MAX);
    assert_eq!(bench.stats().count(State::Active), (CLAIMS_MAX + claimed) as u64);
}

#[test]
fn the_lease_is_written_when_the_session_is_opened_and_claims_do_not_extend_it() {
    let bench = open();
    let session = bench.session();
    bench.put(tasks(2));
    bench.take(&session, 1);
    bench.pass(LEASE - SECOND);
    assert_eq!(bench.take(&session, 1).len(), 1);
    bench.pass(SECOND * 2);
    assert!(refusal(bench.broker.dequeue(bench.ask(&session, 1))).is_fenced());
}

#[test]
fn a_session_that_is_expired_retired_or_dead_claims_nothing() {
    let bench = open();
    let put = bench.put(tasks(4));
    let (expired, retired) = (bench.session(), bench.session());
    let lone = bench.session();
    bench.take(&expired, 1);
    bench.take(&retired, 1);
    bench.claims(Ask { lane: Lane::Alone, ..bench.ask(&lone, 1) });
    bench.retire(&retired, &[]);
    bench.pass(LEASE + SECOND);
    let fenced = |session| refusal(bench.broker.dequeue(bench.ask(session, 9))).is_fenced();
    assert!(fenced(&expired) && fenced(&retired) && fenced(&lone));
    bench.warm_up_sweeps();
    let (_, lost) = bench.take_over();
    assert_eq!(ids(&lost), put[..1]);
    assert!(fenced(&expired) && fenced(&retired) && fenced(&lone));
    assert_eq!((bench.stats().count(State::Pending), bench.stats().count(State::Active)), (3, 1));
}

#[test]
fn no_task_is_handed_out_twice_to_sessions_that_ask_at_once() {
    let bench = open();
    bench.put(tasks(1_000));
    let worker = || {
        let session = bench.session();
        let mut mine = Vec::new();
        loop {
            let claims = bench.take(&session, 7);
            mine.extend(ids(&claims));
            if claims.is_empty() {
                return mine;
            }
        }
    };
    let all: Vec<_> = std::thread::scope(|scope| {
        let workers = [(); 4].map(|()| scope.spawn(worker));
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker")).collect()
    });
    assert_eq!(all.len(), 1_000);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 1_000);
}
