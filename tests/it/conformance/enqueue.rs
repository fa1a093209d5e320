//! `enqueue`: all or nothing, safe to repeat, and a key of one's own is kept.

use std::time::Duration;

use oncue::broker::*;
use oncue::clock::Timestamp;
use oncue::state::{Reason, State};
use oncue::task::{Due, TaskId, Trail};

use super::open;
use crate::fixture::*;

use Enqueued::{Created, Existing};

const MS: Duration = Duration::from_millis(1);

#[test]
fn the_broker_reads_the_clock_it_was_given() {
    let bench = open();
    bench.pass(HOUR);
    assert_eq!(bench.broker.now(), START.plus(HOUR));
}

#[test]
fn a_task_is_stored_as_it_was_sealed() {
    let bench = open();
    let batch = bench.batch([task(KINDS[1]).priority(7).body(500)]);
    assert_eq!(bench.enqueue(&batch), [Created]);
    let envelope = &batch.tasks[0].envelope;
    let view = bench.show(envelope.id()).expect("there");
    assert_eq!(view.stored.header().expect("decodes"), *envelope.header());
    assert_eq!(view.stored.record_len(), envelope.record_len());
    assert_eq!((view.until, view.reason, view.result), (None, None, None));
    assert_eq!(view.trail, Trail::default());
}

#[test]
fn the_due_time_decides_between_pending_and_scheduled() {
    let bench = open();
    let now = bench.now();
    let past = Timestamp(now.0 - 1);
    for (due, state, until) in [
        (Due::Now, State::Pending, None),
        (Due::At(past), State::Pending, None),
        (Due::At(now.plus(MS)), State::Scheduled, Some(now.plus(MS))),
        (Due::In(MINUTE), State::Scheduled, Some(now.plus(MINUTE))),
        // Never early: a broken millisecond is rounded up.
        (Due::In(Duration::from_micros(1_500)), State::Scheduled, Some(now.plus(MS * 2))),
    ] {
        let id = bench.put_one(task(KINDS[0]).due(due));
        let view = bench.show(id).expect("there");
        assert_eq!((view.state, view.until), (state, until), "{due:?}");
    }
}

#[test]
fn a_delay_is_added_to_the_time_of_the_broker_and_not_of_the_client() {
    let bench = open();
    let batch = bench.batch([task(KINDS[0]).after(MINUTE)]);
    bench.pass(HOUR);
    bench.enqueue(&batch);
    let view = bench.show(batch.tasks[0].envelope.id()).expect("there");
    assert_eq!(view.until, Some(START.plus(HOUR + MINUTE)));
}

#[test]
fn a_batch_is_answered_task_by_task_in_order() {
    let bench = open();
    let old = bench.put_one(task(KINDS[0]));
    let (a, b) = (TaskId::fresh(), TaskId::fresh());
    let specs = [a, old, b, a].map(|id| task(KINDS[0]).id(id));
    assert_eq!(bench.enqueue(&bench.batch(specs)), [Created, Existing, Created, Existing]);
    assert_eq!(bench.stats().count(State::Pending), 3);
}

#[test]
fn a_batch_sent_again_stores_nothing_even_if_its_tasks_already_ran() {
    let bench = open();
    let batch = bench.batch(tasks(3));
    assert_eq!(bench.enqueue(&batch), [Created; 3]);
    assert_eq!(bench.enqueue(&batch), [Existing; 3]);
    let (session, claims) = bench.take_all();
    bench.end(&session, &claims[0], complete());
    bench.end(&session, &claims[1], Order::Drop);
    bench.pass(BATCH_MEMORY - SECOND);
    assert_eq!(bench.enqueue(&batch), [Existing; 3]);
    assert_eq!(bench.stats().total(), 1);
}

#[test]
fn a_batch_id_is_forgotten_after_an_hour() {
    let bench = open();
    let batch = bench.batch(tasks(2));
    bench.enqueue(&batch);
    let (session, claims) = bench.take_all();
    bench.end(&session, &claims[0], complete());
    bench.pass(BATCH_MEMORY + SECOND);
    assert_eq!(bench.enqueue(&batch), [Created, Existing]);
}

#[test]
fn an_id_that_is_there_is_left_as_it_is_in_every_state() {
    let bench = open();
    let orders = [
        Some(keep(HOUR)),
        Some(Order::Retry { after: MINUTE, front: false }),
        Some(Order::Snooze { after: MINUTE }),
        Some(Order::Archive { reason: Reason::Operator }),
        Some(release()),
        None,
    ];
    for order in orders {
        let id = bench.put_one(task(KINDS[0]));
        let (session, claims) = bench.take_all();
        for claim in claims.iter().filter(|claim| claim.id() == id) {
            order.iter().for_each(|order| bench.end(&session, claim, order.clone()));
        }
        let before = bench.show(id).map(|view| (view.state, view.until));
        let again = bench.batch([task(KINDS[1]).id(id).after(HOUR)]);
        assert_eq!(bench.enqueue(&again), [Existing], "{order:?}");
        assert_eq!(bench.show(id).map(|view| (view.state, view.until)), before);
    }
}

#[test]
fn the_id_of_a_key_is_remembered_for_a_day_after_its_end_and_then_starts_clean() {
    let bench = open();
    let id = bench.put_one(task(KINDS[0]).key("invoice 7"));
    let (session, claims) = bench.take_all();
    let result = Some((1, result_of(&claims[0], 1, b"{}")));
    let mut end = Settlement::new(claims[0].ticket, Order::Complete { keep: HOUR, result });
    end.trail = Some(trail(1));
    assert_eq!(bench.settle(&session, vec![end]), [Settled::Done]);
    bench.pass(HOUR + SECOND);
    bench.advance();
    let again = || bench.enqueue(&bench.batch([task(KINDS[0]).key("invoice 7")]));
    // Whether the day begins when the run ended or when the task went is left open.
    for time in [KEY_MEMORY - HOUR - MINUTE, HOUR + MINUTE] {
        assert_eq!((again(), bench.state(id)), (vec![Existing], None));
        bench.pass(time);
    }
    assert_eq!(again(), [Created]);
    let view = bench.show(id).expect("there");
    assert_eq!((view.state, view.trail, view.result), (State::Pending, Trail::default(), None));
    assert_eq!(bench.take_all().1[0].trail, Trail::default());
}

#[test]
fn every_end_of_a_key_begins_its_day() {
    for order in [complete(), Order::Drop] {
        let bench = open();
        bench.put_one(task(KINDS[0]).key("a"));
        let (session, claims) = bench.take_all();
        bench.pass(KEY_MEMORY + HOUR);
        bench.end(&session, &claims[0], order);
        bench.pass(KEY_MEMORY - SECOND);
        assert_eq!(bench.enqueue(&bench.batch([task(KINDS[0]).key("a")])), [Existing]);
        bench.pass(SECOND * 2);
        assert_eq!(bench.enqueue(&bench.batch([task(KINDS[0]).key("a")])), [Created]);
    }
}

#[test]
fn an_id_without_a_key_is_forgotten_with_its_task_and_leaves_nothing() {
    let bench = open();
    let id = bench.put_one(task(KINDS[0]));
    let (session, claims) = bench.take_all();
    let mut failed = Settlement::new(claims[0].ticket, Order::Drop);
    failed.trail = Some(trail(3));
    bench.settle(&session, vec![failed]);
    assert_eq!(bench.enqueue(&bench.batch([task(KINDS[0]).id(id)])), [Created]);
    assert_eq!(bench.take_all().1[0].trail, Trail::default());
}

#[test]
fn a_batch_over_its_limits_stores_nothing_and_does_not_spend_its_id() {
    let bench = open();
    let many = bench.batch(tasks(BATCH_TASKS_MAX + 1));
    let heavy = bench.batch((0..17).map(|_| task(KINDS[0]).body(255_000)));
    for mut batch in [many, heavy] {
        let error = refusal(bench.broker.enqueue(batch.clone()));
        assert!(error.is_too_large(), "{error:?}");
        assert_eq!(bench.stats(), QueueStats::empty(bench.queue.clone()));
        batch.tasks = [batch.tasks[0].clone()].into();
        assert_eq!(bench.enqueue(&batch), [Created]);
        let (session, claims) = bench.take_all();
        bench.end(&session, &claims[0], Order::Drop);
    }
}

#[test]
fn a_full_batch_is_stored_in_order() {
    let bench = open();
    let put = bench.put(tasks(BATCH_TASKS_MAX));
    assert_eq!(ids(&bench.take_all().1), put);
}

#[test]
fn a_task_of_another_queue_is_refused_with_its_batch() {
    let bench = open();
    let mut batch = bench.batch(tasks(2));
    let own = batch.tasks[0].clone();
    let foreign = task(KINDS[0]).seal(&queue("other"), bench.now());
    batch.tasks = [own.clone(), foreign].into();
    let error = refusal(bench.broker.enqueue(batch.clone()));
    assert!(error.is_invalid(), "{error:?}");
    assert_eq!(bench.stats().total(), 0);
    batch.tasks = [own].into();
    assert_eq!(bench.enqueue(&batch), [Created]);
}

#[test]
fn queues_share_neither_ids_nor_tasks() {
    let mut bench = open();
    let id = bench.put_one(task(KINDS[0]));
    bench.queue = queue("other");
    assert_eq!(bench.put_one(task(KINDS[0]).id(id)), id);
    assert_eq!(bench.take_all().1.len(), 1);
    bench.queue = queue("default");
    assert_eq!(bench.state(id), Some(State::Pending));
}

#[test]
fn a_batch_or_a_key_that_is_sent_many_times_at_once_is_stored_once() {
    let bench = open();
    let batch = bench.batch(tasks(5));
    let mut batches = vec![batch; 4];
    batches.extend((0..4).map(|_| bench.batch([task(KINDS[1]).key("one")])));
    let answers: Vec<_> = std::thread::scope(|scope| {
        let senders: Vec<_> =
            batches.iter().map(|batch| scope.spawn(|| bench.enqueue(batch))).collect();
        senders.into_iter().flat_map(|sender| sender.join().expect("a thread")).collect()
    });
    assert_eq!(answers.iter().filter(|answer| **answer == Created).count(), 6);
    assert_eq!(bench.stats().total(), 6);
}
