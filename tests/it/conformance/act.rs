//! `act`: what a person does to a task, from every state.

use oncue::broker::*;
use oncue::state::{Reason, State};
use oncue::task::{Due, TaskId, Trail};

use super::open;
use crate::fixture::*;

use State::{Active, Archived, Completed, Pending, Retry, Scheduled};

const STATES: [State; 6] = [Scheduled, Pending, Active, Retry, Completed, Archived];

const RUN: Act = Act::Run;
const LATER: Act = Act::Reschedule(Due::In(HOUR));
const NOW: Act = Act::Reschedule(Due::Now);
const PAST: Act = Act::Reschedule(Due::At(START));

/// Where each act leads from each state of [`STATES`]; none: nowhere, it says so.
const TABLE: [(Act, [Option<Option<State>>; 6]); 6] = {
    const NOT: Option<Option<State>> = None;
    const fn to(state: State) -> Option<Option<State>> {
        Some(Some(state))
    }
    const GONE: Option<Option<State>> = Some(None);
    [
        (RUN, [to(Pending), NOT, NOT, to(Pending), NOT, to(Pending)]),
        (Act::Archive, [to(Archived), to(Archived), NOT, to(Archived), NOT, NOT]),
        (Act::Delete, [GONE, GONE, NOT, GONE, GONE, GONE]),
        (LATER, [to(Scheduled), to(Scheduled), NOT, to(Scheduled), NOT, NOT]),
        (NOW, [to(Pending), to(Pending), NOT, to(Pending), NOT, NOT]),
        (PAST, [to(Pending), to(Pending), NOT, to(Pending), NOT, NOT]),
    ]
};

/// A queue of its own with one task in this state.
fn at(bench: &mut Bench, n: usize, state: State) -> TaskId {
    bench.queue = queue(&format!("act-{n}-{state}"));
    let id = bench.put_one(task(KINDS[0]).key("a").after(MINUTE));
    bench.bring(id, Some(state));
    id
}

fn trail_of(state: State) -> Trail {
    if matches!(state, Scheduled | Pending | Active) { Trail::default() } else { trail(1) }
}

#[test]
fn every_act_leads_from_every_state_where_it_says_or_nowhere() {
    let mut bench = open();
    for (n, (act, row)) in TABLE.into_iter().enumerate() {
        for (from, to) in STATES.into_iter().zip(row) {
            let id = at(&mut bench, n, from);
            let before = bench.stats();
            let shown = |view: TaskView| (view.state, view.until, view.reason, view.trail);
            let was = bench.show(id).map(shown);
            let acted = bench.act(id, act);
            let (is, after) = (bench.show(id).map(shown), bench.stats());
            let Some(to) = to else {
                assert_eq!((acted, is, after), (Acted::Not(from), was, before), "{act:?} {from}");
                continue;
            };
            assert_eq!(acted, Acted::Done, "{act:?} {from}");
            let expected = to.map(|state| {
                let until = (state == Scheduled).then(|| bench.now().plus(HOUR));
                (state, until, (state == Archived).then_some(Reason::Operator), trail_of(from))
            });
            assert_eq!(is, expected, "{act:?} {from}");
            for state in State::ALL {
                let count = u64::from(to == Some(state));
                assert_eq!(after.count(state), count, "{act:?} {from}: {state}");
                assert_eq!(bench.list(state).len() as u64, count, "{act:?} {from}: {state}");
            }
            assert_eq!((after.completed, after.failed), (before.completed, before.failed));
            assert_eq!(after.oldest.is_some(), to == Some(Pending));
        }
    }
}

#[test]
fn whatever_was_done_to_it_a_task_runs_once_or_never() {
    let mut bench = open();
    for (n, (act, row)) in TABLE.into_iter().enumerate() {
        for (from, to) in STATES.into_iter().zip(row) {
            let Some(to) = to else { continue };
            let id = at(&mut bench, n, from);
            bench.act(id, act);
            bench.pass(HOUR * 2);
            bench.advance();
            let runs = matches!(to, Some(Pending | Scheduled));
            let (session, claims) = bench.take_all();
            assert_eq!(ids(&claims), if runs { vec![id] } else { vec![] }, "{act:?} {from}");
            assert_eq!(bench.take_all().1.len(), 0);
            for claim in &claims {
                assert_eq!(claim.trail, trail_of(from));
                bench.end(&session, claim, complete());
            }
            bench.pass(HOUR);
            let advanced = bench.advance();
            assert_eq!((advanced.moved, advanced.next), (0, None), "{act:?} {from}");
        }
    }
}

#[test]
fn there_is_nothing_to_be_done_to_a_task_that_is_not_there() {
    let mut bench = open();
    for (act, _) in TABLE {
        assert_eq!(bench.act(TaskId::fresh(), act), Acted::Missing);
    }
    let gone = bench.put_one(task(KINDS[0]));
    let (session, claims) = bench.take_all();
    bench.end(&session, &claims[0], complete());
    assert_eq!(bench.act(gone, Act::Run), Acted::Missing);
    let there = bench.put_one(task(KINDS[0]));
    bench.queue = queue("other");
    assert_eq!(bench.act(there, Act::Delete), Acted::Missing);
}

#[test]
fn the_id_of_a_task_that_was_deleted_is_remembered_if_it_is_its_own() {
    let bench = open();
    for remember in [true, false] {
        let id = TaskId::fresh();
        let spec = || task(KINDS[0]).id(id).remember(remember);
        bench.put_one(spec());
        assert_eq!(bench.act(id, Act::Delete), Acted::Done);
        let again = || bench.enqueue(&bench.batch([spec()]))[0];
        if remember {
            bench.pass(KEY_MEMORY - SECOND);
            assert_eq!(again(), Enqueued::Existing);
            bench.pass(SECOND * 2);
        }
        assert_eq!(again(), Enqueued::Created);
        let view = bench.show(id).expect("there");
        assert_eq!((view.state, view.trail.is_empty()), (Pending, true));
    }
}

#[test]
fn nothing_is_left_of_a_task_that_was_deleted() {
    let bench = open();
    let id = bench.put_one(task(KINDS[0]).after(MINUTE));
    bench.bring(id, Some(Completed));
    assert_eq!(bench.act(id, Act::Delete), Acted::Done);
    bench.put_one(task(KINDS[1]).id(id));
    let (session, claims) = bench.take_all();
    assert_eq!(claims[0].trail, Trail::default());
    bench.end(&session, &claims[0], keep(HOUR * 2));
    // The end of the retention of the first is not the second's.
    bench.pass(HOUR);
    bench.advance();
    let view = bench.show(id).expect("kept");
    assert_eq!((view.state, view.result), (Completed, None));
}

#[test]
fn a_task_that_was_cancelled_and_is_run_is_not_cancelled_any_more() {
    let mut bench = open();
    for (n, cancelled_while) in [Scheduled, Active].into_iter().enumerate() {
        let id = at(&mut bench, n, Pending);
        let taken = (cancelled_while == Active).then(|| bench.take_all());
        bench.cancel(id);
        if let Some((session, claims)) = taken {
            bench.end(&session, &claims[0], release());
        }
        assert_eq!(bench.show(id).and_then(|view| view.reason), Some(Reason::Cancelled));
        assert_eq!(bench.act(id, Act::Run), Acted::Done);
        let (session, claims) = bench.take_all();
        assert_eq!(bench.doomed(&[&session]), []);
        bench.end(&session, &claims[0], Order::Retry { after: MINUTE, front: false });
        assert_eq!(bench.state(id), Some(Retry));
    }
}

#[test]
fn what_is_run_goes_behind_the_others_of_its_line_and_stays_in_its_lane() {
    let bench = open();
    let [poisoned, waiting] = bench.put(tasks(2))[..] else { panic!() };
    let session = bench.session();
    let claims = bench.take(&session, 1);
    bench.end(&session, &claims[0], Order::Release { lane: Lane::Alone });
    let alone = |session: &Session| Ask { lane: Lane::Alone, ..bench.ask(session, 9) };
    let claims = bench.claims(alone(&session));
    bench.end(&session, &claims[0], Order::Archive { reason: Reason::Poisoned });
    let later = bench.put_one(task(KINDS[0]).after(HOUR));
    assert_eq!(bench.act(poisoned, Act::Run), Acted::Done);
    assert_eq!(bench.act(later, Act::Run), Acted::Done);
    assert_eq!(ids(&bench.take(&session, 9)), [waiting, later]);
    assert_eq!(ids(&bench.claims(alone(&session))), [poisoned]);
}

#[test]
fn a_pending_task_that_is_due_at_once_keeps_its_place() {
    let bench = open();
    let put = bench.put(tasks(3));
    assert_eq!(bench.act(put[0], NOW), Acted::Done);
    assert_eq!(bench.act(put[1], PAST), Acted::Done);
    assert_eq!(ids(&bench.take_all().1), put);
}

#[test]
fn whoever_waits_is_woken_by_what_people_do() {
    let bench = open();
    let scheduled = || bench.put_one(task(KINDS[0]).after(HOUR));
    for (act, wake) in [
        (Act::Run, Wake::Ready),
        (NOW, Wake::Ready),
        (Act::Reschedule(Due::In(MINUTE)), Wake::Due),
        (Act::Archive, Wake::Settled),
        (Act::Delete, Wake::Settled),
    ] {
        let id = scheduled();
        let seen = run(bench.broker.wait(wake, None)).expect("a mark");
        assert_eq!(bench.act(id, act), Acted::Done);
        run(bench.broker.wait(wake, Some(seen))).expect("woken");
    }
}

#[test]
fn what_ended_or_is_gone_makes_room_and_what_is_run_again_needs_none() {
    let bench = open();
    let put = bench.put(tasks(2));
    bench.set(Setting::Limit(Some(2)));
    let next = || bench.batch(tasks(1));
    assert!(refusal(bench.broker.enqueue(next())).is_full());
    bench.act(put[0], Act::Archive);
    bench.put(tasks(1));
    bench.act(put[1], Act::Delete);
    bench.put(tasks(1));
    // The limit is for what comes new: a person is not kept from running what is there.
    assert_eq!(bench.act(put[0], Act::Run), Acted::Done);
    assert!(refusal(bench.broker.enqueue(next())).is_full());
    bench.act(put[0], Act::Delete);
    assert!(refusal(bench.broker.enqueue(next())).is_full());
    assert_eq!(bench.stats().count(Pending), 2);
}
