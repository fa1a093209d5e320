//! Settings of a queue: shown, kept, changed at any time; and the limit of the bytes of all its records.

use oncue::broker::*;
use oncue::queue::Kind;
use oncue::state::{Reason, State};
use oncue::task::TaskId;

use super::open;
use super::wait::feels;
use crate::fixture::*;

fn kind(name: &str) -> Kind {
    Kind::parse(name).expect("a kind")
}

/// What the records of a batch have.
fn bytes_of(batch: &Batch) -> u64 {
    batch.tasks.iter().map(|task| task.envelope.record_len() as u64).sum()
}

/// What the records of all tasks have, as they are shown.
fn bytes_shown(bench: &Bench) -> u64 {
    let all = State::ALL.into_iter().flat_map(|state| bench.list(state));
    all.map(|view| view.stored.record_len() as u64).sum()
}

/// Room for exactly so many bytes more than there are.
fn leave_room(bench: &Bench, bytes: u64) {
    bench.set(Setting::Bytes(Some(bytes_shown(bench) + bytes)));
}

#[track_caller]
fn assert_counted(bench: &Bench) {
    assert_eq!(bench.stats().bytes, Some(bytes_shown(bench)));
}

#[track_caller]
fn is_full(bench: &Bench, batch: &Batch) -> bool {
    let before = (bench.stats(), bench.groups());
    let refused = refusal(bench.broker.enqueue(batch.clone())).is_full();
    assert_eq!((bench.stats(), bench.groups()), before, "nothing is stored");
    refused
}

#[test]
fn every_setting_is_shown_until_it_is_taken_away_and_touches_no_other() {
    let bench = open();
    bench.set(Setting::Bytes(Some(7)));
    bench.set(Setting::Concurrency(Some(0)));
    bench.set(Setting::KeepCompleted(Some(2)));
    bench.set(Setting::KeepArchived(Some(3), Some(HOUR)));
    for (name, limit) in [("z", 1), ("a", 2), ("m", 3), ("a", 4)] {
        bench.set(Setting::KindConcurrency(kind(name), Some(limit)));
    }
    bench.set(Setting::Paused(true));
    let mut expected = Settings::default();
    (expected.bytes, expected.concurrency) = (Some(7), Some(0));
    (expected.completed, expected.archived, expected.archived_for) = (Some(2), Some(3), Some(HOUR));
    expected.kinds = vec![(kind("a"), 4), (kind("m"), 3), (kind("z"), 1)];
    let stats = bench.stats();
    assert_eq!((&stats.settings, stats.limit, stats.paused), (&expected, None, true));
    assert_eq!((stats.bytes, stats.trimmed), (Some(0), 0));
    bench.set(Setting::KeepArchived(None, Some(MINUTE)));
    (expected.archived, expected.archived_for) = (None, Some(MINUTE));
    assert_eq!(bench.stats().settings, expected);
    bench.set(Setting::KindConcurrency(kind("m"), None));
    bench.set(Setting::KindConcurrency(kind("never"), None));
    expected.kinds.remove(1);
    assert_eq!(bench.stats().settings, expected);
    for setting in [
        Setting::Bytes(None),
        Setting::Concurrency(None),
        Setting::KindConcurrency(kind("a"), None),
        Setting::KindConcurrency(kind("z"), None),
        Setting::KeepCompleted(None),
        Setting::KeepArchived(None, None),
    ] {
        bench.set(setting);
    }
    let stats = bench.stats();
    assert_eq!((stats.settings, stats.bytes), (Settings::default(), None));
    assert!(stats.paused);
}

#[test]
fn a_setting_makes_its_queue_and_is_of_no_other() {
    let mut bench = open();
    bench.queue = queue("set");
    bench.set(Setting::Concurrency(Some(1)));
    assert_eq!(run(bench.broker.queues()).expect("queues"), [queue("set")]);
    bench.queue = queue("other");
    bench.put(tasks(2));
    assert_eq!(bench.stats().settings, Settings::default());
    assert_eq!(bench.take_all().1.len(), 2);
}

#[test]
fn so_many_kinds_have_a_limit_and_no_more() {
    let bench = open();
    let limit = |n: usize, limit| {
        let setting = Setting::KindConcurrency(kind(&format!("kind-{n}")), limit);
        bench.broker.set(bench.queue.clone(), setting)
    };
    for n in 0..KIND_LIMITS_MAX {
        run(limit(n, Some(1))).expect("set");
    }
    assert!(refusal(limit(KIND_LIMITS_MAX, Some(1))).is_too_large());
    run(limit(KIND_LIMITS_MAX, None)).expect("nothing to take away");
    run(limit(0, Some(9))).expect("another limit of the same kind");
    assert_eq!(bench.stats().settings.kinds.len(), KIND_LIMITS_MAX);
    run(limit(0, None)).expect("taken away");
    run(limit(KIND_LIMITS_MAX, Some(1))).expect("room for another");
}

#[test]
fn bytes_are_counted_while_they_are_limited_whatever_the_state_of_their_tasks() {
    let bench = open();
    bench.put([task(KINDS[0]), task(KINDS[1]).after(HOUR * 9), member("g").body(300)]);
    assert_eq!(bench.stats().bytes, None);
    bench.set(Setting::Bytes(Some(1_000_000)));
    assert_counted(&bench);
    let put = bench.put((0..6).map(|n| task(KINDS[2]).body(10 * n)));
    assert_counted(&bench);
    let mut ask = bench.ask(&bench.session(), 9);
    ask.accept.retain(|(known, _)| *known == kind(KINDS[2]).hash());
    let session = ask.session.clone();
    let claims = bench.claims(ask);
    assert_eq!(claims.len(), 6);
    let result = Some((1, result_of(&claims[0], 1, b"\"a result of some length\"")));
    bench.end(&session, &claims[0], Order::Complete { keep: MINUTE, result });
    bench.end(&session, &claims[1], Order::Archive { reason: Reason::Exhausted });
    bench.end(&session, &claims[2], Order::Retry { after: HOUR, front: false });
    assert_counted(&bench);
    let before = bench.stats().bytes;
    bench.end(&session, &claims[3], complete());
    bench.end(&session, &claims[4], Order::Drop);
    assert_counted(&bench);
    assert_eq!(bench.act(put[1], Act::Delete), Acted::Done);
    assert_counted(&bench);
    bench.pass(MINUTE);
    bench.catch_up();
    assert_counted(&bench);
    assert!(bench.stats().bytes < before && bench.state(put[0]).is_none());
}

#[test]
fn bytes_are_counted_anew_when_they_are_limited_again() {
    let bench = open();
    bench.set(Setting::Bytes(Some(1_000_000)));
    bench.put(tasks(3));
    bench.set(Setting::Bytes(None));
    bench.put(tasks(3));
    let (session, claims) = bench.take_all();
    claims.iter().take(4).for_each(|claim| bench.end(&session, claim, complete()));
    assert_eq!(bench.stats().bytes, None);
    for limit in [0, 1_000_000] {
        bench.set(Setting::Bytes(Some(limit)));
        assert_counted(&bench);
        assert_eq!(bench.stats().count(State::Active), 2);
    }
}

#[test]
fn an_enqueue_beyond_the_limit_of_bytes_is_refused_as_a_whole() {
    let bench = open();
    let two = bench.batch([task(KINDS[0]), member("g").body(100)]);
    leave_room(&bench, bytes_of(&two) - 1);
    assert!(is_full(&bench, &two));
    leave_room(&bench, bytes_of(&two));
    assert_eq!(bench.enqueue(&two), [Enqueued::Created; 2]);
    assert_counted(&bench);
    let one = bench.batch([task(KINDS[0]).after(HOUR)]);
    assert!(is_full(&bench, &one));
    // What is kept has its bytes still; what is gone has none.
    let (session, claims) = bench.take_all();
    bench.end(&session, &claims[0], keep(HOUR));
    assert!(is_full(&bench, &one));
    assert_eq!(bench.act(claims[0].id(), Act::Delete), Acted::Done);
    assert_eq!(bench.enqueue(&one), [Enqueued::Created], "what was refused may come again");
    assert_eq!(bench.enqueue(&one), [Enqueued::Existing]);
    let error = refusal(bench.broker.enqueue(bench.batch([task(KINDS[0]).body(2_000)])));
    let limit = bench.stats().settings.bytes.expect("a limit").to_string();
    assert!(error.is_full() && error.to_string().contains(&limit), "{error}");
    bench.set(Setting::Bytes(None));
    bench.put([task(KINDS[0]).body(2_000)]);
}

#[test]
fn what_is_not_stored_needs_no_room_for_its_bytes() {
    let bench = open();
    let locked = |conflict| task(KINDS[0]).lock(Lock { conflict, ..lock([1]) });
    let batch = bench.batch([locked(Conflict::Keep).after(HOUR)]);
    let holder = batch.tasks[0].envelope.id();
    assert_eq!(bench.enqueue(&batch), [Enqueued::Created]);
    for room in [0, 10] {
        leave_room(&bench, room);
        let again = Batch { id: BatchId::fresh(), ..batch.clone() };
        assert_eq!(bench.enqueue(&again), [Enqueued::Existing]);
        let held = bench.batch([locked(Conflict::Keep)]);
        assert_eq!(bench.enqueue(&held), [Enqueued::Held(holder)]);
        let moved = bench.batch([locked(Conflict::Reschedule).after(MINUTE)]);
        assert_eq!(bench.enqueue(&moved), [Enqueued::Moved(holder)]);
        assert_counted(&bench);
    }
}

#[test]
fn of_a_task_that_replaces_another_the_difference_counts() {
    let bench = open();
    let with =
        |body| task(KINDS[0]).body(body).lock(Lock { conflict: Conflict::Replace, ..lock([1]) });
    let mut holder = bench.put_one(with(100));
    leave_room(&bench, 20);
    let mut replace = |body| {
        let batch = bench.batch([with(body)]);
        assert_eq!(bench.enqueue(&batch), [Enqueued::Replaced(holder)]);
        holder = batch.tasks[0].envelope.id();
        assert_counted(&bench);
    };
    replace(120);
    replace(40);
    replace(120);
    assert!(is_full(&bench, &bench.batch([with(121)])));
    assert_eq!(bench.holder([1]), Some(holder), "the one that was to be replaced holds its lock");
    assert_eq!(bench.state(holder), Some(State::Pending));
}

#[test]
fn an_edit_is_counted_and_never_refused() {
    let bench = open();
    let id: TaskId = bench.put_one(task(KINDS[0]));
    leave_room(&bench, 0);
    for body in [500, 3, 1_000] {
        let seen = bench.show(id).expect("there").stored;
        let new = task(KINDS[0]).id(id).body(body).seal(&bench.queue, bench.now()).envelope;
        assert_eq!(run(bench.broker.replace(seen, new)).expect("answered"), Acted::Done);
        assert_counted(&bench);
    }
    assert!(is_full(&bench, &bench.batch(tasks(1))));
}

#[test]
fn both_limits_hold_at_once() {
    let bench = open();
    bench.set(Setting::Limit(Some(2)));
    leave_room(&bench, 10_000);
    bench.put(tasks(2));
    assert!(is_full(&bench, &bench.batch(tasks(1))));
    bench.set(Setting::Limit(Some(9)));
    leave_room(&bench, 0);
    assert!(is_full(&bench, &bench.batch(tasks(1))));
    leave_room(&bench, 10_000);
    bench.put(tasks(1));
}

#[test]
fn room_for_what_is_enqueued_or_claimed_is_felt() {
    let bench = open();
    for wake in [Wake::Settled, Wake::Ready] {
        bench.set(Setting::Limit(Some(0)));
        let mut limits = 1..9;
        feels(&bench, wake, || bench.set(Setting::Limit(limits.next())));
        bench.set(Setting::Limit(None));
        bench.set(Setting::Bytes(Some(0)));
        feels(&bench, wake, || bench.set(Setting::Bytes(limits.next())));
        feels(&bench, wake, || {
            bench.set(Setting::Bytes(Some(0)));
            bench.set(Setting::Bytes(None));
        });
    }
    let mut limits = 1..9;
    bench.set(Setting::Concurrency(Some(0)));
    bench.set(Setting::KindConcurrency(kind(KINDS[0]), Some(0)));
    bench.put(tasks(1));
    assert_eq!(bench.take_all().1.len(), 0);
    feels(&bench, Wake::Ready, || bench.set(Setting::Concurrency(limits.next())));
    assert_eq!(bench.take_all().1.len(), 0);
    feels(&bench, Wake::Ready, || {
        bench.set(Setting::KindConcurrency(kind(KINDS[0]), limits.next()));
    });
    assert_eq!(bench.take_all().1.len(), 1);
}
