//! What releases a lock and what does not: every road a task can go, for every hold.

use std::time::Duration;

use oncue::broker::*;
use oncue::state::{Reason, State};
use oncue::task::{Due, TaskId};

use super::open;
use crate::fixture::*;

/// A road: what happens to a task that waits and holds a lock; and whether it still holds it if it does so until it
/// starts, until it ends, or always.
type Road = (&'static str, fn(&Bench, TaskId), [bool; 3]);

const HOLDS: [Hold; 3] = [Hold::UntilStart, Hold::UntilEnd, Hold::Always];
/// Started, and not ended.
const RUNS: [bool; 3] = [false, true, true];
const ENDED: [bool; 3] = [false, false, true];
const DELETED: [bool; 3] = [false; 3];
const WAITS: [bool; 3] = [true; 3];

const ROADS: &[Road] = &[
    ("nothing", |_, _| {}, WAITS),
    ("dequeue", |bench, id| drop(take(bench, id)), RUNS),
    ("complete", |bench, id| settle(bench, id, complete()), ENDED),
    ("complete, kept", |bench, id| settle(bench, id, keep(HOUR)), ENDED),
    ("archive by the policy", |bench, id| settle(bench, id, archive()), ENDED),
    ("drop", |bench, id| settle(bench, id, Order::Drop), ENDED),
    ("retry", |bench, id| settle(bench, id, retry()), RUNS),
    ("retry, due", |bench, id| due_again(bench, id, retry()), RUNS),
    ("retry, claimed", |bench, id| claimed_again(bench, id, retry()), RUNS),
    ("snooze", |bench, id| settle(bench, id, snooze()), RUNS),
    ("snooze, due", |bench, id| due_again(bench, id, snooze()), RUNS),
    ("release", |bench, id| settle(bench, id, release()), RUNS),
    (
        "release to run alone",
        |bench, id| settle(bench, id, Order::Release { lane: Lane::Alone }),
        RUNS,
    ),
    ("retire", retire, RUNS),
    ("a lost lease", |bench, id| drop(lose(bench, id)), RUNS),
    ("a lost lease, released", |bench, id| end(bench, lose(bench, id), release()), RUNS),
    ("a lost lease, to be retried", |bench, id| end(bench, lose(bench, id), retry()), RUNS),
    ("a lost lease, archived", |bench, id| end(bench, lose(bench, id), archive()), ENDED),
    ("a lost lease, dropped", |bench, id| end(bench, lose(bench, id), Order::Drop), ENDED),
    ("nobody takes it", |bench, id| drop(refuse(bench, id)), WAITS),
    ("nobody takes it, released", |bench, id| end(bench, refuse(bench, id), release()), WAITS),
    ("nobody takes it, archived", |bench, id| end(bench, refuse(bench, id), archive()), ENDED),
    ("the end of its retention", retention, ENDED),
    ("cancel", |bench, id| assert_eq!(bench.cancel(id), Cancelled::Archived), ENDED),
    ("cancel while it runs", |bench, id| drop(doom(bench, id)), RUNS),
    ("cancel while it runs, then retry", |bench, id| end(bench, doom(bench, id), retry()), ENDED),
    ("cancel while it runs, then snooze", |bench, id| end(bench, doom(bench, id), snooze()), ENDED),
    (
        "cancel while it runs, then release",
        |bench, id| end(bench, doom(bench, id), release()),
        ENDED,
    ),
    (
        "cancel while it runs, then complete",
        |bench, id| end(bench, doom(bench, id), complete()),
        ENDED,
    ),
    ("cancel while it runs, then retire", doom_and_retire, ENDED),
    ("archived by a person", |bench, id| act(bench, id, Act::Archive), ENDED),
    ("archived by a person, then run", archive_and_run, ENDED),
    ("run", |bench, id| act(bench, id, Act::Run), WAITS),
    ("rescheduled", |bench, id| act(bench, id, Act::Reschedule(Due::In(HOUR))), WAITS),
    ("deleted", |bench, id| act(bench, id, Act::Delete), DELETED),
    ("deleted after a retry", |bench, id| delete_after(bench, id, retry()), DELETED),
    ("deleted after its end", |bench, id| delete_after(bench, id, keep(HOUR)), DELETED),
    ("deleted after an archive", |bench, id| delete_after(bench, id, archive()), DELETED),
];

fn retry() -> Order {
    Order::Retry { after: MINUTE, front: false }
}

fn snooze() -> Order {
    Order::Snooze { after: MINUTE }
}

fn archive() -> Order {
    Order::Archive { reason: Reason::Exhausted }
}

fn due(bench: &Bench) {
    bench.pass(MINUTE * 2);
    bench.catch_up();
}

fn take(bench: &Bench, id: TaskId) -> (Session, Claim) {
    due(bench);
    let (session, mut claims) = bench.take_all();
    assert_eq!(ids(&claims), [id]);
    (session, claims.remove(0))
}

fn end(bench: &Bench, (session, claim): (Session, Claim), order: Order) {
    bench.end(&session, &claim, order);
}

fn settle(bench: &Bench, id: TaskId, order: Order) {
    end(bench, take(bench, id), order);
}

fn due_again(bench: &Bench, id: TaskId, order: Order) {
    settle(bench, id, order);
    due(bench);
    let state = bench.state(id);
    assert!(matches!(state, Some(State::Pending | State::Aggregating)), "{state:?}");
}

fn claimed_again(bench: &Bench, id: TaskId, order: Order) {
    settle(bench, id, order);
    take(bench, id);
}

fn retire(bench: &Bench, id: TaskId) {
    let (session, _) = take(bench, id);
    assert_eq!(bench.retire(&session, &[]), 1);
}

fn lose(bench: &Bench, id: TaskId) -> (Session, Claim) {
    take(bench, id);
    bench.warm_up_sweeps();
    let (sweeper, mut claims) = bench.take_over();
    assert_eq!((ids(&claims), claims[0].cause), (vec![id], Cause::Lost));
    (sweeper, claims.remove(0))
}

fn refuse(bench: &Bench, id: TaskId) -> (Session, Claim) {
    due(bench);
    bench.pass(GRACE);
    let sweeper = bench.session();
    let sweep = Sweep { known: Vec::new(), ..bench.sweep(&sweeper) };
    let mut claims = run(bench.broker.reclaim(sweep)).expect("reclaimed");
    assert_eq!((ids(&claims), claims[0].cause), (vec![id], Cause::Refused));
    (sweeper, claims.remove(0))
}

fn retention(bench: &Bench, id: TaskId) {
    settle(bench, id, keep(MINUTE));
    due(bench);
    assert_eq!(bench.state(id), None);
}

fn doom(bench: &Bench, id: TaskId) -> (Session, Claim) {
    let taken = take(bench, id);
    assert_eq!(bench.cancel(id), Cancelled::Asked);
    taken
}

fn doom_and_retire(bench: &Bench, id: TaskId) {
    let (session, _) = doom(bench, id);
    assert_eq!(bench.retire(&session, &[]), 1);
}

fn act(bench: &Bench, id: TaskId, act: Act) {
    assert_eq!(bench.act(id, act), Acted::Done);
}

fn archive_and_run(bench: &Bench, id: TaskId) {
    act(bench, id, Act::Archive);
    act(bench, id, Act::Run);
}

fn delete_after(bench: &Bench, id: TaskId, order: Order) {
    settle(bench, id, order);
    act(bench, id, Act::Delete);
}

/// A group closes with the advance by which its task joined it, or the next.
fn grouped() -> Spec {
    task(KINDS[0]).group(gather("g", Duration::ZERO))
}

#[test]
fn every_road_releases_what_it_must_and_nothing_else() {
    walk_every_road(|| task(KINDS[0]));
}

#[test]
fn every_road_of_a_task_of_a_group_releases_the_same() {
    walk_every_road(grouped);
}

/// Each in a queue of its own, from a task that is scheduled: so a person can do all to it, too.
fn walk_every_road(spec: fn() -> Spec) {
    let mut bench = open();
    for (way, (road, walk, held)) in ROADS.iter().enumerate() {
        for (hold, held) in HOLDS.into_iter().zip(held) {
            bench.queue = queue(&format!("road-{way}-{}", hold.code()));
            let locked = |hold| spec().lock(Lock { hold, ..lock([1, 2]) });
            let id = bench.put_one(locked(hold).after(MINUTE));
            walk(&bench, id);
            let holder = held.then_some(id);
            assert_eq!(bench.holder([1]), holder, "{road}, {hold:?}");
            assert_eq!(bench.holder([2]), holder, "{road}, {hold:?}");
            // In the same instant another can take what is released, and nobody what is not.
            let next = bench.batch([locked(Hold::UntilEnd)]);
            let answer = if *held { Enqueued::Held(id) } else { Enqueued::Created };
            assert_eq!(bench.enqueue(&next), [answer], "{road}, {hold:?}");
        }
    }
}

/// What was released stays so: a task that is run again does not take its lock again, nor does its end free another's.
#[test]
fn a_lock_that_was_released_is_not_taken_again() {
    let mut bench = open();
    for (n, hold) in [Hold::UntilStart, Hold::UntilEnd].into_iter().enumerate() {
        bench.queue = queue(&format!("again-{n}"));
        let id = bench.put_one(task(KINDS[0]).lock(Lock { hold, ..lock([1]) }));
        settle(&bench, id, archive());
        act(&bench, id, Act::Run);
        let (session, claim) = take(&bench, id);
        let next = bench.put_one(task(KINDS[0]).lock(lock([1])));
        end(&bench, (session, claim), complete());
        assert_eq!(bench.holder([1]), Some(next), "{hold:?}");
    }
}
