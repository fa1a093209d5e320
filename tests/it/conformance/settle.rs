//! `settle`: each claim on its own, by its holder only, and once.

use std::time::Duration;

use oncue::broker::*;
use oncue::state::{Reason, State};
use oncue::task::{TaskId, Trail};

use super::open;
use crate::fixture::*;

use Settled::{Done, Gone};

#[test]
fn every_order_leads_where_it_says() {
    let wait = Duration::from_millis(1_500);
    for (order, until, runs) in [
        (complete(), None, (1, 0)),
        (keep(HOUR), Some(HOUR), (1, 0)),
        (Order::Retry { after: wait, front: false }, Some(wait), (0, 1)),
        (Order::Snooze { after: wait }, Some(wait), (0, 0)),
        (release(), None, (0, 0)),
        (Order::Release { lane: Lane::Alone }, None, (0, 0)),
        (Order::Archive { reason: Reason::Exhausted }, None, (0, 1)),
        (Order::Drop, None, (0, 0)),
    ] {
        let bench = open();
        let id = bench.put_one(task(KINDS[0]));
        let (session, claims) = bench.take_all();
        bench.end(&session, &claims[0], order.clone());
        assert_eq!(bench.state(id), order.leads_to(), "{order:?}");
        let until = until.map(|time| bench.now().plus(time));
        assert_eq!(bench.show(id).and_then(|view| view.until), until, "{order:?}");
        let stats = bench.stats();
        assert_eq!((stats.completed, stats.failed), runs, "{order:?}");
        assert_eq!(stats.total(), u64::from(order.leads_to().is_some()));
    }
}

#[test]
fn an_archived_task_carries_its_reason_and_only_failures_count_as_failed() {
    let bench = open();
    for reason in Reason::ALL {
        let id = bench.put_one(task(KINDS[0]));
        let (session, claims) = bench.take_all();
        bench.end(&session, &claims[0], Order::Archive { reason });
        let view = bench.show(id).expect("kept");
        assert_eq!((view.state, view.reason), (State::Archived, Some(reason)));
    }
    assert_eq!(bench.stats().failed, 2);
    assert_eq!(bench.stats().count(State::Archived), 8);
}

#[test]
fn a_result_is_kept_with_its_task_and_its_attempt() {
    let bench = open();
    let id = bench.put_one(task(KINDS[0]));
    let (session, claims) = bench.take_all();
    let sealed = result_of(&claims[0], 2, b"\"done\"");
    let order = Order::Complete { keep: HOUR, result: Some((2, sealed.clone())) };
    bench.end(&session, &claims[0], order);
    let expected = Kept { attempt: 2, sealed: sealed.as_bytes().to_vec() };
    assert_eq!(bench.show(id).and_then(|view| view.result), Some(expected));
}

#[test]
fn a_result_goes_with_a_task_that_is_not_kept() {
    let bench = open();
    let id = bench.put_one(task(KINDS[0]));
    let (session, claims) = bench.take_all();
    let result = Some((1, result_of(&claims[0], 1, b"1")));
    bench.end(&session, &claims[0], Order::Complete { keep: Duration::ZERO, result });
    bench.put_one(task(KINDS[0]).id(id));
    let (session, claims) = bench.take_all();
    bench.end(&session, &claims[0], keep(HOUR));
    assert_eq!(bench.show(id).and_then(|view| view.result), None);
}

#[test]
fn a_trail_is_written_kept_and_emptied_as_told() {
    let bench = open();
    let id = bench.put_one(task(KINDS[0]));
    let session = bench.session();
    for (given, then) in [
        (None, Trail::default()),
        (Some(trail(1)), trail(1)),
        (None, trail(1)),
        (Some(trail(2)), trail(2)),
        (Some(Trail::default()), Trail::default()),
    ] {
        let claims = bench.take(&session, 1);
        let settlement =
            Settlement { trail: given, ..Settlement::new(claims[0].ticket, release()) };
        assert_eq!(bench.settle(&session, vec![settlement]), [Done]);
        assert_eq!(bench.show(id).map(|view| view.trail), Some(then));
    }
}

#[test]
fn a_trail_comes_with_the_next_claim_and_stays_with_what_is_kept() {
    let bench = open();
    let id = bench.put_one(task(KINDS[0]));
    let session = bench.session();
    let claims = bench.take(&session, 1);
    let after = Order::Retry { after: SECOND, front: false };
    let failed = Settlement { trail: Some(trail(1)), ..Settlement::new(claims[0].ticket, after) };
    bench.settle(&session, vec![failed]);
    bench.pass(SECOND);
    bench.advance();
    let claims = bench.take(&session, 1);
    assert_eq!(claims[0].trail, trail(1));
    bench.end(&session, &claims[0], Order::Archive { reason: Reason::Exhausted });
    assert_eq!(bench.show(id).map(|view| view.trail), Some(trail(1)));
}

#[test]
fn each_settlement_is_written_on_its_own_and_answered_in_order() {
    let bench = open();
    bench.put(tasks(3));
    let session = bench.session();
    let mine = bench.take(&session, 2);
    let foreign = bench.take(&bench.session(), 1);
    let drop = |claim: &Claim| Settlement::new(claim.ticket, Order::Drop);
    let list = vec![drop(&mine[0]), drop(&foreign[0]), drop(&mine[0]), drop(&mine[1])];
    assert_eq!(bench.settle(&session, list), [Done, Gone, Gone, Done]);
    assert_eq!(bench.state(foreign[0].id()), Some(State::Active));
    assert_eq!(bench.stats().total(), 1);
}

#[test]
fn a_settle_sent_again_is_gone_and_counts_once() {
    for order in
        [complete(), keep(HOUR), Order::Retry { after: HOUR, front: false }, release(), Order::Drop]
    {
        let bench = open();
        bench.put_one(task(KINDS[0]));
        let (session, claims) = bench.take_all();
        let settlement = Settlement::new(claims[0].ticket, order);
        assert_eq!(bench.settle(&session, vec![settlement.clone()]), [Done]);
        let stats = bench.stats();
        assert_eq!(bench.settle(&session, vec![settlement]), [Gone]);
        assert_eq!(bench.stats(), stats);
    }
}

#[test]
fn a_settle_sent_again_does_not_hit_a_later_claim_of_the_same_task() {
    let bench = open();
    let id = bench.put_one(task(KINDS[0]));
    let (first, claims) = bench.take_all();
    bench.end(&first, &claims[0], release());
    bench.retire(&first, &[id]);
    let (second, again) = bench.take_all();
    let late = Settlement::new(claims[0].ticket, Order::Drop);
    assert_eq!(bench.settle(&first, vec![late]), [Gone]);
    assert_eq!(bench.state(id), Some(State::Active));
    bench.end(&second, &again[0], keep(HOUR));
}

#[test]
fn a_session_nobody_knows_settles_nothing() {
    let bench = open();
    let id = bench.put_one(task(KINDS[0]));
    let (session, claims) = bench.take_all();
    let list = vec![Settlement::new(claims[0].ticket, Order::Drop)];
    assert!(refusal(bench.broker.settle(bench.session(), list.clone())).is_fenced());
    let astray = Session { queue: queue("other"), id: session.id };
    assert!(refusal(bench.broker.settle(astray, list)).is_fenced());
    assert_eq!(bench.state(id), Some(State::Active));
}

#[test]
fn a_session_that_expired_but_was_not_killed_still_settles() {
    let bench = open();
    bench.put_one(task(KINDS[0]));
    let (session, claims) = bench.take_all();
    bench.pass(HOUR);
    bench.end(&session, &claims[0], complete());
    assert_eq!(bench.stats().total(), 0);
}

#[test]
fn a_late_settle_after_reclaim_is_refused_and_changes_nothing() {
    let bench = open();
    let id = bench.put_one(task(KINDS[0]));
    let (late, claims) = bench.take_all();
    bench.warm_up_sweeps();
    let (sweeper, taken) = bench.take_over();
    let list =
        vec![Settlement { trail: Some(trail(9)), ..Settlement::new(claims[0].ticket, keep(HOUR)) }];
    assert!(refusal(bench.broker.settle(late.clone(), list.clone())).is_fenced());
    let view = bench.show(id).expect("there");
    assert_eq!((view.state, view.trail), (State::Active, Trail::default()));
    bench.end(&sweeper, &taken[0], release());
    assert!(refusal(bench.broker.settle(late, list)).is_fenced());
    assert_eq!((bench.state(id), bench.stats().completed), (Some(State::Pending), 0));
}

#[test]
fn a_thousand_are_settled_at_once() {
    let bench = open();
    bench.put(tasks(CLAIMS_MAX));
    let (session, claims) = bench.take_all();
    let list = claims.iter().map(|claim| Settlement::new(claim.ticket, keep(HOUR))).collect();
    assert_eq!(bench.settle(&session, list), [Done; CLAIMS_MAX]);
    assert_eq!(bench.stats().count(State::Completed), CLAIMS_MAX as u64);
}

#[test]
fn more_than_a_thousand_are_refused_whole_or_not_at_all() {
    let bench = open();
    bench.put(tasks(1));
    let (session, claims) = bench.take_all();
    let list = vec![Settlement::new(claims[0].ticket, Order::Drop); CLAIMS_MAX + 1];
    let reply = run(bench.broker.settle(session, list));
    assert_eq!(bench.stats().total(), u64::from(reply.is_err()));
}

#[test]
fn a_task_that_waits_for_its_time_is_not_claimed() {
    for order in [Order::Retry { after: SECOND, front: false }, Order::Snooze { after: SECOND }] {
        let bench = open();
        bench.put_one(task(KINDS[0]));
        let (session, claims) = bench.take_all();
        bench.end(&session, &claims[0], order);
        assert_eq!(ids(&bench.take(&session, 9)), []);
    }
}

#[test]
fn a_ticket_of_a_task_that_is_not_there_is_gone_and_makes_nothing() {
    let bench = open();
    bench.put(tasks(1));
    let (session, claims) = bench.take_all();
    let stranger = Ticket { id: TaskId::fresh(), ..claims[0].ticket };
    for order in [
        complete(),
        keep(HOUR),
        Order::Retry { after: SECOND, front: false },
        release(),
        Order::Drop,
    ] {
        let ghost = Settlement { trail: Some(trail(1)), ..Settlement::new(stranger, order) };
        assert_eq!(bench.settle(&session, vec![ghost]), [Gone]);
    }
    assert!(bench.show(stranger.id).is_none());
    assert_eq!((bench.stats().total(), bench.stats().completed, bench.stats().failed), (1, 0, 0));
    bench.put_one(task(KINDS[0]).id(stranger.id));
    assert_eq!(bench.take(&session, 9)[0].trail, Trail::default());
}
