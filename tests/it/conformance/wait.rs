//! `wait`: it may wake for nothing, it may miss nothing.
//!
//! Every test takes the mark before something happens and asks for the next one afterwards, and once
//! more while it is already waiting; a wake-up that is missed fails by the fixture's patience.

use std::sync::Arc;

use oncue::broker::*;
use oncue::state::Reason;

use super::open;
use crate::fixture::*;

/// Makes sure that `wake` is felt: by a waiter that comes late and by one that is there.
#[track_caller]
pub fn feels(bench: &Bench, wake: Wake, mut happen: impl FnMut()) {
    let seen = run(bench.broker.wait(wake, None)).expect("a mark");
    happen();
    let seen = run(bench.broker.wait(wake, Some(seen))).expect("a wake-up");
    let (broker, started) = (Arc::clone(&bench.broker), std::sync::Barrier::new(2));
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let waiting = broker.wait(wake, Some(seen));
            started.wait();
            run(waiting)
        });
        started.wait();
        happen();
        waiter.join().expect("woken").expect("a wake-up");
    });
}

#[test]
fn without_a_mark_the_present_one_comes_at_once() {
    let bench = open();
    for wake in [Wake::Ready, Wake::Due, Wake::Settled] {
        run(bench.broker.wait(wake, None)).expect("a mark");
        run(bench.broker.wait(wake, None)).expect("the same or another");
    }
}

#[test]
fn a_new_mark_is_good_for_the_next_wait() {
    let bench = open();
    let mut seen = run(bench.broker.wait(Wake::Ready, None)).expect("a mark");
    for _ in 0..20 {
        bench.put(tasks(1));
        seen = run(bench.broker.wait(Wake::Ready, Some(seen))).expect("a wake-up");
    }
}

#[test]
fn whatever_makes_a_task_pending_is_felt() {
    let bench = open();
    feels(&bench, Wake::Ready, || drop(bench.put(tasks(1))));
    let (session, claims) = bench.take_all();
    let mut claims = claims.iter();
    feels(&bench, Wake::Ready, || bench.end(&session, claims.next().expect("two"), release()));
    feels(&bench, Wake::Ready, || {
        let lost = bench.session();
        bench.take(&lost, 1);
        assert_eq!(bench.retire(&lost, &[]), 1);
    });
    feels(&bench, Wake::Ready, || {
        bench.put_one(task(KINDS[0]).after(SECOND));
        bench.pass(SECOND);
        assert_eq!(bench.advance().moved, 1);
    });
}

#[test]
fn whatever_may_be_due_earlier_is_felt() {
    let bench = open();
    let mut hours = (1..=2u32).rev();
    feels(&bench, Wake::Due, || {
        bench.put_one(task(KINDS[0]).after(HOUR * hours.next().expect("two")));
    });
    bench.put(tasks(4));
    let (session, claims) = bench.take_all();
    let (mut claims, mut minutes) = (claims.iter(), (1..=4u32).rev());
    for order in [|after| Order::Retry { after, front: false }, |after| Order::Snooze { after }] {
        feels(&bench, Wake::Due, || {
            let after = MINUTE * minutes.next().expect("four");
            bench.end(&session, claims.next().expect("four"), order(after));
        });
    }
}

#[test]
fn every_end_of_a_task_is_felt() {
    let bench = open();
    let ends = [complete(), keep(HOUR), Order::Archive { reason: Reason::Exhausted }, Order::Drop];
    for order in ends {
        bench.put(tasks(2));
        let (session, claims) = bench.take_all();
        let mut claims = claims.iter();
        feels(&bench, Wake::Settled, || {
            bench.end(&session, claims.next().expect("two"), order.clone());
        });
    }
}
