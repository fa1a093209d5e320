//! The timetable: entries, and ticks that are enqueued once.

use oncue::broker::*;
use oncue::clock::Timestamp;
use oncue::state::State;

use super::open;
use crate::fixture::*;

use Enqueued::{Created, Existing, Held, Late, Replaced};

const NAME: &str = "nightly";

#[track_caller]
fn write(bench: &Bench, name: &str, body: &[u8], seen: u64) -> bool {
    let reply = bench.broker.write_entry(bench.queue.clone(), name.into(), body.to_vec(), seen);
    run(reply).expect("written")
}

#[track_caller]
fn remove(bench: &Bench, name: &str) -> bool {
    run(bench.broker.remove_entry(bench.queue.clone(), name.into())).expect("removed")
}

#[track_caller]
fn entries(bench: &Bench) -> Vec<Entry> {
    run(bench.broker.entries()).expect("entries")
}

/// The one entry there is.
#[track_caller]
fn entry(bench: &Bench) -> Entry {
    let mut all = entries(bench);
    assert_eq!(all.len(), 1);
    all.remove(0)
}

/// An entry just made, and the first tick after it.
fn made(bench: &Bench) -> (Entry, Timestamp) {
    assert!(write(bench, NAME, b"{}", 0));
    let entry = entry(bench);
    let at = entry.last.plus(MINUTE);
    (entry, at)
}

/// A batch for a tick of an entry as it was seen.
fn batch(
    bench: &Bench,
    seen: &Entry,
    at: Timestamp,
    tasks: impl IntoIterator<Item = Spec>,
) -> Batch {
    let (entry, version, last) = (seen.name.clone(), seen.version, seen.last);
    Batch { tick: Some(Tick { entry, version, last, at }), ..bench.batch(tasks) }
}

fn first(batch: &Batch) -> oncue::task::TaskId {
    batch.tasks[0].envelope.id()
}

#[test]
fn an_entry_is_made_changed_and_removed_by_who_saw_it_last() {
    let bench = open();
    assert_eq!(entries(&bench), []);
    assert!(!write(&bench, NAME, b"a", 7), "there is none to be changed");
    assert!(write(&bench, NAME, b"a", 0));
    let made = entry(&bench);
    assert_eq!((&made.queue, &made.name[..], &made.body[..]), (&bench.queue, NAME, &b"a"[..]));
    assert_eq!((made.last, &made.ticks[..]), (START, &[][..]));
    assert!(made.version > 0);
    for stale in [0, made.version + 1] {
        assert!(!write(&bench, NAME, b"b", stale));
    }
    assert_eq!(entry(&bench), made);
    bench.pass(HOUR);
    assert!(write(&bench, NAME, b"b", made.version));
    let changed = entry(&bench);
    assert!(changed.version > made.version);
    assert_eq!(changed, Entry { body: b"b".to_vec(), version: changed.version, ..made.clone() });
    assert!(!write(&bench, NAME, b"c", made.version));
    assert!(remove(&bench, NAME));
    assert_eq!((remove(&bench, NAME), entries(&bench)), (false, vec![]));
}

#[test]
fn entries_come_by_queue_and_name() {
    let mut bench = open();
    for (at, name) in [("b", "z"), ("a", "y"), ("b", "a"), ("a", "Z"), ("a", "y2")] {
        bench.queue = queue(at);
        assert!(write(&bench, name, name.as_bytes(), 0));
    }
    let all = entries(&bench);
    let names: Vec<_> = all.iter().map(|e| (e.queue.to_string(), &e.name[..])).collect();
    let expected = [("a", "Z"), ("a", "y"), ("a", "y2"), ("b", "a"), ("b", "z")];
    assert_eq!(names, expected.map(|(queue, name)| (queue.to_string(), name)));
    // The same name in another queue is another entry.
    assert!(write(&bench, "z", b"", 0));
    assert!(remove(&bench, "z"));
    assert_eq!(entries(&bench).len(), 5);
}

#[test]
fn of_two_schedulers_one_enqueues_a_tick() {
    let bench = open();
    let (seen, at) = made(&bench);
    let [one, two] = [0, 1].map(|_| batch(&bench, &seen, at, tasks(2)));
    assert_eq!(bench.enqueue(&one), [Created; 2]);
    assert_eq!(bench.enqueue(&two), [Late; 2]);
    assert_eq!(bench.stats().total(), 2);
    let now = entry(&bench);
    assert_eq!((now.last, &now.ticks[..]), (at, &[(at, first(&one))][..]));
    assert_eq!(now, Entry { last: at, ticks: now.ticks.clone(), ..seen });
    // Late is not for ever existing: nothing of it was stored, not even its id.
    assert_eq!(bench.enqueue(&two), [Late; 2]);
    // A reply that was lost is no second tick.
    assert_eq!(bench.enqueue(&one), [Existing; 2]);
    assert_eq!(entry(&bench), now);
}

#[test]
fn of_many_schedulers_at_once_one_enqueues_a_tick() {
    let bench = open();
    let (seen, at) = made(&bench);
    let batches: Vec<_> = (0..8).map(|_| batch(&bench, &seen, at, tasks(1))).collect();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let senders: Vec<_> =
            batches.iter().map(|batch| scope.spawn(|| bench.enqueue(batch)[0])).collect();
        senders.into_iter().map(|sender| sender.join().expect("a thread")).collect()
    });
    assert_eq!(answers.iter().filter(|answer| **answer == Created).count(), 1);
    assert_eq!(answers.iter().filter(|answer| **answer == Late).count(), 7);
    assert_eq!((bench.stats().total(), entry(&bench).ticks.len()), (1, 1));
}

#[test]
fn a_scheduler_that_slept_enqueues_nothing_old() {
    let bench = open();
    let (seen, at) = made(&bench);
    bench.enqueue(&batch(&bench, &seen, at, tasks(1)));
    let newer = entry(&bench);
    let next = newer.last.plus(MINUTE);
    // It saw the entry before that tick: neither this one nor a later one, or an earlier, is its own to give.
    for tick in [at, next, Timestamp(at.0 - 1)] {
        assert_eq!(bench.enqueue(&batch(&bench, &seen, tick, tasks(1))), [Late]);
    }
    assert_eq!(entry(&bench), newer);
    assert_eq!(bench.enqueue(&batch(&bench, &newer, next, tasks(1))), [Created]);
    assert_eq!(bench.stats().total(), 2);
}

#[test]
fn a_change_of_the_entry_makes_whoever_did_not_see_it_late() {
    let bench = open();
    let (seen, at) = made(&bench);
    assert!(write(&bench, NAME, b"other", seen.version));
    assert_eq!(bench.enqueue(&batch(&bench, &seen, at, tasks(1))), [Late]);
    let changed = entry(&bench);
    assert_eq!(changed.last, seen.last);
    let on_time = batch(&bench, &changed, at, tasks(1));
    assert_eq!(bench.enqueue(&on_time), [Created]);
    // The tick and the history outlive the next change.
    assert!(write(&bench, NAME, b"third", changed.version));
    let third = entry(&bench);
    assert_eq!((third.last, &third.ticks[..]), (at, &[(at, first(&on_time))][..]));
}

#[test]
fn an_entry_that_is_removed_or_made_anew_has_no_ticks_of_the_old_one() {
    let bench = open();
    let (old, at) = made(&bench);
    assert!(write(&bench, NAME, b"{}", old.version));
    let changed = entry(&bench);
    bench.enqueue(&batch(&bench, &changed, at, tasks(1)));
    assert!(remove(&bench, NAME));
    let gone = batch(&bench, &changed, at.plus(MINUTE), tasks(1));
    assert_eq!(bench.enqueue(&gone), [Late]);
    bench.pass(SECOND);
    assert!(write(&bench, NAME, b"{}", 0));
    let anew = entry(&bench);
    assert_eq!((anew.last, &anew.ticks[..]), (bench.now(), &[][..]));
    assert!(![old.version, changed.version].contains(&anew.version));
    // Not even if the last tick happens to be the same.
    for version in [old.version, changed.version] {
        let stale = Entry { version, ..anew.clone() };
        let late = batch(&bench, &stale, anew.last.plus(MINUTE), tasks(1));
        assert_eq!(bench.enqueue(&late), [Late]);
    }
    assert!(!write(&bench, NAME, b"late", changed.version));
    assert_eq!(bench.stats().total(), 1);
}

#[test]
fn a_tick_may_be_passed_over() {
    let bench = open();
    let (seen, at) = made(&bench);
    let nothing = batch(&bench, &seen, at, []);
    assert_eq!(bench.enqueue(&nothing), []);
    let passed = entry(&bench);
    assert_eq!((passed.last, &passed.ticks[..]), (at, &[][..]));
    assert_eq!(bench.enqueue(&batch(&bench, &seen, at, tasks(1))), [Late]);
    // Late and empty: it moves nothing.
    assert_eq!(bench.enqueue(&batch(&bench, &seen, at.plus(HOUR), [])), []);
    assert_eq!(entry(&bench), passed);
    assert_eq!(bench.stats().total(), 0);
}

#[test]
fn an_empty_batch_without_a_tick_is_nothing() {
    let bench = open();
    assert_eq!(bench.enqueue(&bench.batch([])), []);
    assert_eq!(bench.stats().total(), 0);
}

#[test]
fn the_history_tells_of_what_was_stored_and_of_nothing_else() {
    let bench = open();
    let (mut seen, _) = made(&bench);
    let there = bench.put_one(task(KINDS[1]).lock(lock([1])));
    let replace = || {
        let lock = Lock { conflict: Conflict::Replace, ..lock([1]) };
        task(KINDS[1]).lock(lock)
    };
    let keep_out = || task(KINDS[1]).lock(lock([1]));
    let mut expected = Vec::new();
    let mut tick = |tasks: Vec<Spec>, told: Option<usize>| {
        let at = seen.last.plus(MINUTE);
        let batch = batch(&bench, &seen, at, tasks);
        let answers = bench.enqueue(&batch);
        expected.extend(told.map(|nth| (at, batch.tasks[nth].envelope.id())));
        seen = entry(&bench);
        assert_eq!((seen.last, &seen.ticks), (at, &expected));
        answers
    };
    assert_eq!(tick(vec![keep_out()], None), [Held(there)]);
    let known = || task(KINDS[0]).id(there);
    assert_eq!(tick(vec![known()], None), [Existing]);
    assert_eq!(tick(vec![known(), keep_out(), task(KINDS[0])], Some(2))[2], Created);
    assert_eq!(tick(vec![known(), replace(), task(KINDS[0])], Some(1))[1], Replaced(there));
    assert_eq!(tick(vec![task(KINDS[0]).after(HOUR)], Some(0)), [Created]);
}

#[test]
fn the_history_is_bounded_by_its_latest() {
    let bench = open();
    let (mut seen, _) = made(&bench);
    let mut told = Vec::new();
    for _ in 0..TICKS_KEPT + 3 {
        let at = seen.last.plus(MINUTE);
        let batch = batch(&bench, &seen, at, tasks(1));
        assert_eq!(bench.enqueue(&batch), [Created]);
        told.push((at, first(&batch)));
        seen = entry(&bench);
    }
    assert_eq!(seen.ticks, told[3..]);
}

#[test]
fn a_refused_tick_changes_nothing() {
    let bench = open();
    let (seen, at) = made(&bench);
    bench.set(Setting::Limit(Some(1)));
    let full = batch(&bench, &seen, at, tasks(2));
    assert!(refusal(bench.broker.enqueue(full.clone())).is_full());
    assert_eq!((entry(&bench), bench.stats().total()), (seen.clone(), 0));
    for at in [seen.last, START, Timestamp(0)] {
        let error = refusal(bench.broker.enqueue(batch(&bench, &seen, at, tasks(1))));
        assert!(error.is_invalid(), "{error:?}");
    }
    // Whoever is late is not told that there is no room.
    let stale = Entry { version: seen.version + 1, ..seen.clone() };
    assert_eq!(bench.enqueue(&batch(&bench, &stale, at, tasks(2))), [Late; 2]);
    bench.set(Setting::Limit(None));
    assert_eq!(bench.enqueue(&full), [Created; 2]);
    assert_eq!((entry(&bench).last, bench.stats().count(State::Pending)), (at, 2));
}

#[test]
fn a_tick_belongs_to_an_entry_of_the_queue_of_its_batch() {
    let mut bench = open();
    let (seen, at) = made(&bench);
    let other = Entry { name: "other".into(), ..seen.clone() };
    assert_eq!(bench.enqueue(&batch(&bench, &other, at, tasks(1))), [Late]);
    bench.queue = queue("elsewhere");
    assert_eq!(bench.enqueue(&batch(&bench, &seen, at, tasks(1))), [Late]);
    assert_eq!(entry(&bench), seen);
}

#[test]
fn names_and_contents_of_entries_have_limits() {
    let bench = open();
    let longest = "x".repeat(ENTRY_NAME_BYTES_MAX);
    for name in ["", "two words", "tab\t", "naïve", &format!("{longest}x")] {
        let reply = bench.broker.write_entry(bench.queue.clone(), name.into(), Vec::new(), 0);
        assert!(refusal(reply).is_invalid(), "{name:?}");
    }
    let large = vec![0; ENTRY_BYTES_MAX + 1];
    let reply = bench.broker.write_entry(bench.queue.clone(), NAME.into(), large.clone(), 0);
    assert!(refusal(reply).is_too_large());
    assert_eq!(entries(&bench), []);
    assert!(write(&bench, &longest, &large[1..], 0));
    assert_eq!(entry(&bench).body.len(), ENTRY_BYTES_MAX);
    assert!(write(&bench, "/:*?[]{}'\"\\", &[0, 255, 10], 0));
    assert_eq!(entries(&bench)[0].body, [0, 255, 10]);
}

#[test]
fn whoever_waits_for_what_is_due_is_woken_by_every_change_of_an_entry() {
    let bench = open();
    let mut seen = run(bench.broker.wait(Wake::Due, None)).expect("a mark");
    let mut woken = || seen = run(bench.broker.wait(Wake::Due, Some(seen))).expect("woken");
    assert!(write(&bench, NAME, b"a", 0));
    woken();
    assert!(write(&bench, NAME, b"b", entry(&bench).version));
    woken();
    assert!(remove(&bench, NAME));
    woken();
}
