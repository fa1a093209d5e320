//! What comes back to a group: whatever brought a task back, it gathers again, and closes though nobody enqueues.

use std::time::Duration;

use oncue::broker::*;
use oncue::queue::KindHash;
use oncue::state::{Reason, State};
use oncue::task::{Due, TaskId};

use super::groups::shape;
use super::open;
use crate::fixture::*;

/// A road that leads a task of a group back into it; the task waits an hour and a minute from now.
type Road = (&'static str, fn(&Bench, TaskId));

const ROADS: &[Road] = &[
    ("due for the first time", |bench, _| due(bench)),
    ("rescheduled to now", |bench, id| now(bench, id)),
    ("release", |bench, id| end(bench, take(bench, id), release())),
    ("retire", |bench, id| assert_eq!(bench.retire(&take(bench, id).0, &[]), 1)),
    ("retry", |bench, id| later(bench, id, retry(false))),
    ("retry to the front", |bench, id| later(bench, id, retry(true))),
    ("retry, rescheduled to now", |bench, id| {
        end(bench, take(bench, id), retry(false));
        now(bench, id);
    }),
    ("snooze", |bench, id| later(bench, id, Order::Snooze { after: MINUTE })),
    ("a lost lease", |bench, id| {
        take(bench, id);
        bench.warm_up_sweeps();
        let (sweeper, claims) = bench.take_over();
        assert_eq!((ids(&claims), claims[0].cause), (vec![id], Cause::Lost));
        assert_eq!(claims[0].group, None);
        bench.end(&sweeper, &claims[0], release());
    }),
    ("nobody took it", |bench, id| {
        due(bench);
        bench.close();
        let (sweeper, claims) = refuse(bench, SWEEP_MAX);
        assert_eq!((ids(&claims), claims[0].cause), (vec![id], Cause::Refused));
        assert_eq!(claims[0].group, None);
        bench.end(&sweeper, &claims[0], release());
    }),
    ("run alone, then beside others", |bench, id| {
        end(bench, take(bench, id), Order::Release { lane: Lane::Alone });
        end(bench, take_alone(bench, id), release());
    }),
    ("run by a person, then released", |bench, id| {
        assert_eq!(bench.act(id, Act::Run), Acted::Done);
        end(bench, take_by_itself(bench, id), release());
    }),
    ("archived, run by a person, then retired", |bench, id| {
        end(bench, take(bench, id), Order::Archive { reason: Reason::Exhausted });
        assert_eq!(bench.act(id, Act::Run), Acted::Done);
        let (session, _) = take_by_itself(bench, id);
        assert_eq!(bench.retire(&session, &[]), 1);
    }),
];

fn retry(front: bool) -> Order {
    Order::Retry { after: MINUTE, front }
}

fn due(bench: &Bench) {
    bench.pass(HOUR + MINUTE);
    assert_eq!(bench.advance().moved, 1);
}

fn now(bench: &Bench, id: TaskId) {
    assert_eq!(bench.act(id, Act::Reschedule(Due::Now)), Acted::Done);
}

fn one(bench: &Bench, id: TaskId, lane: Lane) -> (Session, Claim) {
    let session = bench.session();
    let mut claims = bench.claims(Ask { lane, ..bench.ask(&session, 9) });
    assert_eq!(ids(&claims), [id]);
    (session, claims.remove(0))
}

/// Claims it from its group, once that is closed.
fn take(bench: &Bench, id: TaskId) -> (Session, Claim) {
    due(bench);
    bench.close();
    let (session, claim) = one(bench, id, Lane::Shared);
    assert_eq!(claim.group, Some(0));
    (session, claim)
}

fn take_by_itself(bench: &Bench, id: TaskId) -> (Session, Claim) {
    assert_eq!((bench.state(id), bench.groups()), (Some(State::Pending), vec![]));
    let (session, claim) = one(bench, id, Lane::Shared);
    assert_eq!(claim.group, None);
    (session, claim)
}

fn take_alone(bench: &Bench, id: TaskId) -> (Session, Claim) {
    assert_eq!((bench.state(id), bench.groups()), (Some(State::Pending), vec![]));
    assert_eq!(bench.take(&bench.session(), 9).len(), 0);
    let (session, claim) = one(bench, id, Lane::Alone);
    assert_eq!(claim.group, None);
    (session, claim)
}

fn end(bench: &Bench, (session, claim): (Session, Claim), order: Order) {
    bench.end(&session, &claim, order);
}

fn later(bench: &Bench, id: TaskId, order: Order) {
    end(bench, take(bench, id), order);
    assert_eq!(bench.groups(), []);
    bench.pass(MINUTE);
    assert_eq!(bench.advance().moved, 1);
}

fn refuse(bench: &Bench, max: usize) -> (Session, Vec<Claim>) {
    bench.pass(GRACE);
    let sweeper = bench.session();
    let sweep = Sweep { known: Vec::new(), max, ..bench.sweep(&sweeper) };
    let claims = run(bench.broker.reclaim(sweep)).expect("reclaimed");
    (sweeper, claims)
}

/// Each in a queue of its own.
#[test]
fn every_road_back_ends_in_a_group_that_closes_by_itself() {
    let mut bench = open();
    for (n, (road, walk)) in ROADS.iter().enumerate() {
        bench.queue = queue(&format!("back-{n}"));
        let id = bench.put_one(member("g").after(HOUR + MINUTE));
        walk(&bench, id);
        assert_eq!(bench.state(id), Some(State::Aggregating), "{road}");
        let group = bench.groups().remove(0);
        let now = bench.now();
        assert_eq!((group.tasks, group.since), (1, now), "{road}");
        assert_eq!(group.closes, Some(now.plus(MINUTE)), "{road}");
        assert_eq!(bench.take_all().1.len(), 0, "{road}");
        bench.close();
        let (session, claims) = bench.take_all();
        assert_eq!((ids(&claims), claims[0].group), (vec![id], Some(0)), "{road}");
        bench.end(&session, &claims[0], complete());
        assert_eq!((bench.stats().total(), bench.groups()), (0, vec![]), "{road}");
    }
}

#[test]
fn what_comes_back_gathers_with_what_is_new() {
    let bench = open();
    let old = bench.put_one(member("g"));
    bench.close();
    let (session, claims) = bench.take_all();
    let new = bench.put_one(member("g"));
    bench.pass(SECOND);
    let settlement =
        Settlement { trail: Some(trail(2)), ..Settlement::new(claims[0].ticket, release()) };
    assert_eq!(bench.settle(&session, vec![settlement]), [Settled::Done]);
    assert_eq!(shape(&bench), [("g".into(), 2, false)]);
    assert_eq!(bench.groups()[0].closes, Some(bench.now().plus(MINUTE)), "as one that is new");
    bench.close();
    let (_, claims) = bench.take_all();
    assert_eq!(ids(&claims), [new, old], "behind what joined before it");
    assert_eq!(claims[1].trail, trail(2));
    assert_eq!((bench.stats().failed, bench.stats().completed), (0, 0));
}

#[test]
fn what_comes_back_fills_a_group_and_a_full_one_is_claimed_at_once() {
    let bench = open();
    let pair = || task(KINDS[0]).group(gather("g", HOUR).most(2));
    bench.put([pair(), pair()]);
    let (session, claims) = bench.take_all();
    bench.put([pair()]);
    bench.end(&session, &claims[0], release());
    assert_eq!(shape(&bench), [("g".into(), 2, true)]);
    bench.end(&session, &claims[1], release());
    assert_eq!(bench.take(&bench.session(), 1).len(), 2);
    assert_eq!(shape(&bench), [("g".into(), 1, false)]);
}

#[test]
fn what_must_run_alone_is_pending_by_itself_until_it_may_run_beside_others() {
    let bench = open();
    let id = bench.put_one(member("g").after(HOUR + MINUTE));
    end(&bench, take(&bench, id), Order::Release { lane: Lane::Alone });
    // A retry leaves it in its lane.
    end(&bench, take_alone(&bench, id), retry(false));
    bench.pass(MINUTE);
    assert_eq!(bench.advance().moved, 1);
    let (session, _) = take_alone(&bench, id);
    assert_eq!(bench.retire(&session, &[]), 1);
    take_alone(&bench, id);
}

#[test]
fn a_lost_reply_costs_a_group_nothing() {
    let bench = open();
    let put = bench.put((0..3).map(|_| member("g")));
    bench.close();
    let lost = bench.session();
    assert_eq!(bench.take(&lost, 1).len(), 3);
    assert_eq!(bench.retire(&lost, &put[..1]), 2);
    assert_eq!(shape(&bench), [("g".into(), 2, false)]);
    assert_eq!(bench.state(put[0]), Some(State::Active));
    bench.close();
    let again = ids(&bench.take_all().1);
    assert!(again.len() == 2 && put[1..].iter().all(|id| again.contains(id)));
}

#[test]
fn what_is_cancelled_while_it_runs_does_not_come_back() {
    for order in [release(), retry(false), Order::Snooze { after: MINUTE }] {
        let bench = open();
        let id = bench.put_one(member("g"));
        bench.close();
        let (session, claims) = bench.take_all();
        assert_eq!(bench.cancel(id), Cancelled::Asked);
        bench.end(&session, &claims[0], order);
        let view = bench.show(id).expect("there");
        assert_eq!((view.state, view.reason), (State::Archived, Some(Reason::Cancelled)));
        assert_eq!((bench.groups(), bench.advance().next), (vec![], None));
    }
    let bench = open();
    let id = bench.put_one(member("g"));
    bench.close();
    let (session, _) = bench.take_all();
    assert_eq!(bench.cancel(id), Cancelled::Asked);
    assert_eq!(bench.retire(&session, &[]), 1);
    assert_eq!((bench.state(id), bench.groups()), (Some(State::Archived), vec![]));
}

#[test]
fn a_session_that_dies_loses_the_tasks_of_a_group_one_by_one() {
    let bench = open();
    let put = bench.put((0..5).map(|_| member("g")));
    bench.close();
    let (session, claims) = bench.take_all();
    bench.end(&session, &claims[0], complete());
    bench.warm_up_sweeps();
    let mut lost = Vec::new();
    for expected in [3, 1] {
        let sweeper = bench.session();
        let sweep = Sweep { max: 3, ..bench.sweep(&sweeper) };
        let claims = run(bench.broker.reclaim(sweep)).expect("reclaimed");
        assert_eq!(claims.len(), expected);
        for claim in &claims {
            assert_eq!((claim.cause, claim.group), (Cause::Lost, None));
            bench.end(&sweeper, claim, release());
        }
        lost.extend(ids(&claims));
    }
    assert_eq!(shape(&bench), [("g".into(), 4, false)]);
    assert!(put.iter().filter(|id| **id != claims[0].id()).all(|id| lost.contains(id)));
}

#[test]
fn a_closed_group_that_nobody_took_for_the_whole_grace_is_taken_over_in_parts() {
    let bench = open();
    let odd = || task("odd:one").group(gather("g", HOUR));
    bench.put((0..3).map(|_| odd()));
    let known = bench.put_one(member("known"));
    bench.pass(MINUTE);
    bench.catch_up();
    // What still gathers waits for nobody, however long it does.
    bench.pass(GRACE + SECOND);
    assert_eq!(ids(&bench.take_over().1), []);
    bench.pass(HOUR - GRACE - SECOND - MINUTE);
    bench.catch_up();
    bench.pass(GRACE - SECOND);
    assert_eq!(ids(&bench.take_over().1), [], "counted from when it was closed");
    bench.pass(SECOND);
    let sweeper = bench.session();
    let sweep = Sweep { max: 2, ..bench.sweep(&sweeper) };
    let claims = run(bench.broker.reclaim(sweep)).expect("reclaimed");
    assert_eq!(claims.len(), 2);
    assert!(claims.iter().all(|claim| (claim.cause, claim.group) == (Cause::Refused, None)));
    for claim in &claims {
        let reason = Reason::UnknownKind;
        bench.end(&sweeper, claim, Order::Archive { reason });
    }
    // What is left of it is a closed group still, for whoever knows the kind.
    assert!(shape(&bench).contains(&("g".into(), 1, true)));
    let mut ask = bench.ask(&bench.session(), 9);
    ask.accept = vec![(KindHash::of("odd:one"), 9)];
    let left = bench.claims(ask);
    assert_eq!((left.len(), left[0].group), (1, Some(0)));
    assert_eq!(bench.state(known), Some(State::Aggregating));
}

#[test]
fn a_group_is_refused_with_what_is_pending_and_behind_what_was_lost() {
    let bench = open();
    bench.put([task("odd:one").group(gather("g", Duration::ZERO)), task("odd:one")]);
    bench.catch_up();
    bench.pass(GRACE);
    let (sweeper, claims) = bench.take_over();
    assert_eq!(claims.len(), 2);
    assert!(claims.iter().all(|claim| (claim.cause, claim.group) == (Cause::Refused, None)));
    claims.iter().for_each(|claim| bench.end(&sweeper, claim, complete()));
    assert_eq!((bench.stats().total(), bench.groups()), (0, vec![]));
}
