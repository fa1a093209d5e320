//! Locks: who takes one, who is kept out, how long, and under which names.

use std::time::Duration;

use oncue::broker::*;
use oncue::clock::Timestamp;
use oncue::state::State;
use oncue::task::{Due, TaskId};

use super::open;
use crate::fixture::*;

use Enqueued::{Created, Existing, Held};

const MS: Duration = Duration::from_millis(1);

fn locked(names: impl IntoIterator<Item = u8>) -> Spec {
    task(KINDS[0]).lock(lock(names))
}

#[track_caller]
fn answers(bench: &Bench, specs: impl IntoIterator<Item = Spec>) -> Vec<Enqueued> {
    bench.enqueue(&bench.batch(specs))
}

#[test]
fn a_lock_is_held_under_every_one_of_its_names_and_no_other() {
    let bench = open();
    let id = bench.put_one(locked([1, 2]));
    for names in [&[1][..], &[2], &[9, 2], &[1, 2]] {
        assert_eq!(bench.holder(names.iter().copied()), Some(id), "{names:?}");
    }
    assert_eq!((bench.holder([9]), bench.holder([])), (None, None));
    assert_eq!(answers(&bench, [locked([9]), task(KINDS[0])]), [Created; 2]);
}

#[test]
fn a_task_that_is_kept_out_leaves_nothing() {
    let bench = open();
    let first = bench.put_one(locked([1]));
    let second = bench.batch([locked([1, 2]).key("second").after(MINUTE)]);
    assert_eq!(bench.enqueue(&second), [Held(first)]);
    assert_eq!((bench.stats().total(), bench.holder([2])), (1, None));
    assert_eq!(bench.show(second.tasks[0].envelope.id()).map(|view| view.state), None);
    let (session, claims) = bench.take_all();
    assert_eq!(ids(&claims), [first]);
    bench.end(&session, &claims[0], complete());
    // Nothing of it is remembered: not its id, and not that it was refused.
    let again = Batch { id: BatchId::fresh(), ..second };
    assert_eq!(bench.enqueue(&again), [Created]);
    assert_eq!(bench.holder([1]), Some(again.tasks[0].envelope.id()));
}

#[test]
fn who_knows_any_of_the_names_agrees_with_who_knows_others() {
    // While an index key is changed: some know the old name, some the new one, some both.
    let (old, new) = (1, 2);
    for (first, second, meet) in [
        (vec![new, old], vec![old], true),
        (vec![new, old], vec![new], true),
        (vec![old], vec![new, old], true),
        (vec![new], vec![new, old], true),
        (vec![old], vec![new], false),
    ] {
        let bench = open();
        let holder = bench.put_one(locked(first.clone()));
        let answer = if meet { Held(holder) } else { Created };
        assert_eq!(answers(&bench, [locked(second.clone())]), [answer], "{first:?} {second:?}");
    }
}

#[test]
fn the_holder_is_the_one_under_the_first_name_that_is_held() {
    let bench = open();
    let [one, two] = bench.put([locked([1]), locked([2])])[..] else { panic!() };
    for (names, holder) in [([1, 2], one), ([2, 1], two), ([9, 2], two)] {
        assert_eq!(answers(&bench, [locked(names)]), [Held(holder)]);
        assert_eq!(bench.holder(names), Some(holder));
    }
}

#[test]
fn a_lock_lasts_from_the_due_time_as_long_as_it_says() {
    let past = Due::At(Timestamp(START.0 - 3_600_000));
    for (due, lasts) in [
        (Due::Now, MINUTE),
        (Due::In(HOUR), HOUR + MINUTE),
        (past, MINUTE),
        (Due::At(START), MINUTE),
    ] {
        for hold in [Hold::UntilStart, Hold::UntilEnd, Hold::Always] {
            let bench = open();
            let lock = Lock { hold, lasts: Some(MINUTE), ..lock([1]) };
            let id = bench.put_one(task(KINDS[0]).due(due).lock(lock));
            bench.pass(lasts - MS);
            assert_eq!(bench.holder([1]), Some(id), "{due:?} {hold:?}");
            assert_eq!(answers(&bench, [locked([1])]), [Held(id)]);
            bench.pass(MS);
            assert_eq!(bench.holder([1]), None, "{due:?} {hold:?}");
            let next = bench.put_one(locked([1]));
            assert_eq!(bench.holder([1]), Some(next));
        }
    }
}

#[test]
fn a_lock_without_limit_stands_for_ever() {
    let bench = open();
    let id = bench.put_one(locked([1]));
    bench.pass(HOUR * 24 * 400);
    assert_eq!(answers(&bench, [locked([1])]), [Held(id)]);
}

#[test]
fn a_late_release_leaves_the_lock_to_whoever_took_it_meanwhile() {
    let orders = [
        Some(complete()),
        Some(keep(HOUR)),
        Some(Order::Archive { reason: oncue::state::Reason::Exhausted }),
        Some(Order::Drop),
        None,
    ];
    for hold in [Hold::UntilEnd, Hold::Always] {
        for order in &orders {
            let bench = open();
            let lasting = Lock { hold, lasts: Some(MINUTE), ..lock([1, 2]) };
            let late = bench.put_one(task(KINDS[0]).lock(lasting));
            let (session, claims) = bench.take_all();
            bench.pass(MINUTE);
            assert_eq!(bench.beat(&[&session]), []);
            let next = bench.put_one(locked([1]));
            match order {
                Some(order) => bench.end(&session, &claims[0], order.clone()),
                None => {
                    bench.end(&session, &claims[0], keep(HOUR));
                    assert_eq!(bench.act(late, Act::Delete), Acted::Done);
                }
            }
            assert_eq!(bench.holder([1]), Some(next), "{hold:?} {order:?}");
            assert_eq!(answers(&bench, [locked([1, 2])]), [Held(next)]);
            assert_eq!(answers(&bench, [locked([2])]), [Created]);
        }
    }
}

#[test]
fn a_late_first_claim_leaves_the_lock_to_whoever_took_it_meanwhile() {
    let bench = open();
    let brief = Lock { hold: Hold::UntilStart, lasts: Some(MINUTE), ..lock([1]) };
    let late = bench.put_one(task(KINDS[0]).lock(brief));
    bench.pass(MINUTE);
    let next = bench.put_one(task(KINDS[0]).lock(lock([1])));
    let session = bench.session();
    assert_eq!(ids(&bench.take(&session, 1)), [late]);
    assert_eq!(bench.holder([1]), Some(next));
}

#[test]
fn a_task_is_not_kept_out_by_itself() {
    let bench = open();
    let always = || task(KINDS[0]).lock(Lock { hold: Hold::Always, ..lock([1]) });
    let id = bench.put_one(always());
    assert_eq!(answers(&bench, [always().id(id)]), [Existing]);
    let (session, claims) = bench.take_all();
    bench.end(&session, &claims[0], complete());
    assert_eq!((bench.state(id), bench.holder([1])), (None, Some(id)));
    assert_eq!(answers(&bench, [always()]), [Held(id)]);
    assert_eq!(answers(&bench, [always().id(id)]), [Created]);
    assert_eq!(bench.holder([1]), Some(id));
}

#[test]
fn an_id_that_is_known_is_asked_about_before_the_lock() {
    let bench = open();
    bench.put_one(locked([1]));
    let there = bench.put_one(task(KINDS[1]));
    assert_eq!(answers(&bench, [locked([1]).id(there)]), [Existing]);
    // One that is remembered takes none, either.
    bench.put_one(task(KINDS[2]).key("a"));
    let (session, claims) = bench.take_all();
    claims.iter().for_each(|claim| bench.end(&session, claim, complete()));
    assert_eq!(answers(&bench, [task(KINDS[2]).key("a").lock(lock([5]))]), [Existing]);
    assert_eq!(bench.holder([5]), None);
}

#[test]
fn tasks_of_one_batch_keep_each_other_out_in_order() {
    let bench = open();
    let batch =
        bench.batch([locked([1]), locked([2, 1]), task(KINDS[0]), locked([2]), locked([2])]);
    let [first, _, _, fourth, _] = [0, 1, 2, 3, 4].map(|at| batch.tasks[at].envelope.id());
    assert_eq!(bench.enqueue(&batch), [Created, Held(first), Created, Created, Held(fourth)]);
    assert_eq!(bench.stats().count(State::Pending), 3);
}

#[test]
fn a_batch_sent_again_says_existing_whatever_became_of_its_locks() {
    let bench = open();
    let batch = bench.batch([locked([1]), locked([1])]);
    let first = batch.tasks[0].envelope.id();
    assert_eq!(bench.enqueue(&batch), [Created, Held(first)]);
    assert_eq!(bench.enqueue(&batch), [Existing; 2]);
    let (session, claims) = bench.take_all();
    bench.end(&session, &claims[0], complete());
    assert_eq!(bench.enqueue(&batch), [Existing; 2]);
    assert_eq!((bench.holder([1]), bench.stats().total()), (None, 0));
}

#[test]
fn what_is_kept_out_needs_no_room_and_what_is_refused_takes_no_lock() {
    let bench = open();
    bench.set(Setting::Limit(Some(1)));
    let full = bench.batch([locked([1]), task(KINDS[0])]);
    assert!(refusal(bench.broker.enqueue(full)).is_full());
    assert_eq!((bench.holder([1]), bench.stats().total()), (None, 0));
    let batch = bench.batch([locked([1]), locked([1])]);
    let first = batch.tasks[0].envelope.id();
    assert_eq!(bench.enqueue(&batch), [Created, Held(first)]);
    assert_eq!(answers(&bench, [locked([1])]), [Held(first)]);
}

#[test]
fn a_lock_has_one_to_four_names() {
    let bench = open();
    for n in [0, LOCK_NAMES_MAX as u8 + 1] {
        let batch = bench.batch([task(KINDS[0]), locked(0..n)]);
        assert!(refusal(bench.broker.enqueue(batch)).is_invalid());
    }
    assert_eq!(bench.stats().total(), 0);
    assert_eq!(answers(&bench, [locked(0..LOCK_NAMES_MAX as u8)]), [Created]);
}

#[test]
fn queues_share_no_locks() {
    let mut bench = open();
    let here = bench.put_one(locked([1]));
    bench.queue = queue("other");
    let there = bench.put_one(locked([1]));
    assert_eq!(bench.holder([1]), Some(there));
    assert_eq!(bench.act(there, Act::Delete), Acted::Done);
    bench.queue = queue("default");
    assert_eq!(bench.holder([1]), Some(here));
}

#[test]
fn of_many_at_once_one_takes_the_lock() {
    let bench = open();
    let batches: Vec<_> = (0..8).map(|_| bench.batch([locked([1, 2])])).collect();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let senders: Vec<_> =
            batches.iter().map(|batch| scope.spawn(|| bench.enqueue(batch)[0])).collect();
        senders.into_iter().map(|sender| sender.join().expect("a thread")).collect()
    });
    let holder: TaskId = bench.holder([2]).expect("held");
    assert_eq!(answers.iter().filter(|answer| **answer == Created).count(), 1);
    assert_eq!(answers.iter().filter(|answer| **answer == Held(holder)).count(), 7);
    assert_eq!(bench.stats().total(), 1);
}
