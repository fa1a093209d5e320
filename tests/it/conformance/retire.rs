//! `retire`: after a reply was lost, what nobody knows of goes back at no cost.

use std::collections::BTreeSet;

use oncue::broker::*;
use oncue::state::State;
use oncue::task::TaskId;

use super::open;
use crate::fixture::*;

#[test]
fn only_what_is_unknown_is_handed_back() {
    let bench = open();
    let put = bench.put(tasks(4));
    let (session, claims) = bench.take_all();
    assert_eq!(bench.retire(&session, &[put[1], put[3]]), 2);
    let states = put.iter().map(|id| bench.state(*id));
    let (back, kept) = (Some(State::Pending), Some(State::Active));
    assert_eq!(states.collect::<Vec<_>>(), [back, kept, back, kept]);
    let list = claims.iter().map(|claim| Settlement::new(claim.ticket, complete())).collect();
    let expected = [Settled::Gone, Settled::Done, Settled::Gone, Settled::Done];
    assert_eq!(bench.settle(&session, list), expected);
}

#[test]
fn what_is_handed_back_has_its_old_place_its_trail_and_its_lane() {
    let bench = open();
    let put = bench.put(tasks(3));
    let session = bench.session();
    let claims = bench.take(&session, 2);
    let settlement = |claim: &Claim, lane| {
        let order = Order::Release { lane };
        Settlement { trail: Some(trail(2)), ..Settlement::new(claim.ticket, order) }
    };
    bench.settle(
        &session,
        vec![settlement(&claims[0], Lane::Alone), settlement(&claims[1], Lane::Shared)],
    );
    let lost = bench.session();
    assert_eq!(ids(&bench.take(&lost, 1)), [put[1]]);
    let alone = |session| Ask { lane: Lane::Alone, ..bench.ask(session, 1) };
    assert_eq!(ids(&bench.claims(alone(&lost))), [put[0]]);
    assert_eq!(bench.retire(&lost, &[]), 2);
    assert_eq!((bench.stats().failed, bench.stats().completed), (0, 0));
    let next = bench.session();
    let claims = bench.take(&next, 9);
    assert_eq!(ids(&claims), put[1..]);
    assert_eq!(claims[0].trail, trail(2));
    let claims = bench.claims(alone(&next));
    assert_eq!((ids(&claims), &claims[0].trail), (vec![put[0]], &trail(2)));
}

#[test]
fn a_retired_session_claims_no_more() {
    let bench = open();
    bench.put(tasks(2));
    let session = bench.session();
    bench.take(&session, 1);
    bench.retire(&session, &[]);
    for _ in 0..2 {
        assert!(refusal(bench.broker.dequeue(bench.ask(&session, 1))).is_fenced());
        bench.pass(SESSION_MEMORY - MINUTE);
    }
    assert_eq!(bench.stats().count(State::Pending), 2);
}

#[test]
fn a_dequeue_that_lands_after_its_retire_is_fenced() {
    let bench = open();
    bench.put(tasks(1));
    let session = bench.session();
    assert_eq!(bench.retire(&session, &[]), 0);
    bench.pass(SESSION_MEMORY - SECOND);
    assert!(refusal(bench.broker.dequeue(bench.ask(&session, 1))).is_fenced());
    assert_eq!(bench.stats().count(State::Pending), 1);
}

#[test]
fn retiring_twice_is_harmless() {
    let bench = open();
    let put = bench.put(tasks(2));
    let (session, claims) = bench.take_all();
    assert_eq!(bench.retire(&session, &put[..1]), 1);
    let (next, _) = bench.take_all();
    assert_eq!(bench.retire(&session, &put[..1]), 0);
    assert_eq!(bench.stats().count(State::Active), 2);
    bench.end(&session, &claims[0], complete());
    assert_eq!(bench.retire(&session, &put[..1]), 0);
    assert_eq!(bench.retire(&next, &[]), 1);
}

#[test]
fn a_settle_sent_again_after_retire_is_gone_and_not_fenced() {
    let bench = open();
    let put = bench.put(tasks(1));
    let (session, claims) = bench.take_all();
    bench.retire(&session, &put);
    bench.end(&session, &claims[0], complete());
    let again = Settlement::new(claims[0].ticket, complete());
    assert_eq!(bench.settle(&session, vec![again]), [Settled::Gone]);
}

#[test]
fn names_of_tasks_one_does_not_hold_change_nothing() {
    let bench = open();
    let put = bench.put(tasks(2));
    let (first, second) = (bench.session(), bench.session());
    bench.take(&first, 1);
    bench.take(&second, 1);
    assert_eq!(bench.retire(&first, &[put[1], TaskId::fresh()]), 1);
    assert_eq!(bench.state(put[0]), Some(State::Pending));
    assert_eq!(bench.state(put[1]), Some(State::Active));
}

#[test]
fn the_dead_hand_nothing_back() {
    let bench = open();
    let put = bench.put(tasks(3));
    let (session, _) = bench.take_all();
    bench.warm_up_sweeps();
    let sweeper = bench.session();
    let sweep = Sweep { max: 1, ..bench.sweep(&sweeper) };
    assert_eq!(run(bench.broker.reclaim(sweep)).expect("one").len(), 1);
    // Harmless is all the contract asks for; whether it is told that it is dead is left open.
    let reply = run(bench.broker.retire(session, Vec::new()));
    assert!(reply.as_ref().map_or_else(oncue::Error::is_fenced, |back| *back == 0), "{reply:?}");
    assert_eq!(bench.stats().count(State::Active), put.len() as u64);
    assert_eq!(bench.take_over().1.len(), 2);
}

#[test]
fn thousands_of_lost_claims_are_handed_back_in_their_order() {
    let bench = open();
    let put: Vec<_> = (0..3).flat_map(|_| bench.put(tasks(CLAIMS_MAX))).collect();
    let session = bench.session();
    (0..2).for_each(|_| drop(bench.take(&session, CLAIMS_MAX)));
    assert_eq!(bench.retire(&session, &[]), 2 * CLAIMS_MAX);
    for thousand in put.chunks(CLAIMS_MAX) {
        let again: BTreeSet<_> = ids(&bench.take_all().1).into_iter().collect();
        assert_eq!(again, thousand.iter().copied().collect());
    }
}
