//! `reclaim`: a crash is found by its lease, and nothing that is claimed is ever an orphan.

use std::collections::BTreeSet;

use oncue::broker::*;
use oncue::queue::KindHash;
use oncue::state::{Reason, State};

use super::open;
use crate::fixture::*;

fn causes(claims: &[Claim]) -> Vec<Cause> {
    claims.iter().map(|claim| claim.cause).collect()
}

#[test]
fn the_claims_of_an_expired_session_are_taken_over_as_they_are() {
    let bench = open();
    let id = bench.put_one(task(KINDS[0]).priority(2));
    let (session, claims) = bench.take_all();
    let order = Order::Release { lane: Lane::Shared };
    let told = Settlement { trail: Some(trail(1)), ..Settlement::new(claims[0].ticket, order) };
    bench.settle(&session, vec![told]);
    let claims = bench.take(&session, 1);
    bench.warm_up_sweeps();
    let (sweeper, taken) = bench.take_over();
    assert_eq!((ids(&taken), causes(&taken)), (vec![id], vec![Cause::Lost]));
    assert_eq!((taken[0].ticket, &taken[0].trail), (claims[0].ticket, &trail(1)));
    assert_eq!(taken[0].stored.record_len(), claims[0].stored.record_len());
    assert_eq!((bench.state(id), bench.stats().failed), (Some(State::Active), 0));
    bench.end(&sweeper, &taken[0], Order::Release { lane: Lane::Alone });
    assert_eq!(bench.state(id), Some(State::Pending));
}

#[test]
fn a_session_that_lives_is_left_alone() {
    let bench = open();
    let id = bench.put_one(task(KINDS[0]));
    let (session, claims) = bench.take_all();
    for _ in 0..20 {
        bench.pass(LEASE - SECOND);
        assert_eq!(bench.beat(&[&session]), []);
        assert_eq!(ids(&bench.reclaim(&bench.session())), []);
    }
    assert_eq!(bench.state(id), Some(State::Active));
    bench.end(&session, &claims[0], complete());
}

#[test]
fn a_session_expires_as_a_whole_and_alone() {
    let bench = open();
    let put = bench.put(tasks(5));
    let (dies, lives) = (bench.session(), bench.session());
    bench.take(&dies, 2);
    bench.take(&lives, 1);
    bench.take(&dies, 1);
    bench.warm_up_sweeps();
    bench.beat(&[&lives]);
    let (_, taken) = bench.take_over();
    let lost: BTreeSet<_> = ids(&taken).into_iter().collect();
    assert_eq!(lost, [put[0], put[1], put[3]].into());
    assert_eq!(bench.state(put[4]), Some(State::Pending));
}

#[test]
fn no_session_is_killed_by_the_first_sweep_nor_within_a_gap_of_it() {
    let bench = open();
    bench.put(tasks(1));
    let (session, _) = bench.take_all();
    bench.pass(HOUR);
    assert_eq!(ids(&bench.take_over().1), []);
    bench.pass(GAP - SECOND);
    assert_eq!(ids(&bench.take_over().1), []);
    assert_eq!(bench.beat(&[&session]), [], "an outage is not a death");
    bench.pass(LEASE + SECOND);
    assert_eq!(bench.take_over().1.len(), 1);
}

#[test]
fn after_an_outage_of_all_sweepers_another_gap_must_pass() {
    let bench = open();
    bench.warm_up_sweeps();
    assert_eq!(ids(&bench.take_over().1), []);
    bench.put(tasks(1));
    bench.take_all();
    bench.pass(GAP + SECOND);
    for _ in 0..3 {
        assert_eq!(ids(&bench.take_over().1), []);
        bench.pass(GAP / 3 + SECOND);
    }
    assert_eq!(bench.take_over().1.len(), 1);
}

#[test]
fn every_queue_has_its_own_guard() {
    let mut bench = open();
    bench.warm_up_sweeps();
    bench.queue = queue("other");
    bench.put(tasks(1));
    bench.take_all();
    bench.pass(LEASE + SECOND);
    assert_eq!(ids(&bench.take_over().1), []);
}

#[test]
fn what_one_sweep_leaves_the_next_one_takes_whoever_it_is() {
    let bench = open();
    let put = bench.put(tasks(5));
    let (dead, claims) = bench.take_all();
    bench.warm_up_sweeps();
    let mut taken = BTreeSet::new();
    for count in [2, 2, 1, 0] {
        let sweep = Sweep { max: 2, ..bench.sweep(&bench.session()) };
        let claims = run(bench.broker.reclaim(sweep)).expect("claims");
        assert_eq!(claims.len(), count);
        taken.extend(ids(&claims));
        assert_eq!(bench.stats().count(State::Active), 5);
    }
    assert_eq!(taken, put.into_iter().collect());
    let late = vec![Settlement::new(claims[4].ticket, Order::Drop)];
    assert!(refusal(bench.broker.settle(dead, late)).is_fenced());
}

#[test]
fn what_is_left_over_is_still_out_of_reach_of_the_dead() {
    let bench = open();
    bench.put(tasks(2));
    let (dead, claims) = bench.take_all();
    bench.warm_up_sweeps();
    let sweep = Sweep { max: 1, ..bench.sweep(&bench.session()) };
    assert_eq!(run(bench.broker.reclaim(sweep)).expect("one").len(), 1);
    for claim in &claims {
        let late = vec![Settlement::new(claim.ticket, Order::Drop)];
        assert!(refusal(bench.broker.settle(dead.clone(), late)).is_fenced());
    }
    assert_eq!(bench.beat(&[&dead]), [dead.id]);
    assert_eq!(bench.stats().count(State::Active), 2);
}

#[test]
fn five_hundred_are_taken_at_once_and_never_more() {
    let bench = open();
    bench.put(tasks(SWEEP_MAX + 100));
    bench.take_all();
    bench.warm_up_sweeps();
    assert_eq!(bench.take_over().1.len(), SWEEP_MAX);
    assert_eq!(bench.take_over().1.len(), 100);
    let sweep = Sweep { max: SWEEP_MAX + 1, ..bench.sweep(&bench.session()) };
    assert!(run(bench.broker.reclaim(sweep)).map_or(0, |claims| claims.len()) <= SWEEP_MAX);
}

#[test]
fn what_nobody_took_for_the_whole_grace_is_taken_over_too() {
    let bench = open();
    let old = bench.put_one(task("odd:one"));
    let known = bench.put_one(task(KINDS[0]));
    bench.pass(GRACE - MINUTE);
    bench.put_one(task("odd:one"));
    bench.pass(MINUTE - SECOND);
    assert_eq!(ids(&bench.take_over().1), []);
    bench.pass(SECOND * 2);
    let (sweeper, taken) = bench.take_over();
    assert_eq!((ids(&taken), causes(&taken)), (vec![old], vec![Cause::Refused]));
    assert_eq!(bench.state(known), Some(State::Pending));
    bench.end(&sweeper, &taken[0], Order::Archive { reason: Reason::UnknownKind });
    assert_eq!(bench.stats().count(State::Pending), 2);
}

#[test]
fn the_grace_begins_when_the_task_becomes_pending() {
    let bench = open();
    bench.put_one(task("odd:one").after(HOUR));
    bench.pass(HOUR);
    bench.advance();
    assert_eq!(ids(&bench.take_over().1), []);
    bench.pass(GRACE + SECOND);
    assert_eq!(bench.take_over().1.len(), 1);
}

#[test]
fn lost_claims_come_before_refused_tasks() {
    let bench = open();
    let refused = bench.put((0..2).map(|_| task("odd:one")));
    bench.pass(GRACE);
    let lost = bench.put(tasks(2));
    bench.take_all();
    for _ in 0..2 {
        let known = vec![KindHash::of("odd:one")];
        let sweep = Sweep { known, grace: HOUR, ..bench.sweep(&bench.session()) };
        assert_eq!(ids(&run(bench.broker.reclaim(sweep)).expect("nothing")), []);
        bench.pass(GAP / 2 + SECOND);
    }
    let sweep = Sweep { max: 3, ..bench.sweep(&bench.session()) };
    let taken = run(bench.broker.reclaim(sweep)).expect("claims");
    assert_eq!(causes(&taken), [Cause::Lost, Cause::Lost, Cause::Refused]);
    let taken: BTreeSet<_> = ids(&taken).into_iter().collect();
    assert!(lost.iter().all(|id| taken.contains(id)));
    assert!(refused.iter().any(|id| taken.contains(id)));
}

#[test]
fn a_sweeper_that_crashes_is_swept_itself() {
    let bench = open();
    let id = bench.put_one(task(KINDS[0]));
    bench.take_all();
    bench.warm_up_sweeps();
    let (first, taken) = bench.take_over();
    bench.pass(LEASE + SECOND);
    let (second, again) = bench.take_over();
    assert_eq!((ids(&again), causes(&again)), (vec![id], vec![Cause::Lost]));
    let late = vec![Settlement::new(taken[0].ticket, Order::Drop)];
    assert!(refusal(bench.broker.settle(first, late)).is_fenced());
    bench.end(&second, &again[0], complete());
    assert_eq!(bench.stats().total(), 0);
}

#[test]
fn the_known_claims_of_a_retired_session_are_no_orphans() {
    let bench = open();
    let put = bench.put(tasks(2));
    let (session, _) = bench.take_all();
    bench.retire(&session, &put[..1]);
    bench.warm_up_sweeps();
    assert_eq!(ids(&bench.take_over().1), put[..1]);
}

#[test]
fn a_sweep_that_takes_nothing_leaves_no_session_behind() {
    let bench = open();
    let (first, none) = bench.take_over();
    assert_eq!(ids(&none), []);
    assert_eq!(bench.beat(&[&first]), [first.id], "the queue was new");
    bench.put(tasks(1));
    bench.take_all();
    bench.warm_up_sweeps();
    let (busy, taken) = bench.take_over();
    let (idle, none) = bench.take_over();
    assert_eq!((taken.len(), none.len()), (1, 0));
    assert_eq!(bench.beat(&[&idle, &busy]), [idle.id], "one that took something is there");
    let astray = vec![Settlement::new(taken[0].ticket, Order::Drop)];
    assert!(refusal(bench.broker.settle(idle.clone(), astray)).is_fenced());
    // Whoever found nothing may look again under the same name, and is opened when there is something.
    bench.pass(LEASE + SECOND);
    let again = bench.reclaim(&idle);
    assert_eq!((ids(&again), bench.beat(&[&idle])), (ids(&taken), vec![]));
    bench.end(&idle, &again[0], complete());
}

#[test]
fn a_retired_session_takes_nothing_over() {
    let bench = open();
    bench.put(tasks(1));
    bench.take_all();
    bench.warm_up_sweeps();
    let sweeper = bench.session();
    bench.retire(&sweeper, &[]);
    assert!(refusal(bench.broker.reclaim(bench.sweep(&sweeper))).is_fenced());
    assert_eq!(bench.take_over().1.len(), 1);
}

#[test]
fn one_queue_does_not_sweep_another() {
    let mut bench = open();
    bench.put(tasks(1));
    bench.take_all();
    bench.queue = queue("other");
    bench.warm_up_sweeps();
    assert_eq!(ids(&bench.take_over().1), []);
}

#[test]
fn a_settle_and_a_sweep_at_once_are_never_both_granted() {
    let bench = open();
    bench.warm_up_sweeps();
    for _ in 0..30 {
        bench.take_over();
        let id = bench.put_one(task(KINDS[0]));
        let (session, claims) = bench.take_all();
        bench.pass(LEASE + SECOND);
        let list = vec![Settlement::new(claims[0].ticket, keep(HOUR))];
        let (settled, (sweeper, taken)) = std::thread::scope(|scope| {
            let settle = scope.spawn(|| run(bench.broker.settle(session, list)));
            let sweep = scope.spawn(|| bench.take_over());
            (settle.join().expect("a thread"), sweep.join().expect("a thread"))
        });
        match settled {
            Ok(settled) => assert_eq!((settled, ids(&taken)), (vec![Settled::Done], vec![])),
            Err(error) => {
                assert!(error.is_fenced());
                assert_eq!(ids(&taken), [id]);
                bench.end(&sweeper, &taken[0], complete());
            }
        }
    }
}
