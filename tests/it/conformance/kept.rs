//! What a queue keeps of what has ended: so many, for so long; what goes is counted.

use std::time::Duration;

use oncue::broker::*;
use oncue::seal::Purpose;
use oncue::state::{Reason, State};
use oncue::task::TaskId;

use super::open;
use crate::fixture::*;

const MS: Duration = Duration::from_millis(1);

/// A task that was completed and is kept for so long.
#[track_caller]
fn completed(bench: &Bench, time: Duration) -> TaskId {
    ended(bench, task(KINDS[0]), keep(time))
}

/// A task that was archived now.
#[track_caller]
fn archived(bench: &Bench) -> TaskId {
    ended(bench, task(KINDS[0]), Order::Archive { reason: Reason::Exhausted })
}

#[track_caller]
fn ended(bench: &Bench, spec: Spec, order: Order) -> TaskId {
    let id = bench.put_one(spec);
    let (session, claims) = bench.take_all();
    assert_eq!(ids(&claims), [id]);
    bench.end(&session, &claims[0], order);
    bench.pass(MS);
    id
}

fn there(bench: &Bench, ids: &[TaskId]) -> Vec<bool> {
    ids.iter().map(|id| bench.state(*id).is_some()).collect()
}

#[test]
fn of_too_many_completed_tasks_those_go_that_would_go_first() {
    let bench = open();
    let put = [4u32, 1, 3, 2].map(|hours| completed(&bench, HOUR * hours));
    let untouched = [archived(&bench), bench.put_one(task(KINDS[0]).after(HOUR * 9))];
    bench.set(Setting::KeepCompleted(Some(2)));
    assert_eq!(there(&bench, &put), [true; 4], "not before time does its work");
    let advanced = bench.advance();
    assert_eq!((advanced.moved, advanced.expired, advanced.more), (0, 2, false));
    assert_eq!(there(&bench, &put), [true, false, true, false]);
    assert_eq!(there(&bench, &untouched), [true; 2]);
    let stats = bench.stats();
    assert_eq!((stats.trimmed, stats.completed, stats.count(State::Completed)), (2, 4, 2));
    assert_eq!(bench.advance().expired, 0);
    // One that ends later than all there are keeps its place, one that ends sooner has none.
    let [long, short] = [9, 1].map(|hours| completed(&bench, HOUR * hours));
    assert_eq!(bench.advance().expired, 2);
    assert_eq!(there(&bench, &[put[0], put[2], long, short]), [true, false, true, false]);
    assert_eq!(bench.stats().trimmed, 4);
}

#[test]
fn what_goes_at_its_own_time_is_not_counted_as_too_many() {
    let bench = open();
    bench.set(Setting::KeepCompleted(Some(2)));
    completed(&bench, MINUTE);
    completed(&bench, HOUR);
    bench.pass(MINUTE);
    assert_eq!(bench.advance().expired, 1);
    assert_eq!((bench.stats().trimmed, bench.stats().count(State::Completed)), (0, 1));
}

#[test]
fn none_are_kept_where_none_may_be_and_all_where_nobody_said_so() {
    let bench = open();
    let put = [1u32, 2, 3].map(|hours| completed(&bench, HOUR * hours));
    bench.set(Setting::KeepCompleted(Some(0)));
    bench.set(Setting::KeepCompleted(None));
    assert_eq!((bench.advance().expired, there(&bench, &put)), (0, vec![true; 3]));
    bench.set(Setting::KeepCompleted(Some(3)));
    assert_eq!(bench.advance().expired, 0);
    bench.set(Setting::KeepCompleted(Some(0)));
    assert_eq!((bench.advance().expired, there(&bench, &put)), (3, vec![false; 3]));
    let archived = archived(&bench);
    bench.pass(HOUR * 24 * 365);
    bench.advance();
    assert_eq!(bench.state(archived), Some(State::Archived), "for ever");
}

#[test]
fn no_more_go_by_one_advance_than_it_may() {
    let bench = open();
    bench.put(tasks(3));
    let (session, claims) = bench.take_all();
    claims.iter().for_each(|claim| bench.end(&session, claim, keep(MINUTE)));
    for _ in 0..3 {
        completed(&bench, HOUR);
        archived(&bench);
    }
    bench.pass(MINUTE);
    bench.put([task(KINDS[0]).after(SECOND)]);
    bench.pass(SECOND);
    bench.set(Setting::KeepCompleted(Some(1)));
    bench.set(Setting::KeepArchived(Some(1), None));
    // One is due, three are past their time, two and two are too many.
    let mut sums = (0, 0);
    for last in [false, false, false, true] {
        let step = run(bench.broker.advance(bench.queue.clone(), 2)).expect("advanced");
        assert_eq!(step.moved + step.expired, 2, "{step:?}");
        assert!(last || step.more, "{step:?}");
        sums = (sums.0 + step.moved, sums.1 + step.expired);
    }
    assert_eq!(sums, (1, 7));
    let step = run(bench.broker.advance(bench.queue.clone(), 2)).expect("advanced");
    assert_eq!((step.moved, step.expired, step.more), (0, 0, false));
    let stats = bench.stats();
    assert_eq!((stats.count(State::Completed), stats.count(State::Archived)), (1, 1));
    assert_eq!(stats.trimmed, 4);
}

#[test]
fn of_too_many_archived_tasks_the_oldest_go() {
    let bench = open();
    let put = [(); 4].map(|()| archived(&bench));
    let completed = completed(&bench, HOUR);
    bench.set(Setting::KeepArchived(Some(1), None));
    let advanced = bench.advance();
    assert_eq!((advanced.expired, advanced.more), (3, false));
    assert_eq!(there(&bench, &put), [false, false, false, true]);
    assert_eq!((bench.state(completed), bench.stats().trimmed), (Some(State::Completed), 3));
}

#[test]
fn what_was_archived_for_too_long_goes_and_the_next_time_is_known() {
    let bench = open();
    bench.set(Setting::KeepArchived(None, Some(MINUTE)));
    assert_eq!(bench.advance().next, None);
    let first = archived(&bench);
    let since = bench.now();
    bench.pass(SECOND);
    let second = archived(&bench);
    // The clock stood still until each was archived, and went on by a millisecond afterwards.
    let end = Some(since.plus(MINUTE - MS));
    assert_eq!((bench.advance().next, bench.advance().expired), (end, 0));
    bench.pass(MINUTE - SECOND - MS * 3);
    assert_eq!((bench.advance().expired, bench.state(first)), (0, Some(State::Archived)));
    bench.pass(MS);
    let advanced = bench.advance();
    assert_eq!((advanced.expired, bench.state(first)), (1, None));
    assert_eq!(advanced.next, end.map(|end| end.plus(SECOND + MS)));
    bench.pass(SECOND + MS);
    let advanced = bench.advance();
    assert_eq!((advanced.expired, advanced.next, bench.state(second)), (1, None, None));
    assert_eq!(bench.stats().trimmed, 2);
}

#[test]
fn archived_tasks_go_for_either_reason() {
    let bench = open();
    bench.set(Setting::KeepArchived(Some(2), Some(HOUR)));
    let put = [(); 3].map(|()| archived(&bench));
    assert_eq!((bench.advance().expired, there(&bench, &put)), (1, vec![false, true, true]));
    bench.pass(HOUR);
    assert_eq!((bench.advance().expired, bench.stats().total()), (2, 0));
    // Whoever archived it and why is all the same; what a person runs again is archived no more.
    bench.set(Setting::KeepArchived(Some(0), None));
    let put = bench.put(tasks(3));
    assert_eq!(bench.cancel(put[0]), Cancelled::Archived);
    assert_eq!(bench.act(put[1], Act::Archive), Acted::Done);
    assert_eq!(bench.act(put[2], Act::Archive), Acted::Done);
    assert_eq!(bench.act(put[2], Act::Run), Acted::Done);
    assert_eq!((bench.advance().expired, there(&bench, &put)), (2, vec![false, false, true]));
}

#[test]
fn whoever_goes_leaves_nothing_behind_but_its_key() {
    for archive in [false, true] {
        let bench = open();
        let order =
            || if archive { Order::Archive { reason: Reason::Exhausted } } else { keep(HOUR) };
        let always = Lock { hold: Hold::Always, ..lock([1]) };
        let spec = || task(KINDS[0]).key("mine");
        let id = bench.put_one(spec().lock(always));
        let (session, claims) = bench.take_all();
        let sealed = blob_of(&claims[0], Purpose::Progress, 1, b"1");
        let note = Note { ticket: claims[0].ticket, slot: Slot::ALL[0], attempt: 1, sealed };
        assert_eq!(
            run(bench.broker.note(session.clone(), vec![note])).expect("noted"),
            [Settled::Done]
        );
        bench.end(&session, &claims[0], order());
        let notes = || run(bench.broker.notes(bench.queue.clone(), id)).expect("read").len();
        assert_eq!((bench.holder([1]), notes()), (Some(id), 1));
        bench.set(Setting::Bytes(Some(1_000_000)));
        bench.set(Setting::KeepCompleted(Some(0)));
        bench.set(Setting::KeepArchived(Some(0), None));
        assert_eq!(bench.advance().expired, 1);
        assert_eq!((bench.state(id), bench.holder([1]), notes()), (None, None, 0));
        assert_eq!((bench.stats().total(), bench.stats().bytes), (0, Some(0)));
        let again = || bench.enqueue(&bench.batch([spec()]));
        assert_eq!(again(), [Enqueued::Existing], "its key is remembered for a while");
        bench.pass(KEY_MEMORY + SECOND);
        bench.advance();
        assert_eq!(again(), [Enqueued::Created]);
    }
}
