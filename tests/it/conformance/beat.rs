//! `beat`: a sign of life extends a lease, and tells who is gone.

use oncue::broker::*;
use oncue::state::State;

use super::open;
use crate::fixture::*;

#[test]
fn a_lease_reaches_as_far_as_the_last_beat_says() {
    let bench = open();
    bench.put(tasks(2));
    let session = bench.session();
    bench.take(&session, 1);
    let far = Beat { sessions: vec![session.clone()], lease: LEASE * 10, presence: None };
    assert_eq!(run(bench.broker.beat(far)).expect("beat"), Beaten::default());
    bench.warm_up_sweeps();
    assert_eq!(ids(&bench.take_over().1), []);
    assert_eq!(bench.take(&session, 1).len(), 1);
    for _ in 0..8 {
        bench.pass(LEASE);
        bench.reclaim(&bench.session());
    }
    assert_eq!(bench.beat(&[&session]), [session.id]);
}

#[test]
fn an_expired_session_that_was_not_killed_is_revived() {
    let bench = open();
    bench.put(tasks(2));
    let session = bench.session();
    bench.take(&session, 1);
    bench.pass(LEASE * 2);
    assert!(refusal(bench.broker.dequeue(bench.ask(&session, 1))).is_fenced());
    assert_eq!(bench.beat(&[&session]), []);
    assert_eq!(bench.take(&session, 1).len(), 1);
}

#[test]
fn a_dead_session_is_told_so_and_stays_dead() {
    let bench = open();
    let id = bench.put_one(task(KINDS[0]));
    let (session, claims) = bench.take_all();
    bench.warm_up_sweeps();
    let (_, taken) = bench.take_over();
    assert_eq!(taken.len(), 1);
    for _ in 0..2 {
        assert_eq!(bench.beat(&[&session]), [session.id]);
    }
    assert!(refusal(bench.broker.dequeue(bench.ask(&session, 1))).is_fenced());
    let late = vec![Settlement::new(claims[0].ticket, Order::Drop)];
    assert!(refusal(bench.broker.settle(session, late)).is_fenced());
    assert_eq!(bench.state(id), Some(State::Active));
}

#[test]
fn a_session_nobody_knows_is_gone_and_a_beat_does_not_open_it() {
    let bench = open();
    bench.put(tasks(1));
    let (session, claims) = bench.take_all();
    let stranger = bench.session();
    let astray = Session { queue: queue("other"), id: session.id };
    assert_eq!(bench.beat(&[&stranger, &astray]), [stranger.id, session.id]);
    assert_eq!(bench.beat(&[&stranger]), [stranger.id]);
    bench.end(&session, &claims[0], complete());
}

#[test]
fn only_those_that_are_gone_are_named_and_the_others_live_on() {
    let bench = open();
    bench.put(tasks(2));
    let (lives, other) = (bench.session(), bench.session());
    let stranger = bench.session();
    bench.take(&lives, 1);
    bench.take(&other, 1);
    bench.pass(LEASE - SECOND);
    assert_eq!(bench.beat(&[&lives, &stranger, &other]), [stranger.id]);
    bench.pass(LEASE - SECOND);
    assert_eq!(bench.take(&lives, 1).len() + bench.take(&other, 1).len(), 0);
}

#[test]
fn a_retired_session_lives_as_long_as_it_beats_and_has_something_to_settle() {
    let bench = open();
    let put = bench.put(tasks(1));
    let (session, claims) = bench.take_all();
    bench.retire(&session, &put);
    for _ in 0..10 {
        bench.pass(LEASE - SECOND);
        assert_eq!(bench.beat(&[&session]), []);
        assert_eq!(ids(&bench.take_over().1), []);
    }
    bench.end(&session, &claims[0], complete());
}

#[test]
fn nobody_beats_and_nobody_is_lost() {
    let bench = open();
    assert_eq!(bench.beat(&[]), []);
}
