//! What becomes of two tasks that want the same lock: one is kept out, replaced, or moved.

use std::time::Duration;

use oncue::broker::*;
use oncue::clock::Timestamp;
use oncue::state::State;
use oncue::task::{Due, TaskId};

use super::open;
use crate::fixture::*;

use Enqueued::{Created, Existing, Held, Moved, Replaced};

fn with(conflict: Conflict, names: impl IntoIterator<Item = u8>) -> Spec {
    task(KINDS[0]).lock(Lock { conflict, ..lock(names) })
}

fn within(conflict: Conflict, within: Duration) -> Spec {
    task(KINDS[0]).lock(Lock { conflict, within: Some(within), ..lock([1]) })
}

/// What became of one task, and its id.
#[track_caller]
fn put(bench: &Bench, spec: Spec) -> (TaskId, Enqueued) {
    let batch = bench.batch([spec]);
    (batch.tasks[0].envelope.id(), bench.enqueue(&batch)[0])
}

fn due_of(bench: &Bench, id: TaskId) -> Option<Timestamp> {
    bench.show(id).expect("there").until
}

const STATES: [(Option<State>, bool); 7] = [
    (Some(State::Scheduled), true),
    (Some(State::Pending), true),
    (Some(State::Retry), true),
    (Some(State::Active), false),
    (Some(State::Completed), false),
    (Some(State::Archived), false),
    (None, false),
];

/// For each state a queue of its own with a task in it that holds its lock for ever.
fn in_every_state(mut check: impl FnMut(&Bench, TaskId, Option<State>, bool)) {
    let mut bench = open();
    for (state, waits) in STATES {
        bench.queue = queue(&format!("holder-{}", state.map_or("gone", State::as_str)));
        let always = Lock { hold: Hold::Always, ..lock([1, 2]) };
        let holder = bench.put_one(task(KINDS[0]).key("holder").after(MINUTE).lock(always));
        bench.bring(holder, state);
        assert_eq!(bench.state(holder), state);
        check(&bench, holder, state, waits);
    }
}

#[test]
fn a_holder_that_waits_is_replaced_and_no_other() {
    in_every_state(|bench, holder, state, waits| {
        let (new, answer) = put(bench, with(Conflict::Replace, [2, 3]));
        if !waits {
            assert_eq!(answer, Held(holder), "{state:?}");
            assert_eq!((bench.state(holder), bench.state(new)), (state, None));
            assert_eq!((bench.holder([1]), bench.holder([3])), (Some(holder), None));
            return;
        }
        assert_eq!(answer, Replaced(holder), "{state:?}");
        assert_eq!((bench.state(holder), bench.state(new)), (None, Some(State::Pending)));
        assert_eq!(bench.stats().total(), 1);
        // The lock is the new one's, under its names and no others.
        assert_eq!([1, 2, 3].map(|name| bench.holder([name])), [None, Some(new), Some(new)]);
        bench.pass(HOUR);
        bench.advance();
        assert_eq!(ids(&bench.take_all().1), [new]);
        assert_eq!(bench.take_all().1.len(), 0);
    });
}

#[test]
fn the_id_of_a_task_that_was_replaced_is_remembered_if_it_is_its_own() {
    in_every_state(|bench, holder, _, waits| {
        put(bench, with(Conflict::Replace, [1]));
        if waits {
            bench.pass(KEY_MEMORY - SECOND);
            let again = || task(KINDS[0]).id(holder).remember(true);
            assert_eq!(put(bench, again()).1, Existing);
            bench.pass(SECOND * 2);
            assert_eq!(put(bench, again()).1, Created);
        }
    });
}

#[test]
fn a_task_that_replaces_another_begins_anew() {
    let bench = open();
    let plain = || task(KINDS[0]).lock(lock([1]));
    let old = bench.put_one(plain());
    let (session, claims) = bench.take_all();
    let mut failed = Settlement::new(claims[0].ticket, Order::Retry { after: HOUR, front: true });
    failed.trail = Some(trail(3));
    assert_eq!(bench.settle(&session, vec![failed]), [Settled::Done]);
    let (new, answer) = put(&bench, with(Conflict::Replace, [1]).id(TaskId::fresh()));
    assert_eq!(answer, Replaced(old));
    let view = bench.show(new).expect("there");
    assert_eq!((view.state, view.trail.is_empty()), (State::Pending, true));
    // An id that was not its own is free again.
    assert_eq!(put(&bench, plain().id(old)).1, Held(new));
    bench.act(new, Act::Delete);
    assert_eq!(put(&bench, plain().id(old)).1, Created);
    assert_eq!(bench.show(old).map(|view| view.trail.is_empty()), Some(true));
}

#[test]
fn what_replaces_again_and_again_is_not_put_off_for_ever() {
    let bench = open();
    let start = bench.now();
    let spec = || within(Conflict::Replace, MINUTE * 3).after(MINUTE);
    let (mut last, answer) = put(&bench, spec());
    assert_eq!((answer, due_of(&bench, last)), (Created, Some(start.plus(MINUTE))));
    for (passed, due) in [(0, 60), (50, 110), (50, 160), (50, 180), (20, 180)] {
        bench.pass(SECOND * passed);
        let (new, answer) = put(&bench, spec());
        assert_eq!(answer, Replaced(last));
        assert_eq!(due_of(&bench, new), Some(start.plus(SECOND * due)));
        last = new;
    }
    // Past that time it is due at once.
    bench.pass(SECOND * 20);
    let (new, answer) = put(&bench, spec());
    assert_eq!((answer, bench.state(new)), (Replaced(last), Some(State::Pending)));
    // One that asks for no such thing is due when it says.
    let (_, answer) = put(&bench, with(Conflict::Replace, [1]).after(HOUR));
    assert_eq!(answer, Replaced(new));
    assert_eq!(bench.stats().count(State::Scheduled), 1);
    // A lock that was free for a while is taken for the first time again.
    let id = bench.holder([1]).expect("held");
    assert_eq!(bench.act(id, Act::Delete), Acted::Done);
    let (id, answer) = put(&bench, spec());
    assert_eq!((answer, due_of(&bench, id)), (Created, Some(bench.now().plus(MINUTE))));
}

#[test]
fn a_lock_lasts_anew_for_what_replaces_and_for_what_is_moved() {
    for conflict in [Conflict::Replace, Conflict::Reschedule] {
        let bench = open();
        let spec = |lasts| {
            let lock = Lock { conflict, lasts, ..lock([1]) };
            task(KINDS[0]).after(MINUTE).lock(lock)
        };
        put(&bench, spec(Some(SECOND)));
        bench.pass(SECOND * 30);
        let (_, answer) = put(&bench, spec(Some(MINUTE)));
        assert!(matches!(answer, Replaced(_) | Moved(_)), "{answer:?}");
        bench.pass(MINUTE * 2 - SECOND);
        assert!(bench.holder([1]).is_some(), "{conflict:?}");
        bench.pass(SECOND);
        assert_eq!(bench.holder([1]), None, "{conflict:?}");
    }
}

#[test]
fn a_replaced_task_makes_room_for_the_one_that_comes() {
    let bench = open();
    bench.set(Setting::Limit(Some(1)));
    let old = bench.put_one(task(KINDS[0]).lock(lock([1])));
    let (new, answer) = put(&bench, with(Conflict::Replace, [1]));
    assert_eq!(answer, Replaced(old));
    // What is refused for another task's sake replaces nothing.
    let full = bench.batch([with(Conflict::Replace, [1, 2]).after(HOUR), task(KINDS[0])]);
    assert!(refusal(bench.broker.enqueue(full)).is_full());
    assert_eq!((bench.state(new), bench.stats().total()), (Some(State::Pending), 1));
    assert_eq!((bench.holder([1]), bench.holder([2])), (Some(new), None));
    let full = bench.batch([with(Conflict::Reschedule, [1]).after(HOUR), task(KINDS[0])]);
    assert!(refusal(bench.broker.enqueue(full)).is_full());
    assert_eq!(bench.state(new), Some(State::Pending));
    let (_, answer) = put(&bench, with(Conflict::Reschedule, [1]).after(HOUR));
    assert_eq!((answer, bench.state(new)), (Moved(new), Some(State::Scheduled)));
    // Already over its limit, it still takes what adds nothing.
    bench.set(Setting::Limit(Some(0)));
    assert_eq!(put(&bench, with(Conflict::Replace, [1])).1, Replaced(new));
}

#[test]
fn tasks_of_one_batch_replace_and_move_each_other() {
    let bench = open();
    let later = || with(Conflict::Reschedule, [2]).after(HOUR);
    let replace = || with(Conflict::Replace, [1]);
    let batch = bench.batch([replace(), replace(), later(), later().after(MINUTE), replace()]);
    let [a, b, c, _, e] = [0, 1, 2, 3, 4].map(|at| batch.tasks[at].envelope.id());
    let answers = [Created, Replaced(a), Created, Moved(c), Replaced(b)];
    assert_eq!(bench.enqueue(&batch), answers);
    assert_eq!((bench.state(e), bench.stats().total()), (Some(State::Pending), 2));
    assert_eq!(due_of(&bench, c), Some(bench.now().plus(MINUTE)));
    assert_eq!(bench.enqueue(&batch), [Existing; 5]);
    assert_eq!(ids(&bench.take_all().1), [e]);
}

#[test]
fn a_holder_that_waits_is_moved_and_no_other() {
    for (due, pending) in [(Due::Now, true), (Due::In(HOUR), false), (Due::At(START), true)] {
        in_every_state(|bench, holder, state, waits| {
            let before = bench.show(holder).map(|view| (view.state, view.until, view.trail));
            let (new, answer) = put(bench, with(Conflict::Reschedule, [2, 3]).due(due));
            let after = bench.show(holder).map(|view| (view.state, view.until, view.trail));
            assert_eq!((bench.state(new), bench.holder([3])), (None, None));
            assert_eq!(bench.holder([1]), Some(holder));
            if !waits {
                assert_eq!((answer, after), (Held(holder), before), "{state:?} {due:?}");
                return;
            }
            let (_, _, trail) = before.expect("waits");
            let expected = match pending {
                true => (State::Pending, None, trail),
                false => (State::Scheduled, Some(bench.now().plus(HOUR)), trail),
            };
            assert_eq!((answer, after), (Moved(holder), Some(expected)), "{state:?} {due:?}");
            assert_eq!(bench.stats().total(), 1);
            bench.pass(HOUR);
            bench.advance();
            assert_eq!(ids(&bench.take_all().1), [holder]);
            assert_eq!(bench.take_all().1.len(), 0);
        });
    }
}

#[test]
fn what_is_moved_again_and_again_is_not_put_off_for_ever() {
    let bench = open();
    let start = bench.now();
    let spec = || within(Conflict::Reschedule, MINUTE * 3).after(MINUTE);
    let (id, _) = put(&bench, spec());
    for (passed, due) in [(50, 110), (50, 160), (50, 180), (20, 180)] {
        bench.pass(SECOND * passed);
        assert_eq!(put(&bench, spec()).1, Moved(id));
        assert_eq!(due_of(&bench, id), Some(start.plus(SECOND * due)));
    }
    bench.pass(SECOND * 20);
    assert_eq!(put(&bench, spec()).1, Moved(id));
    assert_eq!(bench.state(id), Some(State::Pending));
    // Earlier it can always be.
    let bench = open();
    let (id, _) = put(&bench, spec().after(MINUTE * 2));
    assert_eq!(put(&bench, spec().after(SECOND)).1, Moved(id));
    assert_eq!(due_of(&bench, id), Some(bench.now().plus(SECOND)));
}

#[test]
fn a_pending_holder_that_is_due_at_once_keeps_its_place() {
    let bench = open();
    let [first, second] = bench.put([task(KINDS[0]).lock(lock([1])), task(KINDS[0])])[..] else {
        panic!()
    };
    assert_eq!(put(&bench, with(Conflict::Reschedule, [1])).1, Moved(first));
    assert_eq!(ids(&bench.take_all().1), [first, second]);
}

#[test]
fn of_several_holders_none_is_touched() {
    for conflict in [Conflict::Keep, Conflict::Replace, Conflict::Reschedule] {
        let bench = open();
        let [one, two] = [1, 2].map(|n| bench.put_one(task(KINDS[0]).lock(lock([n]))));
        assert_eq!(put(&bench, with(conflict, [2, 1]).after(HOUR)).1, Held(two), "{conflict:?}");
        assert_eq!([1, 2].map(|n| bench.holder([n])), [Some(one), Some(two)]);
        assert_eq!(bench.stats().count(State::Pending), 2);
    }
}

#[test]
fn whoever_waits_is_woken_by_what_is_moved_or_replaced() {
    let bench = open();
    let mark = |wake| run(bench.broker.wait(wake, None)).expect("a mark");
    let holder = bench.put_one(with(Conflict::Keep, [1]).after(HOUR));
    let due = mark(Wake::Due);
    assert_eq!(put(&bench, with(Conflict::Reschedule, [1]).after(MINUTE)).1, Moved(holder));
    run(bench.broker.wait(Wake::Due, Some(due))).expect("woken");
    let ready = mark(Wake::Ready);
    assert_eq!(put(&bench, with(Conflict::Reschedule, [1])).1, Moved(holder));
    run(bench.broker.wait(Wake::Ready, Some(ready))).expect("woken");
    let [ready, settled] = [mark(Wake::Ready), mark(Wake::Settled)];
    assert_eq!(put(&bench, with(Conflict::Replace, [1])).1, Replaced(holder));
    run(bench.broker.wait(Wake::Ready, Some(ready))).expect("woken");
    run(bench.broker.wait(Wake::Settled, Some(settled))).expect("woken");
}
