//! Whoever goes before all that waits in its line: enqueued so, or to be retried so.

use oncue::broker::*;
use oncue::state::State;

use super::open;
use crate::fixture::*;

#[test]
fn a_task_of_the_front_goes_before_all_that_waits_in_its_line() {
    let bench = open();
    let waiting = bench.put(tasks(3));
    let first = bench.put_one(task(KINDS[0]).front());
    let last = bench.put(tasks(1));
    let second = bench.put_one(task(KINDS[0]).front());
    let (_, claims) = bench.take_all();
    assert_eq!(ids(&claims), [vec![second, first], waiting, last].concat());
}

#[test]
fn tasks_of_the_front_keep_their_order_in_a_batch() {
    let bench = open();
    let waiting = bench.put(tasks(2));
    let front = || task(KINDS[0]).front();
    let put = bench.put([front(), task(KINDS[0]), front(), front()]);
    let expected = [vec![put[0], put[2], put[3]], waiting, vec![put[1]]].concat();
    // One by one: a claim of few sees the same order as a claim of all.
    let session = bench.session();
    let taken: Vec<_> = (0..6).flat_map(|_| ids(&bench.take(&session, 1))).collect();
    assert_eq!(taken, expected);
}

#[test]
fn the_front_is_the_front_of_its_priority() {
    let bench = open();
    let urgent = bench.put_one(task(KINDS[0]).priority(5));
    let plain = bench.put_one(task(KINDS[0]));
    let front = bench.put_one(task(KINDS[0]).front());
    assert_eq!(ids(&bench.take_all().1), [urgent, front, plain]);
}

#[test]
fn the_front_goes_before_what_was_released() {
    let bench = open();
    let [released, behind] = bench.put(tasks(2))[..] else { panic!() };
    let session = bench.session();
    let claims = bench.take(&session, 1);
    bench.end(&session, &claims[0], release());
    let front = bench.put_one(task(KINDS[0]).front());
    assert_eq!(ids(&bench.take_all().1), [front, released, behind]);
}

#[test]
fn a_task_that_is_due_later_has_no_place_at_the_front() {
    let bench = open();
    let later = bench.put_one(task(KINDS[0]).front().after(MINUTE));
    bench.pass(MINUTE);
    let first = bench.put_one(task(KINDS[0]));
    assert_eq!(bench.advance().moved, 1);
    assert_eq!(ids(&bench.take_all().1), [first, later]);
}

#[test]
fn a_retry_of_the_front_goes_before_all_that_waits_once_it_is_due() {
    for (front, delay) in [(true, MINUTE), (false, MINUTE)] {
        let bench = open();
        let failed = bench.put_one(task(KINDS[0]));
        let (session, claims) = bench.take_all();
        let waiting = bench.put([task(KINDS[0]), task(KINDS[0]).after(SECOND)]);
        bench.end(&session, &claims[0], Order::Retry { after: delay, front });
        assert_eq!(bench.state(failed), Some(State::Retry));
        bench.pass(delay);
        bench.advance();
        let expected =
            if front { [vec![failed], waiting].concat() } else { [waiting, vec![failed]].concat() };
        assert_eq!(ids(&bench.take_all().1), expected, "{front}");
    }
}

#[test]
fn a_retry_of_the_front_is_so_once() {
    let bench = open();
    let failed = bench.put_one(task(KINDS[0]));
    for front in [true, false] {
        let (session, claims) = bench.take_all();
        assert_eq!(ids(&claims), [failed]);
        bench.end(&session, &claims[0], Order::Retry { after: MINUTE, front });
        bench.pass(MINUTE);
        if front {
            bench.advance();
        }
    }
    let waiting = bench.put_one(task(KINDS[0]));
    bench.advance();
    assert_eq!(ids(&bench.take_all().1), [waiting, failed]);
}

#[test]
fn a_long_front_before_a_long_line_is_claimed_in_order() {
    let bench = open();
    let line = bench.put(tasks(300));
    let front = bench.put((0..300).map(|_| task(KINDS[0]).front()));
    let more = bench.put((0..40).map(|_| task(KINDS[0]).front()));
    let session = bench.session();
    let mut taken = Vec::new();
    while let claims @ [_, ..] = &ids(&bench.take(&session, 70))[..] {
        taken.extend_from_slice(claims);
    }
    assert_eq!(taken, [more, front, line].concat());
}
