//! `advance`: what time does. Never early, in the order of time, in bounded steps.

use std::time::Duration;

use oncue::broker::*;
use oncue::state::{Reason, State};

use super::open;
use crate::fixture::*;

const MS: Duration = Duration::from_millis(1);

fn step(bench: &Bench, limit: usize) -> Advanced {
    run(bench.broker.advance(bench.queue.clone(), limit)).expect("advanced")
}

#[test]
fn nothing_is_moved_a_millisecond_early_or_late() {
    let bench = open();
    let scheduled = bench.put_one(task(KINDS[0]).after(MINUTE));
    let retried = bench.put_one(task(KINDS[0]));
    let (session, claims) = bench.take_all();
    bench.end(&session, &claims[0], Order::Retry { after: MINUTE, front: false });
    let due = bench.now().plus(MINUTE);
    bench.pass(MINUTE - MS);
    assert_eq!(bench.advance(), Advanced::new(0, 0, Some(due), false));
    assert_eq!(bench.state(scheduled), Some(State::Scheduled));
    assert_eq!(bench.state(retried), Some(State::Retry));
    bench.pass(MS);
    assert_eq!(bench.advance(), Advanced::new(2, 0, None, false));
    assert_eq!(bench.stats().count(State::Pending), 2);
    assert_eq!(bench.show(scheduled).and_then(|view| view.until), None);
}

#[test]
fn what_became_due_goes_behind_what_waits_in_the_order_of_time() {
    let bench = open();
    let first = bench.put_one(task(KINDS[0]));
    let session = bench.session();
    let claims = bench.take(&session, 1);
    bench.end(&session, &claims[0], Order::Retry { after: SECOND * 2, front: false });
    let later = bench.put([3u32, 1].map(|n| task(KINDS[0]).after(SECOND * n)));
    let waiting = bench.put_one(task(KINDS[0]));
    bench.pass(MINUTE);
    let tail = bench.put_one(task(KINDS[0]));
    bench.advance();
    let last = bench.session();
    assert_eq!(ids(&bench.take(&last, 9)), [waiting, tail, later[1], first, later[0]]);
}

#[test]
fn moved_tasks_keep_their_order_over_several_steps() {
    let bench = open();
    let put = bench.put((1..=5).map(|n| task(KINDS[0]).after(SECOND * n)));
    bench.pass(MINUTE);
    for more in [true, true, false] {
        assert_eq!(step(&bench, 2).more, more);
    }
    assert_eq!(ids(&bench.take_all().1), put);
}

#[test]
fn the_limit_counts_what_is_moved_and_what_expires() {
    let bench = open();
    bench.put(tasks(3));
    let (session, claims) = bench.take_all();
    claims.iter().for_each(|claim| bench.end(&session, claim, keep(SECOND)));
    bench.put((0..3).map(|_| task(KINDS[0]).after(SECOND)));
    bench.pass(MINUTE);
    let (mut moved, mut expired) = (0, 0);
    for (count, more) in [(4, true), (2, false), (0, false)] {
        let advanced = step(&bench, 4);
        assert_eq!((advanced.moved + advanced.expired, advanced.more), (count, more));
        (moved, expired) = (moved + advanced.moved, expired + advanced.expired);
    }
    assert_eq!((moved, expired), (3, 3));
    assert_eq!(bench.stats().total(), 3);
}

#[test]
fn there_is_no_more_when_the_limit_is_just_enough() {
    let bench = open();
    bench.put((0..2).map(|_| task(KINDS[0]).after(SECOND)));
    bench.pass(SECOND);
    assert_eq!(step(&bench, 2), Advanced::new(2, 0, None, false));
}

#[test]
fn next_is_the_earliest_due_time_there_is() {
    let bench = open();
    assert_eq!(bench.advance(), Advanced::default());
    bench.put([9u32, 4, 7].map(|n| task(KINDS[0]).after(MINUTE * n)));
    assert_eq!(bench.advance().next, Some(START.plus(MINUTE * 4)));
    bench.put_one(task(KINDS[0]));
    let (session, claims) = bench.take_all();
    bench.end(&session, &claims[0], Order::Retry { after: MINUTE, front: false });
    assert_eq!(bench.advance().next, Some(START.plus(MINUTE)));
}

#[test]
fn a_completed_task_goes_when_its_retention_is_over_and_not_before() {
    let bench = open();
    let id = bench.put_one(task(KINDS[0]));
    let (session, claims) = bench.take_all();
    let result = Some((1, result_of(&claims[0], 1, b"1")));
    bench.end(&session, &claims[0], Order::Complete { keep: HOUR, result });
    bench.pass(HOUR - MS);
    assert_eq!(bench.advance().expired, 0);
    assert_eq!(bench.state(id), Some(State::Completed));
    bench.pass(SECOND);
    assert_eq!(bench.advance().expired, 1);
    assert_eq!(bench.state(id), None);
    assert_eq!((bench.stats().total(), bench.stats().completed), (0, 1));
}

#[test]
fn an_expired_task_leaves_neither_trail_nor_result() {
    let bench = open();
    let id = bench.put_one(task(KINDS[0]));
    let (session, claims) = bench.take_all();
    let result = Some((1, result_of(&claims[0], 1, b"1")));
    let order = Order::Complete { keep: SECOND, result };
    let end = Settlement { trail: Some(trail(4)), ..Settlement::new(claims[0].ticket, order) };
    bench.settle(&session, vec![end]);
    bench.pass(MINUTE);
    bench.advance();
    assert_eq!(bench.put_one(task(KINDS[0]).id(id)), id);
    let view = bench.show(id).expect("there");
    assert_eq!((view.trail.is_empty(), view.result), (true, None));
}

#[test]
fn the_archived_the_active_and_the_pending_are_left_alone() {
    let bench = open();
    bench.put(tasks(2));
    let session = bench.session();
    let claims = bench.take(&session, 2);
    bench.end(&session, &claims[0], Order::Archive { reason: Reason::Exhausted });
    bench.put(tasks(1));
    let before = bench.stats();
    bench.pass(KEY_MEMORY * 365);
    assert_eq!(bench.advance(), Advanced::default());
    assert_eq!(bench.stats(), before);
}

#[test]
fn one_queue_does_not_do_the_work_of_another() {
    let mut bench = open();
    let id = bench.put_one(task(KINDS[0]).after(SECOND));
    bench.pass(MINUTE);
    bench.queue = queue("other");
    assert_eq!(bench.advance(), Advanced::default());
    bench.queue = queue("default");
    assert_eq!(bench.state(id), Some(State::Scheduled));
}

#[test]
fn two_and_a_half_thousand_due_at_once_take_three_steps_of_a_thousand() {
    let bench = open();
    for n in [1_000, 1_000, 500] {
        bench.put((0..n).map(|_| task(KINDS[0]).after(SECOND)));
    }
    bench.pass(SECOND);
    for (moved, more) in [(1_000, true), (1_000, true), (500, false)] {
        let advanced = step(&bench, 1_000);
        assert_eq!((advanced.moved, advanced.more), (moved, more));
    }
}
