//! What people and locks do to tasks that gather; a group whose last task left is gone.

use std::time::Duration;

use oncue::broker::*;
use oncue::state::{Reason, State};
use oncue::task::{Due, TaskId};

use super::groups::shape;
use super::open;
use crate::fixture::*;

/// A way out of a group, and the state it leads to.
type Way = (&'static str, fn(&Bench, TaskId), Option<State>);

const WAYS: &[Way] = &[
    (
        "cancel",
        |bench, id| assert_eq!(bench.cancel(id), Cancelled::Archived),
        Some(State::Archived),
    ),
    ("archive", |bench, id| act(bench, id, Act::Archive), Some(State::Archived)),
    ("delete", |bench, id| act(bench, id, Act::Delete), None),
    ("run", |bench, id| act(bench, id, Act::Run), Some(State::Pending)),
    (
        "reschedule",
        |bench, id| act(bench, id, Act::Reschedule(Due::In(HOUR * 9))),
        Some(State::Scheduled),
    ),
    ("replaced", |bench, id| replaced(bench, id), None),
    ("moved", |bench, id| moved(bench, id), Some(State::Scheduled)),
];

fn act(bench: &Bench, id: TaskId, act: Act) {
    assert_eq!(bench.act(id, act), Acted::Done);
}

/// One with the same lock, of another group and due some day.
fn contend(bench: &Bench, conflict: Conflict) -> Enqueued {
    let spec = task(KINDS[0]).group(gather("other", MINUTE)).after(HOUR * 9);
    bench.enqueue(&bench.batch([spec.lock(Lock { conflict, ..lock([1]) })]))[0]
}

fn replaced(bench: &Bench, id: TaskId) {
    assert_eq!(contend(bench, Conflict::Replace), Enqueued::Replaced(id));
}

fn moved(bench: &Bench, id: TaskId) {
    assert_eq!(contend(bench, Conflict::Reschedule), Enqueued::Moved(id));
    assert_eq!(bench.show(id).expect("there").until, Some(bench.now().plus(HOUR * 9)));
}

fn locked() -> Spec {
    member("g").lock(lock([1]))
}

/// For every way out of a group, open or closed, that has so many tasks: the first one is about to leave.
fn on_every_way(tasks: usize, check: impl Fn(&Bench, &Way, &[TaskId], bool)) {
    let mut bench = open();
    for (n, way) in WAYS.iter().enumerate() {
        for closed in [false, true] {
            bench.queue = queue(&format!("way-{n}-{closed}"));
            let put = bench.put((0..tasks).map(|n| if n == 0 { locked() } else { member("g") }));
            if closed {
                bench.close();
            }
            way.1(&bench, put[0]);
            assert_eq!(bench.state(put[0]), way.2, "{}", way.0);
            check(&bench, way, &put, closed);
        }
    }
}

#[test]
fn a_group_whose_last_task_left_is_gone() {
    on_every_way(1, |bench, (way, _, state), put, closed| {
        assert_eq!(bench.groups(), [], "{way}, closed: {closed}");
        let next = bench.advance().next;
        assert!(next.is_none_or(|next| next == bench.now().plus(HOUR * 9)), "{way}: {next:?}");
        bench.close();
        let claims = bench.take_all().1;
        if *state == Some(State::Pending) {
            assert_eq!((ids(&claims), claims[0].group), (put.to_vec(), None), "{way}");
        } else {
            assert_eq!(ids(&claims), [], "{way}, closed: {closed}");
        }
        // A group of that name can be opened anew, and waits for as long as any.
        let anew = bench.put_one(member("g"));
        assert_eq!(bench.groups()[0].closes, Some(bench.now().plus(MINUTE)), "{way}");
        bench.close();
        assert_eq!(ids(&bench.take_all().1), [anew], "{way}");
    });
}

#[test]
fn whoever_stays_is_left_as_it_was() {
    on_every_way(3, |bench, (way, _, state), put, closed| {
        assert_eq!(shape(bench)[0], ("g".into(), 2, closed), "{way}");
        bench.close();
        let claims = bench.take_all().1;
        let (together, alone): (Vec<_>, Vec<_>) =
            claims.iter().partition(|claim| claim.group == Some(0));
        let mut together: Vec<_> = together.into_iter().map(Claim::id).collect();
        let mut stayed = put[1..].to_vec();
        together.sort();
        stayed.sort();
        assert_eq!(together, stayed, "{way}, closed: {closed}");
        assert_eq!(alone.len(), usize::from(*state == Some(State::Pending)), "{way}");
    });
}

#[test]
fn a_group_has_at_most_what_it_holds_not_what_it_held() {
    let bench = open();
    let three = || task(KINDS[0]).group(gather("g", HOUR).most(3));
    let put = bench.put([three(), three()]);
    act(&bench, put[0], Act::Delete);
    bench.put([three()]);
    assert_eq!(shape(&bench), [("g".into(), 2, false)]);
    bench.put([three()]);
    assert_eq!(shape(&bench), [("g".into(), 3, true)]);
}

#[test]
fn a_person_sees_why_and_may_run_what_was_archived() {
    let bench = open();
    let [cancelled, archived] = bench.put([member("g"), member("g")])[..] else { panic!() };
    assert_eq!(bench.cancel(cancelled), Cancelled::Archived);
    act(&bench, archived, Act::Archive);
    let reason = |id| bench.show(id).expect("there").reason;
    assert_eq!(reason(cancelled), Some(Reason::Cancelled));
    assert_eq!(reason(archived), Some(Reason::Operator));
    act(&bench, archived, Act::Run);
    let claims = bench.take_all().1;
    assert_eq!((ids(&claims), claims[0].group), (vec![archived], None), "by itself");
}

#[test]
fn what_gathers_and_is_due_now_stays_where_it_is() {
    let bench = open();
    let id = bench.put_one(locked());
    let closes = Some(bench.now().plus(MINUTE));
    bench.pass(SECOND);
    for due in [Due::Now, Due::At(START), Due::In(Duration::ZERO)] {
        act(&bench, id, Act::Reschedule(due));
        assert_eq!(bench.groups()[0].closes, closes, "it did not join again");
    }
    let now = locked().lock(Lock { conflict: Conflict::Reschedule, ..lock([1]) });
    assert_eq!(bench.enqueue(&bench.batch([now.clone()])), [Enqueued::Moved(id)]);
    assert_eq!((shape(&bench), bench.groups()[0].closes), (vec![("g".into(), 1, false)], closes));
    bench.close();
    assert_eq!(bench.enqueue(&bench.batch([now])), [Enqueued::Moved(id)]);
    act(&bench, id, Act::Reschedule(Due::Now));
    assert_eq!(shape(&bench), [("g".into(), 1, true)]);
    assert_eq!(ids(&bench.take_all().1), [id]);
}

#[test]
fn what_is_put_off_joins_its_group_when_it_is_due() {
    let bench = open();
    let id = bench.put_one(locked());
    act(&bench, id, Act::Reschedule(Due::In(HOUR)));
    assert_eq!(bench.show(id).expect("there").until, Some(bench.now().plus(HOUR)));
    bench.pass(HOUR);
    assert_eq!(bench.advance().moved, 1);
    assert_eq!(bench.state(id), Some(State::Aggregating));
    // And one that is scheduled joins when another of its sort would be due now.
    act(&bench, id, Act::Reschedule(Due::In(HOUR)));
    let now = locked().lock(Lock { conflict: Conflict::Reschedule, ..lock([1]) });
    assert_eq!(bench.enqueue(&bench.batch([now])), [Enqueued::Moved(id)]);
    assert_eq!(bench.groups()[0].closes, Some(bench.now().plus(MINUTE)));
}

#[test]
fn what_a_person_runs_stays_pending_by_itself_though_it_is_due_now() {
    let bench = open();
    let id = bench.put_one(member("g"));
    act(&bench, id, Act::Run);
    act(&bench, id, Act::Reschedule(Due::Now));
    assert_eq!((bench.state(id), bench.groups()), (Some(State::Pending), vec![]));
    act(&bench, id, Act::Reschedule(Due::In(MINUTE)));
    act(&bench, id, Act::Reschedule(Due::Now));
    assert_eq!(bench.state(id), Some(State::Aggregating), "scheduled, it joins again");
}

#[test]
fn a_record_is_replaced_where_its_task_gathers() {
    let bench = open();
    let edited = bench.put_one(member("g"));
    bench.pass(SECOND);
    let other = bench.put_one(member("g"));
    let groups = bench.groups();
    let seen = || bench.show(edited).expect("there").stored;
    let sealed = |spec: Spec| spec.id(edited).fill(b'1').seal(&bench.queue, bench.now()).envelope;
    for strange in [member("h"), task(KINDS[0])] {
        assert!(refusal(bench.broker.replace(seen(), sealed(strange))).is_invalid());
    }
    for _ in 0..2 {
        let replaced = run(bench.broker.replace(seen(), sealed(member("g"))));
        assert_eq!(replaced.expect("answered"), Acted::Done);
        assert_eq!(bench.state(edited), Some(State::Aggregating));
    }
    assert_eq!(bench.groups(), groups);
    bench.close();
    let claims = bench.take_all().1;
    assert_eq!(ids(&claims), [edited, other]);
    assert_eq!(payload_of(&claims[0].stored), b"11");
}

#[test]
fn a_lock_of_what_gathers_keeps_others_out_and_lasts_from_when_it_was_due() {
    let bench = open();
    let lasts = Some(HOUR);
    let id = bench.put_one(member("g").after(HOUR).lock(Lock { lasts, ..lock([1]) }));
    bench.pass(HOUR + MINUTE);
    bench.advance();
    assert_eq!(bench.state(id), Some(State::Aggregating));
    let next = bench.batch([task(KINDS[0]).lock(lock([1]))]);
    assert_eq!(bench.enqueue(&next), [Enqueued::Held(id)]);
    bench.pass(HOUR - MINUTE);
    assert_eq!(bench.holder([1]), None);
}

#[test]
fn a_task_that_replaces_one_of_its_group_joins_it_anew() {
    let bench = open();
    bench.put([member("g")]);
    let since = bench.now();
    bench.pass(SECOND);
    let old = bench.put_one(locked());
    bench.pass(SECOND);
    let new = locked().lock(Lock { conflict: Conflict::Replace, ..lock([1]) });
    let batch = bench.batch([new.clone()]);
    assert_eq!(bench.enqueue(&batch), [Enqueued::Replaced(old)]);
    let group = bench.groups().remove(0);
    assert_eq!((group.tasks, group.since), (2, since));
    assert_eq!(group.closes, Some(bench.now().plus(MINUTE)));
    // The only one of its group: that one is gone, and another is opened.
    let bench = open();
    let old = bench.put_one(locked());
    bench.pass(SECOND);
    assert_eq!(bench.enqueue(&bench.batch([new])), [Enqueued::Replaced(old)]);
    let group = bench.groups().remove(0);
    assert_eq!((bench.groups().len(), group.tasks, group.since), (1, 1, bench.now()));
}

#[test]
fn one_that_tasks_of_one_batch_put_off_and_fetch_back_gathers_once() {
    let bench = open();
    let (id, other) = (bench.put_one(locked()), bench.put_one(member("g")));
    let contender = |due| {
        let conflict = Conflict::Reschedule;
        task(KINDS[0]).due(due).lock(Lock { conflict, ..lock([1]) })
    };
    let batch = bench.batch([Due::In(SECOND), Due::Now, Due::Now].map(contender));
    assert_eq!(bench.enqueue(&batch), [Enqueued::Moved(id); 3]);
    assert_eq!(bench.stats().count(State::Aggregating), 2);
    assert_eq!(bench.groups().iter().map(|group| group.tasks).sum::<u64>(), 2);
    bench.close();
    let mut claimed = ids(&bench.take_all().1);
    claimed.sort();
    assert_eq!(claimed, [id, other]);
}
