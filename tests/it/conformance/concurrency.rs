//! Limits of active tasks: of a queue and of a kind, over all sessions.

use oncue::broker::*;
use oncue::queue::{Kind, KindHash};
use oncue::state::{Reason, State};

use super::open;
use crate::fixture::*;

fn at_most(bench: &Bench, limit: impl Into<Option<u64>>) {
    bench.set(Setting::Concurrency(limit.into()));
}

fn of_kind(bench: &Bench, kind: &str, limit: impl Into<Option<u64>>) {
    let kind = Kind::parse(kind).expect("a kind");
    bench.set(Setting::KindConcurrency(kind, limit.into()));
}

/// How many a new session gets.
fn got(bench: &Bench) -> usize {
    bench.take_all().1.len()
}

/// A closed group of so many tasks.
#[track_caller]
fn full(bench: &Bench, kind: &'static str, tasks: usize) {
    let terms = gather("full", HOUR).most(tasks);
    bench.put((0..tasks).map(|_| task(kind).group(terms.clone())));
}

#[test]
fn no_more_are_active_than_there_may_be_whoever_claims_them() {
    let bench = open();
    let put = bench.put(tasks(6));
    at_most(&bench, 3);
    let (first, second) = (bench.session(), bench.session());
    let claims = bench.take(&first, 2);
    assert_eq!((ids(&claims), ids(&bench.take(&second, 9))), (put[..2].to_vec(), vec![put[2]]));
    assert_eq!((bench.take(&first, 9).len(), got(&bench)), (0, 0));
    bench.end(&first, &claims[0], complete());
    assert_eq!(ids(&bench.take(&second, 9)), [put[3]]);
    bench.end(&first, &claims[1], Order::Retry { after: HOUR, front: false });
    assert_eq!(ids(&bench.take(&second, 9)), [put[4]]);
    assert_eq!((got(&bench), bench.stats().count(State::Active)), (0, 3));
}

#[test]
fn a_limit_of_a_kind_holds_back_that_kind_and_no_other() {
    let bench = open();
    bench.put((0..9).map(|n| task(KINDS[n % 3])));
    of_kind(&bench, KINDS[0], 1);
    of_kind(&bench, KINDS[1], 0);
    let (session, claims) = bench.take_all();
    let count = |kind| claims.iter().filter(|c| c.ticket.kind == KindHash::of(kind)).count();
    assert_eq!(KINDS.map(count), [1, 0, 3]);
    assert_eq!(got(&bench), 0);
    // The end of another kind makes no room in this one.
    let (mine, other): (Vec<_>, Vec<_>) =
        claims.iter().partition(|claim| claim.ticket.kind == KindHash::of(KINDS[0]));
    bench.end(&session, other[0], complete());
    assert_eq!(got(&bench), 0);
    bench.end(&session, mine[0], complete());
    assert_eq!(got(&bench), 1);
}

#[test]
fn the_limits_of_a_queue_and_of_its_kinds_hold_at_once_beside_what_is_asked_for() {
    let bench = open();
    bench.put((0..20).map(|n| task(KINDS[n % 2])));
    at_most(&bench, 5);
    of_kind(&bench, KINDS[0], 2);
    let mut ask = bench.ask(&bench.session(), 9);
    ask.accept = vec![(KindHash::of(KINDS[0]), 9)];
    assert_eq!(bench.claims(ask).len(), 2);
    let mut ask = bench.ask(&bench.session(), 9);
    ask.accept = vec![(KindHash::of(KINDS[0]), 9), (KindHash::of(KINDS[1]), 1)];
    assert_eq!(bench.claims(ask).len(), 1);
    assert_eq!((got(&bench), got(&bench)), (2, 0));
}

#[test]
fn what_runs_alone_counts_and_is_held_back_like_any_other() {
    let bench = open();
    bench.put(tasks(3));
    let session = bench.session();
    let claims = bench.take(&session, 2);
    let lane = Lane::Alone;
    for claim in &claims {
        bench.end(&session, claim, Order::Release { lane });
    }
    at_most(&bench, 1);
    let alone = || bench.claims(Ask { lane, ..bench.ask(&session, 9) });
    let taken = alone();
    assert_eq!((taken.len(), bench.take(&session, 9).len(), alone().len()), (1, 0, 0));
    bench.end(&session, &taken[0], complete());
    let taken = bench.take(&session, 9);
    assert_eq!((taken.len(), alone().len()), (1, 0));
    of_kind(&bench, KINDS[0], 1);
    at_most(&bench, None);
    assert_eq!(alone().len(), 0);
    bench.end(&session, &taken[0], complete());
    assert_eq!(alone().len(), 1);
}

#[test]
fn what_a_dead_session_held_counts_until_it_is_settled() {
    let bench = open();
    bench.put(tasks(3));
    at_most(&bench, 2);
    assert_eq!(got(&bench), 2);
    bench.warm_up_sweeps();
    assert_eq!(got(&bench), 0, "its lease is over, and nobody has swept it");
    let sweeper = bench.session();
    let one = Sweep { max: 1, ..bench.sweep(&sweeper) };
    let claims = run(bench.broker.reclaim(one)).expect("reclaimed");
    assert_eq!((claims.len(), got(&bench)), (1, 0), "one is held by a sweeper, one by the dead");
    bench.end(&sweeper, &claims[0], complete());
    assert_eq!((got(&bench), got(&bench)), (1, 0));
}

#[test]
fn a_sweep_is_not_limited() {
    let bench = open();
    bench.put(tasks(3));
    bench.take_all();
    let odd = bench.put([task("odd:one"), task("odd:one").group(gather("g", SECOND).most(1))]);
    at_most(&bench, 0);
    of_kind(&bench, KINDS[0], 0);
    of_kind(&bench, "odd:one", 0);
    bench.warm_up_sweeps();
    assert_eq!(bench.take_over().1.len(), 3);
    bench.pass(GRACE);
    let claims = bench.take_over().1;
    let refused = claims.iter().filter(|claim| claim.cause == Cause::Refused).map(Claim::id);
    let refused: Vec<_> = refused.collect();
    assert!(odd.iter().all(|id| refused.contains(id)), "{refused:?}");
}

#[test]
fn a_limit_below_what_runs_stops_nothing_and_lets_nothing_begin() {
    let bench = open();
    bench.put(tasks(5));
    let session = bench.session();
    let claims = bench.take(&session, 3);
    at_most(&bench, 1);
    assert_eq!((got(&bench), bench.beat(&[&session])), (0, vec![]));
    bench.end(&session, &claims[0], complete());
    bench.end(&session, &claims[1], complete());
    assert_eq!(got(&bench), 0);
    bench.end(&session, &claims[2], complete());
    assert_eq!(got(&bench), 1);
    at_most(&bench, None);
    assert_eq!(got(&bench), 1);
}

#[test]
fn nothing_begins_where_nothing_may_run() {
    let bench = open();
    bench.put(tasks(2));
    full(&bench, KINDS[0], 2);
    at_most(&bench, 0);
    assert_eq!(got(&bench), 0);
    at_most(&bench, None);
    of_kind(&bench, KINDS[0], 0);
    assert_eq!(got(&bench), 0);
    of_kind(&bench, KINDS[0], None);
    assert_eq!(got(&bench), 4);
}

#[test]
fn a_group_needs_room_for_one_and_counts_as_its_tasks_once_it_is_claimed() {
    for limit_kind in [false, true] {
        let bench = open();
        if limit_kind {
            of_kind(&bench, KINDS[0], 2);
        } else {
            at_most(&bench, 2);
        }
        let running = bench.put(tasks(1));
        let first = bench.session();
        let claims = bench.take(&first, 1);
        assert_eq!(ids(&claims), running);
        full(&bench, KINDS[0], 5);
        let second = bench.session();
        let group = bench.take(&second, 1);
        assert_eq!(group.len(), 5, "there was room for one more");
        bench.put(tasks(2));
        bench.end(&first, &claims[0], complete());
        for claim in &group[..3] {
            assert_eq!(got(&bench), 0);
            bench.end(&second, claim, complete());
        }
        assert_eq!((got(&bench), bench.stats().count(State::Active)), (0, 2));
        bench.end(&second, &group[3], complete());
        assert_eq!((got(&bench), got(&bench)), (1, 0));
        // And a group waits while there is room for none.
        full(&bench, KINDS[0], 2);
        assert_eq!(got(&bench), 0);
        bench.end(&second, &group[4], complete());
        assert_eq!(got(&bench), 2);
    }
}

/// However a claim ends: whoever found too little because of a limit hears of the room there is.
#[test]
fn whoever_found_too_little_is_woken_by_every_end_of_a_claim() {
    type End = fn(&Bench, &Session, &Claim);
    let ends: [(&str, End); 9] = [
        ("complete", |bench, session, claim| bench.end(session, claim, complete())),
        ("kept", |bench, session, claim| bench.end(session, claim, keep(HOUR))),
        ("retry", |bench, session, claim| {
            bench.end(session, claim, Order::Retry { after: HOUR, front: false });
        }),
        ("snooze", |bench, session, claim| {
            bench.end(session, claim, Order::Snooze { after: HOUR });
        }),
        ("archive", |bench, session, claim| {
            bench.end(session, claim, Order::Archive { reason: Reason::Exhausted });
        }),
        ("drop", |bench, session, claim| bench.end(session, claim, Order::Drop)),
        ("back to its group", |bench, session, claim| bench.end(session, claim, release())),
        ("to run alone", |bench, session, claim| {
            bench.end(session, claim, Order::Release { lane: Lane::Alone });
        }),
        ("retire", |bench, session, _| assert_eq!(bench.retire(session, &[]), 1)),
    ];
    for limit_kind in [false, true] {
        for (way, end) in ends {
            let bench = open();
            if limit_kind {
                of_kind(&bench, KINDS[0], 1);
            } else {
                at_most(&bench, 1);
            }
            // It is of a group: so its return alone makes nothing pending.
            bench.put([task(KINDS[0]).group(gather("g", HOUR).most(1))]);
            let (session, claims) = bench.take_all();
            let waiting = bench.put_one(task(KINDS[0]));
            let hungry = bench.session();
            let seen = run(bench.broker.wait(Wake::Ready, None)).expect("a mark");
            assert_eq!(bench.take(&hungry, 1).len(), 0);
            end(&bench, &session, &claims[0]);
            run(bench.broker.wait(Wake::Ready, Some(seen)))
                .unwrap_or_else(|error| panic!("{way}: {error}"));
            assert_eq!(bench.take(&hungry, 2).len(), 1, "{way}");
            assert!(matches!(bench.state(waiting), Some(State::Active | State::Pending)));
        }
    }
}
