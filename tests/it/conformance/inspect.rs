//! `stats`, `list`, `show`, `check_keys`: what a reader sees.

use std::collections::BTreeMap;

use oncue::broker::*;
use oncue::state::{Reason, State};
use oncue::task::TaskId;

use super::open;
use crate::fixture::*;

/// One task in every state a broker makes today, and where to find it.
fn one_of_each(bench: &Bench) -> BTreeMap<State, TaskId> {
    let orders = [
        (State::Completed, keep(HOUR)),
        (State::Retry, Order::Retry { after: MINUTE, front: false }),
        (State::Archived, Order::Archive { reason: Reason::SkipRetry }),
    ];
    let mut there = BTreeMap::new();
    for (state, order) in orders {
        there.insert(state, bench.put_one(task(KINDS[0])));
        let (session, claims) = bench.take_all();
        bench.end(&session, &claims[0], order);
    }
    there.insert(State::Active, bench.put_one(task(KINDS[1])));
    bench.take_all();
    there.insert(State::Pending, bench.put_one(task(KINDS[2])));
    there.insert(State::Scheduled, bench.put_one(task(KINDS[2]).after(HOUR)));
    there
}

#[test]
fn counts_lists_and_views_tell_the_same() {
    let bench = open();
    let there = one_of_each(&bench);
    let stats = bench.stats();
    for state in State::ALL {
        let listed: Vec<_> = bench.list(state).iter().map(|view| view.stored.id()).collect();
        let expected: Vec<_> = there.get(&state).copied().into_iter().collect();
        assert_eq!(listed, expected, "{state}");
        assert_eq!(stats.count(state), expected.len() as u64, "{state}");
        assert!(expected.iter().all(|id| bench.state(*id) == Some(state)));
    }
    assert_eq!((stats.completed, stats.failed, stats.total()), (1, 2, 6));
}

#[test]
fn a_view_says_when_its_state_ends_and_why_it_came() {
    let bench = open();
    let there = one_of_each(&bench);
    for (state, until) in [
        (State::Completed, Some(HOUR)),
        (State::Retry, Some(MINUTE)),
        (State::Archived, None),
        (State::Active, None),
        (State::Pending, None),
        (State::Scheduled, Some(HOUR)),
    ] {
        let view = bench.show(there[&state]).expect("there");
        assert_eq!(view.until, until.map(|time| START.plus(time)), "{state}");
        let reason = (state == State::Archived).then_some(Reason::SkipRetry);
        assert_eq!(view.reason, reason, "{state}");
    }
}

#[test]
fn every_queue_is_counted_for_itself() {
    let mut bench = open();
    for (name, n) in [("a", 1), ("b", 2), ("c", 3)] {
        bench.queue = queue(name);
        bench.put(tasks(n));
    }
    let stats = run(bench.broker.stats()).expect("stats");
    let counts: BTreeMap<_, _> =
        stats.iter().map(|stats| (stats.queue.as_str(), stats.total())).collect();
    assert_eq!(counts, [("a", 1), ("b", 2), ("c", 3)].into());
}

#[test]
fn the_oldest_is_the_pending_task_that_waits_longest() {
    let bench = open();
    assert_eq!(bench.stats().oldest, None);
    bench.put(tasks(1));
    bench.pass(MINUTE);
    bench.put(tasks(1));
    assert_eq!(bench.stats().oldest, Some(START));
    let session = bench.session();
    bench.take(&session, 1);
    assert_eq!(bench.stats().oldest, Some(START.plus(MINUTE)));
    bench.take(&session, 1);
    assert_eq!(bench.stats().oldest, None);
}

#[test]
fn what_is_not_there_is_not_shown() {
    let mut bench = open();
    assert!(bench.show(TaskId::fresh()).is_none());
    let id = bench.put_one(task(KINDS[0]));
    bench.queue = queue("other");
    assert!(bench.show(id).is_none());
    assert_eq!(bench.list(State::Pending).len(), 0);
}

#[test]
fn lists_are_in_the_order_of_time() {
    let bench = open();
    bench.put([5u32, 1, 3].map(|n| task(KINDS[0]).after(MINUTE * n)));
    bench.put(tasks(6));
    let (session, claims) = bench.take_all();
    for (claim, n) in claims.iter().zip([5u32, 1, 3, 5, 1, 3]) {
        let long = MINUTE * n;
        let order = if ids(&claims[..3]).contains(&claim.id()) {
            keep(long)
        } else {
            Order::Retry { after: long, front: false }
        };
        bench.end(&session, claim, order);
    }
    for state in [State::Scheduled, State::Completed, State::Retry] {
        let until: Vec<_> = bench.list(state).iter().filter_map(|view| view.until).collect();
        assert_eq!(until, [1u32, 3, 5].map(|n| START.plus(MINUTE * n)), "{state}");
    }
}

#[test]
fn the_archived_and_the_pending_are_listed_oldest_first() {
    let bench = open();
    let put = bench.put(tasks(4));
    let listed = |state| bench.list(state).iter().map(|v| v.stored.id()).collect::<Vec<_>>();
    assert_eq!(listed(State::Pending), put);
    let (session, claims) = bench.take_all();
    for at in [2, 0, 3, 1] {
        bench.pass(SECOND);
        bench.end(&session, &claims[at], Order::Archive { reason: Reason::Operator });
    }
    assert_eq!(listed(State::Archived), [2, 0, 3, 1].map(|at| put[at]));
}

#[test]
fn pages_show_each_row_once_while_others_come_and_go() {
    let bench = open();
    let mut put = Vec::new();
    for n in [1_000, 1_000, 500] {
        put.extend(bench.put((0..n).map(|_| task(KINDS[0]).after(HOUR))));
        bench.pass(SECOND);
    }
    let mut seen: BTreeMap<TaskId, usize> = BTreeMap::new();
    let mut cursor = None;
    loop {
        let page = Page { queue: bench.queue.clone(), state: State::Scheduled, cursor, rows: 300 };
        let listing = run(bench.broker.list(page)).expect("a page");
        assert!(listing.tasks.len() <= 300);
        listing.tasks.iter().for_each(|view| *seen.entry(view.stored.id()).or_default() += 1);
        // New ones come before the cursor and after it.
        bench.put([MINUTE, HOUR * 2].map(|delay| task(KINDS[1]).after(delay)));
        cursor = listing.cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert!(put.iter().all(|id| seen.get(id) == Some(&1)));
    assert!(seen.values().all(|times| *times == 1));
}

#[test]
fn rows_that_leave_move_no_other_row() {
    let bench = open();
    let put = bench.put((1..=9).map(|n| task(KINDS[0]).after(SECOND * n)));
    let page = |cursor| {
        let page = Page { queue: bench.queue.clone(), state: State::Scheduled, cursor, rows: 3 };
        let listing = run(bench.broker.list(page)).expect("a page");
        (listing.tasks.iter().map(|view| view.stored.id()).collect::<Vec<_>>(), listing.cursor)
    };
    let (rows, cursor) = page(None);
    assert_eq!(rows, put[..3]);
    bench.pass(SECOND * 2);
    assert_eq!(bench.advance().moved, 2);
    let (rows, cursor) = page(cursor);
    assert_eq!(rows, put[3..6]);
    assert_eq!(page(cursor).0, put[6..]);
}

#[test]
fn a_page_that_cannot_be_is_refused() {
    let bench = open();
    bench.put(tasks(2));
    let page = |rows, cursor: Option<&str>| {
        let (queue, cursor) = (bench.queue.clone(), cursor.map(str::to_owned));
        bench.broker.list(Page { queue, state: State::Pending, cursor, rows })
    };
    for reply in [page(0, None), page(1_001, None), page(5, Some("no cursor at all"))] {
        assert!(refusal(reply).is_invalid());
    }
    assert_eq!(run(page(1_000, None)).expect("a page").tasks.len(), 2);
}

#[test]
fn a_full_page_that_is_the_last_need_not_be_followed_by_a_wrong_one() {
    let bench = open();
    bench.put(tasks(4));
    let mut cursor = None;
    let mut rows = 0;
    for _ in 0..3 {
        let page = Page { queue: bench.queue.clone(), state: State::Pending, cursor, rows: 2 };
        let listing = run(bench.broker.list(page)).expect("a page");
        rows += listing.tasks.len();
        cursor = listing.cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((rows, cursor), (4, None));
}

#[test]
fn a_key_that_differs_under_the_same_id_is_told() {
    let bench = open();
    let check = |checks: &[(u32, [u8; 8])]| run(bench.broker.check_keys(checks.to_vec()));
    check(&[]).expect("none");
    check(&[(1, [1; 8]), (2, [2; 8])]).expect("new");
    check(&[(2, [2; 8])]).expect("the same");
    // A refused call remembers nothing, so id 3 is still free.
    assert!(check(&[(3, [9; 8]), (1, [7; 8])]).expect_err("differs").is_wrong_key());
    check(&[(3, [3; 8]), (1, [1; 8])]).expect("new, and the same");
    assert!(check(&[(3, [9; 8])]).expect_err("differs").is_wrong_key());
}

#[test]
fn a_count_of_nothing_is_a_count() {
    let bench = open();
    let stats = run(bench.broker.stats()).expect("stats");
    assert!(stats.iter().all(|stats| stats.total() == 0 && stats.oldest.is_none()));
}

#[test]
fn every_queue_that_exists_is_named_in_order() {
    let mut bench = open();
    let names = |bench: &Bench| {
        let names = run(bench.broker.queues()).expect("names");
        names.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(names(&bench), [""; 0]);
    for name in ["mail", "a.b", "zz", "mai"] {
        bench.queue = queue(name);
        bench.put(tasks(2));
    }
    bench.queue = queue("set");
    bench.set(Setting::Paused(true));
    let expected = ["a.b", "mai", "mail", "set", "zz"];
    assert_eq!(names(&bench), expected);
    // One that is empty is still there.
    bench.queue = queue("zz");
    let (session, claims) = bench.take_all();
    claims.iter().for_each(|claim| bench.end(&session, claim, complete()));
    assert_eq!(names(&bench), expected);
}
