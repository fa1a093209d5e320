//! Groups: how tasks gather, and when a gathering closes.

use std::time::Duration;

use oncue::broker::*;
use oncue::queue::KindHash;
use oncue::state::State;
use oncue::task::{GROUP_TASKS_MAX, GROUP_WAIT_MAX, TaskId};

use super::open;
use super::wait::feels;
use crate::fixture::*;

const MS: Duration = Duration::from_millis(1);

/// The names of groups with how many tasks they hold, and whether they are closed; the oldest first.
pub fn shape(bench: &Bench) -> Vec<(String, u64, bool)> {
    let shape = |group: Gathering| (group.name, group.tasks, group.closes.is_none());
    bench.groups().into_iter().map(shape).collect()
}

fn of(name: &str, tasks: u64, closed: bool) -> (String, u64, bool) {
    (name.into(), tasks, closed)
}

#[track_caller]
fn step(bench: &Bench, limit: usize) -> Advanced {
    run(bench.broker.advance(bench.queue.clone(), limit)).expect("advanced")
}

fn gathered(bench: &Bench) -> Vec<TaskId> {
    bench.list(State::Aggregating).iter().map(|view| view.stored.id()).collect()
}

#[test]
fn a_task_of_a_group_gathers_and_is_not_pending() {
    let bench = open();
    assert_eq!(bench.groups(), []);
    let since = bench.now();
    let mut put = bench.put([member("a")]);
    for _ in 0..2 {
        bench.pass(MS);
        put.push(bench.put_one(member("a")));
    }
    let view = bench.show(put[0]).expect("there");
    assert_eq!((view.state, view.until), (State::Aggregating, None));
    assert_eq!(gathered(&bench), put, "by when they joined");
    let stats = bench.stats();
    assert_eq!((stats.count(State::Aggregating), stats.count(State::Pending)), (3, 0));
    assert_eq!((stats.oldest, ids(&bench.take_all().1)), (None, vec![]));
    let kind = KindHash::of(KINDS[0]);
    let closes = Some(bench.now().plus(MINUTE));
    assert_eq!(bench.groups(), [Gathering { kind, name: "a".into(), tasks: 3, since, closes }]);
}

#[test]
fn a_group_closes_when_it_was_quiet_for_its_grace_and_not_before() {
    let bench = open();
    let put = bench.put([member("a"), member("a")]);
    let closes = bench.now().plus(MINUTE);
    bench.pass(MINUTE - MS);
    let advanced = bench.advance();
    assert_eq!((advanced.moved, advanced.next, advanced.more), (0, Some(closes), false));
    assert_eq!(ids(&bench.take_all().1), []);
    bench.pass(MS);
    let advanced = bench.advance();
    assert_eq!((advanced.moved, advanced.next, advanced.more), (0, None, false));
    assert_eq!(shape(&bench), [of("a", 2, true)]);
    assert_eq!(bench.stats().count(State::Aggregating), 2);
    let claimed = ids(&bench.take_all().1);
    assert!(claimed.len() == 2 && put.iter().all(|id| claimed.contains(id)));
    assert_eq!((bench.groups(), bench.stats().count(State::Aggregating)), (vec![], 0));
}

#[test]
fn whoever_joins_is_waited_for_but_not_beyond_the_longest_delay() {
    let bench = open();
    let start = bench.now();
    let patient = || task(KINDS[0]).group(gather("p", MINUTE));
    let bounded = || task(KINDS[0]).group(gather("b", MINUTE).within(MINUTE * 3 / 2));
    for _ in 0..4 {
        bench.put([patient(), bounded()]);
        bench.pass(MINUTE / 2);
        if bench.now() < start.plus(MINUTE * 3 / 2) {
            assert_eq!(step(&bench, 1_000).moved, 0);
        }
    }
    // The last one came when the bounded one was due, before anybody had closed it.
    let closes = |name: &str| {
        let all = bench.groups();
        all.iter().find(|group| group.name == name).expect("there").closes
    };
    assert_eq!(closes("p"), Some(start.plus(MINUTE * 5 / 2)));
    assert_eq!(closes("b"), Some(start.plus(MINUTE * 3 / 2)));
    bench.catch_up();
    assert_eq!(shape(&bench).iter().find(|group| group.0 == "b"), Some(&of("b", 4, true)));
    assert_eq!(shape(&bench).iter().find(|group| group.0 == "p"), Some(&of("p", 4, false)));
}

#[test]
fn what_the_last_one_to_join_says_counts() {
    let bench = open();
    let start = bench.now();
    let says = |terms: Terms| bench.put_one(task(KINDS[0]).group(terms));
    let closes = || bench.groups()[0].closes;
    says(gather("g", HOUR).within(MINUTE).most(2));
    assert_eq!(closes(), Some(start.plus(MINUTE)));
    bench.pass(SECOND);
    // With as many as the first wanted at most, and for longer.
    says(gather("g", HOUR));
    assert_eq!(closes(), Some(start.plus(SECOND).plus(HOUR)));
    bench.pass(SECOND);
    says(gather("g", SECOND));
    assert_eq!(closes(), Some(start.plus(SECOND * 3)));
    says(gather("g", HOUR).within(MINUTE));
    assert_eq!(closes(), Some(start.plus(MINUTE)), "counted from its first task");
    says(gather("g", HOUR).most(2));
    assert_eq!(shape(&bench), [of("g", 5, true)], "more than it has at most");
}

#[test]
fn as_many_as_it_has_at_most_close_it_at_once() {
    let bench = open();
    bench.put((0..5).map(|_| task(KINDS[0]).group(gather("g", HOUR).most(2))));
    let mut shapes = shape(&bench);
    shapes.sort();
    assert_eq!(shapes, [of("g", 1, false), of("g", 2, true), of("g", 2, true)]);
    assert_eq!(bench.take_all().1.len(), 4);
    bench.put([task(KINDS[0]).group(gather("g", HOUR).most(2))]);
    assert_eq!(bench.take_all().1.len(), 2, "the one that was left over, and the new one");
    bench.put((0..3).map(|_| task(KINDS[0]).group(gather("one", HOUR).most(1))));
    assert_eq!(bench.take(&bench.session(), 2).len(), 2, "each by itself");
}

#[test]
fn what_comes_after_a_group_was_closed_begins_another() {
    let bench = open();
    let early = bench.put_one(member("g"));
    bench.close();
    let late = bench.put_one(member("g"));
    assert_eq!(shape(&bench), [of("g", 1, true), of("g", 1, false)]);
    assert_eq!(bench.groups()[1].since, bench.now());
    assert_eq!(ids(&bench.take_all().1), [early]);
    bench.close();
    assert_eq!(ids(&bench.take_all().1), [late]);
}

#[test]
fn without_a_grace_it_closes_with_the_next_advance() {
    let bench = open();
    let at_once = |name| task(KINDS[0]).group(gather(name, Duration::ZERO));
    bench.put([at_once("g"), at_once("g")]);
    assert_eq!(bench.groups()[0].closes, Some(bench.now()));
    assert_eq!(ids(&bench.take_all().1), []);
    bench.advance();
    assert_eq!(bench.take_all().1.len(), 2);
    // One that is scheduled joins by an advance, and is claimed after the next at the latest.
    bench.put_one(at_once("h").after(MINUTE));
    bench.pass(MINUTE);
    assert_eq!(bench.advance().moved, 1);
    bench.advance();
    assert_eq!(bench.take_all().1.len(), 1);
}

#[test]
fn names_kinds_and_queues_gather_apart() {
    let mut bench = open();
    let of_kind = |kind, name| task(kind).group(gather(name, MINUTE));
    for (kind, name) in [(KINDS[0], "g"), (KINDS[1], "g"), (KINDS[0], "G"), (KINDS[0], "g")] {
        bench.put([of_kind(kind, name)]);
    }
    let mut seen: Vec<_> = bench
        .groups()
        .into_iter()
        .map(|g| (g.kind == KindHash::of(KINDS[0]), g.name, g.tasks))
        .collect();
    seen.sort();
    assert_eq!(seen, [(false, "g".into(), 1), (true, "G".into(), 1), (true, "g".into(), 2)]);
    bench.queue = queue("other");
    assert_eq!(bench.groups(), []);
    bench.put([member("g")]);
    bench.close();
    assert_eq!((shape(&bench), bench.take_all().1.len()), (vec![of("g", 1, true)], 1));
    bench.queue = queue("default");
    assert!(bench.groups().iter().all(|group| group.closes.is_some()), "one queue at a time");
}

#[test]
fn a_grace_is_rounded_up_so_that_nothing_is_early() {
    let bench = open();
    bench.put([task(KINDS[0]).group(gather("g", Duration::from_micros(1_500)))]);
    assert_eq!(bench.groups()[0].closes, Some(bench.now().plus(MS * 2)));
    bench.put([task(KINDS[0]).group(gather("w", HOUR).within(Duration::from_nanos(1)))]);
    assert!(bench.groups().iter().any(|group| group.closes == Some(bench.now().plus(MS))));
}

#[test]
fn no_more_groups_are_closed_by_one_advance_than_it_may() {
    let bench = open();
    bench.put((0..5).map(|n| member(&format!("g{n}"))));
    bench.pass(MINUTE);
    for left in [3, 1] {
        let advanced = step(&bench, 2);
        assert_eq!((advanced.moved, advanced.expired, advanced.more), (0, 0, true));
        assert_eq!(bench.groups().iter().filter(|group| group.closes.is_some()).count(), left);
    }
    let advanced = step(&bench, 2);
    assert_eq!((advanced.more, advanced.next), (false, None));
    assert_eq!(bench.take_all().1.len(), 5);
}

#[test]
fn what_comes_next_is_whatever_is_due_or_closes_first() {
    let bench = open();
    let now = bench.now();
    bench.put([task(KINDS[0]).after(HOUR), member("g")]);
    assert_eq!(bench.advance().next, Some(now.plus(MINUTE)));
    bench.put([task(KINDS[0]).after(SECOND)]);
    assert_eq!(bench.advance().next, Some(now.plus(SECOND)));
    bench.pass(SECOND);
    bench.put([task(KINDS[0]).group(gather("h", SECOND))]);
    assert_eq!(bench.advance().next, Some(now.plus(SECOND * 2)));
    bench.close();
    assert_eq!(bench.advance().next, Some(now.plus(HOUR)), "what is closed waits for nothing");
}

#[test]
fn a_task_that_was_scheduled_joins_its_group_when_it_is_due() {
    let bench = open();
    let later = bench.put_one(member("g").after(MINUTE));
    assert_eq!((bench.state(later), bench.groups()), (Some(State::Scheduled), vec![]));
    bench.pass(MINUTE * 2);
    assert_eq!(bench.advance().moved, 1);
    assert_eq!(bench.state(later), Some(State::Aggregating));
    let (group, now) = (bench.groups().remove(0), bench.now());
    assert_eq!((group.since, group.closes), (now, Some(now.plus(MINUTE))), "by when it joined");
    // Nobody enqueues to that group any more, and it closes.
    bench.close();
    let (_, claims) = bench.take_all();
    assert_eq!((ids(&claims), claims[0].group), (vec![later], Some(0)));
}

#[test]
fn a_group_that_a_task_cannot_join_is_refused_and_nothing_is_stored() {
    let bench = open();
    let with = |terms: Terms| bench.batch([task(KINDS[0]), task(KINDS[0]).group(terms)]);
    let plain = || gather("g", MINUTE);
    let year = GROUP_WAIT_MAX;
    let mut bad = vec![
        with(plain().most(0)),
        with(plain().most(GROUP_TASKS_MAX + 1)),
        with(gather("g", year + MS)),
        with(plain().within(year + MS)),
        bench.batch([member("g").front()]),
        bench.batch([member("g").priority(1)]),
    ];
    // Its header names another, or none, or it says none itself.
    let change = |spec: Spec, group: Option<Terms>| {
        let mut task = spec.seal(&bench.queue, bench.now());
        task.group = group.map(|terms| Box::new(terms.group()));
        Batch::new(bench.queue.clone(), vec![task])
    };
    bad.push(change(member("g"), Some(gather("h", MINUTE))));
    bad.push(change(member("g"), None));
    bad.push(change(task(KINDS[0]), Some(plain())));
    for batch in bad {
        assert!(refusal(bench.broker.enqueue(batch)).is_invalid());
    }
    assert_eq!((bench.stats().total(), bench.groups()), (0, vec![]));
    bench.put([task(KINDS[0]).group(gather("g", year).within(year).most(GROUP_TASKS_MAX))]);
}

#[test]
fn what_gathers_counts_against_the_limit_of_tasks() {
    let bench = open();
    bench.set(Setting::Limit(Some(2)));
    bench.put([member("g"), member("g")]);
    assert!(refusal(bench.broker.enqueue(bench.batch([member("g")]))).is_full());
    bench.close();
    assert!(refusal(bench.broker.enqueue(bench.batch(tasks(1)))).is_full());
    assert_eq!(shape(&bench), [of("g", 2, true)], "what is refused joins nothing");
}

#[test]
fn a_batch_sent_again_joins_nothing_twice() {
    let bench = open();
    let batch = bench.batch([member("g")]);
    assert_eq!(bench.enqueue(&batch), [Enqueued::Created]);
    let closes = bench.groups()[0].closes;
    bench.pass(SECOND);
    assert_eq!(bench.enqueue(&batch), [Enqueued::Existing]);
    let fresh = Batch { id: BatchId::fresh(), ..batch };
    assert_eq!(bench.enqueue(&fresh), [Enqueued::Existing]);
    assert_eq!((shape(&bench), bench.groups()[0].closes), (vec![of("g", 1, false)], closes));
}

#[test]
fn the_closing_of_a_group_is_felt_and_so_is_a_time_that_came_nearer() {
    let bench = open();
    feels(&bench, Wake::Ready, || {
        bench.put([member("g")]);
        bench.close();
    });
    feels(&bench, Wake::Ready, || {
        bench.put((0..2).map(|_| task(KINDS[0]).group(gather("full", HOUR).most(2))));
    });
    let (session, claims) = bench.take_all();
    assert_eq!(claims.len(), 6);
    let mut graces = (1..=2u32).rev();
    feels(&bench, Wake::Due, || {
        let grace = HOUR * graces.next().expect("two");
        bench.put([task(KINDS[0]).group(gather("slow", grace))]);
    });
    // What is handed back is a new first one in its group, too.
    let mut claims = claims.iter();
    feels(&bench, Wake::Due, || {
        bench.end(
            &session,
            claims
                .find(|claim| {
                    claim.stored.header().is_ok_and(|header| header.group.as_deref() == Some("g"))
                })
                .expect("two"),
            release(),
        );
        bench.close();
    });
}
