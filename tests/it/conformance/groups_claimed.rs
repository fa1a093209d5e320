//! Groups at a dequeue: claimed whole, as one piece of work, each task a claim of its own.

use std::collections::BTreeSet;
use std::time::Duration;

use oncue::broker::*;
use oncue::queue::KindHash;
use oncue::state::State;
use oncue::task::TaskId;

use super::groups::shape;
use super::open;
use crate::fixture::*;

const MS: Duration = Duration::from_millis(1);

/// A group of as many tasks, closed because it is full.
#[track_caller]
fn full(bench: &Bench, kind: &'static str, tasks: usize) -> Vec<TaskId> {
    let terms = gather("full", HOUR).most(tasks);
    let put = bench.put((0..tasks).map(|_| task(kind).group(terms.clone())));
    bench.pass(MS);
    put
}

fn set(ids: &[TaskId]) -> BTreeSet<TaskId> {
    ids.iter().copied().collect()
}

/// The groups of an answer by number, and what was claimed by itself.
fn sorted(claims: &[Claim]) -> (Vec<BTreeSet<TaskId>>, Vec<TaskId>) {
    let number = |claim: &Claim| claim.group;
    let most = claims.iter().filter_map(number).max().map_or(0, |most| most + 1);
    let with = |n| claims.iter().filter(move |claim| claim.group == n).map(Claim::id);
    ((0..most).map(|n| with(Some(n)).collect()).collect(), with(None).collect())
}

#[test]
fn a_group_is_claimed_whole_in_the_order_in_which_its_tasks_joined() {
    let bench = open();
    let mut put = Vec::new();
    for _ in 0..5 {
        put.push(bench.put_one(member("g")));
        bench.pass(MS);
    }
    bench.close();
    let session = bench.session();
    let claims = bench.take(&session, 1);
    assert_eq!(ids(&claims), put);
    for claim in &claims {
        assert_eq!((claim.group, claim.cause), (Some(0), Cause::Dequeued));
        assert_eq!(bench.state(claim.id()), Some(State::Active));
    }
    assert_eq!((bench.groups(), bench.stats().count(State::Active)), (vec![], 5));
    // From then on each is a claim like any other.
    bench.end(&session, &claims[0], complete());
    bench.end(&session, &claims[1], keep(HOUR));
    bench.end(&session, &claims[2], Order::Retry { after: HOUR, front: false });
    bench.end(&session, &claims[3], Order::Drop);
    let states: Vec<_> = put.iter().map(|id| bench.state(*id)).collect();
    use State::{Active, Completed, Retry};
    assert_eq!(states, [None, Some(Completed), Some(Retry), None, Some(Active)]);
    assert_eq!(bench.beat(&[&session]), []);
}

#[test]
fn the_largest_group_there_is_can_be_claimed_by_whoever_asks_for_one() {
    let bench = open();
    let put = full(&bench, KINDS[0], 500);
    let claims = bench.take(&bench.session(), 1);
    assert_eq!(set(&ids(&claims)), set(&put));
}

#[test]
fn a_group_counts_as_one_of_all_and_of_its_kind() {
    let bench = open();
    let groups: Vec<_> = (0..4).map(|_| full(&bench, KINDS[0], 3)).collect();
    let (found, alone) = sorted(&bench.take(&bench.session(), 2));
    assert_eq!((found, alone), (vec![set(&groups[0]), set(&groups[1])], vec![]));
    let mut ask = bench.ask(&bench.session(), 9);
    ask.accept = vec![(KindHash::of(KINDS[0]), 1)];
    let (found, alone) = sorted(&bench.claims(ask));
    assert_eq!((found, alone), (vec![set(&groups[2])], vec![]));
    assert_eq!(sorted(&bench.take(&bench.session(), 9)).0, [set(&groups[3])]);
}

#[test]
fn groups_go_before_what_is_pending_of_their_kind_the_one_closed_first_first() {
    let bench = open();
    let pending = bench.put(tasks(3));
    bench.pass(MS);
    let slow = bench.put_one(member("slow"));
    bench.pass(SECOND);
    let quick = bench.put_one(task(KINDS[0]).group(gather("quick", SECOND)));
    bench.pass(SECOND);
    bench.catch_up();
    bench.close();
    assert_eq!(shape(&bench).iter().map(|group| &*group.0).collect::<Vec<_>>(), ["slow", "quick"]);
    let session = bench.session();
    let order: Vec<_> = (0..3).flat_map(|_| ids(&bench.take(&session, 1))).collect();
    assert_eq!(order, [quick, slow, pending[0]], "the one opened first was closed last");
    assert_eq!(ids(&bench.take(&session, 9)), pending[1..]);
}

#[test]
fn what_is_pending_is_in_no_group_and_groups_are_numbered_within_an_answer() {
    let bench = open();
    let first = full(&bench, KINDS[0], 2);
    let second = full(&bench, KINDS[0], 3);
    let pending = bench.put(tasks(2));
    let (groups, alone) = sorted(&bench.take(&bench.session(), 9));
    assert_eq!((groups, alone), (vec![set(&first), set(&second)], pending));
    let third = full(&bench, KINDS[0], 2);
    assert_eq!(sorted(&bench.take(&bench.session(), 9)).0, [set(&third)], "from 0 each time");
}

#[test]
fn groups_of_several_kinds_are_claimed_beside_what_is_pending() {
    let bench = open();
    let groups = [full(&bench, KINDS[0], 2), full(&bench, KINDS[1], 2)];
    let pending = bench.put([task(KINDS[2]), task(KINDS[1])]);
    let (found, alone) = sorted(&bench.take(&bench.session(), 4));
    let found: BTreeSet<_> = found.into_iter().collect();
    assert_eq!(found, groups.iter().map(|group| set(group)).collect());
    assert_eq!(set(&alone), set(&pending));
}

#[test]
fn what_is_open_is_claimed_by_nobody_and_what_is_closed_in_the_shared_lane_only() {
    let bench = open();
    let alone = || Ask { lane: Lane::Alone, ..bench.ask(&bench.session(), 9) };
    bench.put([member("g")]);
    assert_eq!((bench.take_all().1.len(), bench.claims(alone()).len()), (0, 0));
    bench.close();
    assert_eq!(bench.claims(alone()).len(), 0);
    let mut others = bench.ask(&bench.session(), 9);
    others.accept.retain(|(kind, _)| *kind != KindHash::of(KINDS[0]));
    assert_eq!(bench.claims(others).len(), 0, "of a kind that is not accepted");
    assert_eq!(bench.take(&bench.session(), 9).len(), 1);
}

#[test]
fn nothing_gathered_is_claimed_from_a_paused_queue() {
    let bench = open();
    bench.put([member("g"), member("g")]);
    bench.set(Setting::Paused(true));
    bench.close();
    assert_eq!(bench.take_all().1.len(), 0);
    assert_eq!(bench.groups().len(), 1);
    bench.set(Setting::Paused(false));
    assert_eq!(bench.take_all().1.len(), 2);
}

#[test]
fn an_answer_has_no_more_claims_than_there_may_be_and_what_waits_is_next() {
    let bench = open();
    let groups: Vec<_> = (0..3).map(|_| full(&bench, KINDS[0], 400)).collect();
    let pending = bench.put(tasks(3));
    let claims = bench.take(&bench.session(), CLAIMS_MAX);
    assert!(claims.len() <= CLAIMS_MAX);
    assert_eq!(sorted(&claims).0, [set(&groups[0]), set(&groups[1])]);
    let (found, alone) = sorted(&bench.take(&bench.session(), CLAIMS_MAX));
    assert_eq!(found, [set(&groups[2])]);
    let all: Vec<_> = sorted(&claims).1.into_iter().chain(alone).collect();
    assert_eq!(all, pending, "nothing behind it waits for ever");
}

#[test]
fn groups_leave_no_more_room_than_there_is_for_what_is_pending() {
    let bench = open();
    full(&bench, KINDS[0], 400);
    bench.put(tasks(CLAIMS_MAX));
    let (first, second) =
        (bench.take(&bench.session(), CLAIMS_MAX), bench.take(&bench.session(), CLAIMS_MAX));
    assert!(first.len() <= CLAIMS_MAX && second.len() <= CLAIMS_MAX);
    assert_eq!(first.len() + second.len(), CLAIMS_MAX + 400);
}

#[test]
fn a_claim_of_a_group_releases_what_its_tasks_hold_until_they_start() {
    let bench = open();
    let holding = |name, hold| member("g").lock(Lock { hold, ..lock([name]) });
    let put = bench.put([
        holding(1, Hold::UntilStart),
        holding(2, Hold::UntilStart),
        holding(3, Hold::UntilEnd),
    ]);
    bench.close();
    let holders = || [1, 2, 3].map(|name| bench.holder([name]));
    assert_eq!(holders(), [Some(put[0]), Some(put[1]), Some(put[2])]);
    bench.take(&bench.session(), 1);
    assert_eq!(holders(), [None, None, Some(put[2])]);
}

#[test]
fn no_group_is_torn_apart_by_sessions_that_ask_at_once() {
    let bench = open();
    let groups: BTreeSet<_> = (0..40).map(|_| set(&full(&bench, KINDS[0], 5))).collect();
    let worker = || {
        let session = bench.session();
        let mut mine = Vec::new();
        loop {
            let (groups, _) = sorted(&bench.take(&session, 1));
            mine.extend(groups.iter().cloned());
            if groups.is_empty() {
                return mine;
            }
        }
    };
    let all: Vec<_> = std::thread::scope(|scope| {
        let workers = [(); 4].map(|()| scope.spawn(worker));
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker")).collect()
    });
    assert_eq!((all.len(), all.into_iter().collect()), (40, groups));
}
