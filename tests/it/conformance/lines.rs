//! Long lines in the middle of which people act: what left the line is not claimed, what came back is claimed once.

use std::collections::BTreeSet;

use oncue::broker::*;
use oncue::state::State;
use oncue::task::{Due, TaskId};

use super::open;
use crate::fixture::*;

/// Tasks of a line, enough to be packed wherever a broker packs.
const LONG: usize = 300;
/// Every so manieth task of a line is touched.
const STRIDE: usize = 7;

/// How a task leaves its line.
type Way = (&'static str, fn(&Bench, TaskId));

fn touched(put: &[TaskId]) -> Vec<TaskId> {
    put.iter().skip(STRIDE / 2).step_by(STRIDE).copied().collect()
}

fn untouched(put: &[TaskId]) -> Vec<TaskId> {
    let touched: BTreeSet<_> = touched(put).into_iter().collect();
    put.iter().filter(|id| !touched.contains(id)).copied().collect()
}

/// Everything pending, claimed `max` at a time; each task once.
#[track_caller]
fn drain(bench: &Bench, max: usize) -> Vec<TaskId> {
    let session = bench.session();
    let mut taken = Vec::new();
    while let claims @ [_, ..] = &ids(&bench.take(&session, max))[..] {
        taken.extend_from_slice(claims);
    }
    let once: BTreeSet<_> = taken.iter().collect();
    assert_eq!(once.len(), taken.len(), "a task was claimed twice");
    assert_eq!(bench.stats().count(State::Active) as usize, taken.len());
    assert_eq!(bench.stats().count(State::Pending), 0);
    taken
}

fn done(bench: &Bench, ids: &[TaskId], act: Act) {
    ids.iter().for_each(|id| assert_eq!(bench.act(*id, act), Acted::Done));
}

#[test]
fn what_left_a_line_is_not_claimed_from_it() {
    for act in [Act::Delete, Act::Archive, Act::Reschedule(Due::In(HOUR))] {
        let bench = open();
        let put = bench.put(tasks(LONG));
        done(&bench, &touched(&put), act);
        assert_eq!(bench.stats().count(State::Pending) as usize, untouched(&put).len());
        assert_eq!(drain(&bench, 64), untouched(&put), "{act:?}");
    }
}

#[test]
fn what_came_back_to_a_line_stands_behind_it_once() {
    let ways: [Way; 5] = [
        ("archived", |bench, id| assert_eq!(bench.act(id, Act::Archive), Acted::Done)),
        ("cancelled", |bench, id| assert_eq!(bench.cancel(id), Cancelled::Archived)),
        ("put off", |bench, id| {
            assert_eq!(bench.act(id, Act::Reschedule(Due::In(HOUR))), Acted::Done);
        }),
        ("put off, and archived", |bench, id| {
            assert_eq!(bench.act(id, Act::Reschedule(Due::In(HOUR))), Acted::Done);
            assert_eq!(bench.act(id, Act::Archive), Acted::Done);
        }),
        ("back and away again", |bench, id| {
            for _ in 0..2 {
                assert_eq!(bench.act(id, Act::Archive), Acted::Done);
                assert_eq!(bench.act(id, Act::Run), Acted::Done);
            }
            assert_eq!(bench.cancel(id), Cancelled::Archived);
        }),
    ];
    for (way, leave) in ways {
        let bench = open();
        let put = bench.put(tasks(LONG));
        touched(&put).into_iter().for_each(|id| leave(&bench, id));
        done(&bench, &touched(&put), Act::Run);
        assert_eq!(bench.stats().count(State::Pending) as usize, LONG, "{way}");
        let expected = [untouched(&put), touched(&put)].concat();
        assert_eq!(drain(&bench, 64), expected, "{way}");
    }
}

#[test]
fn what_was_put_off_comes_back_when_it_is_due() {
    let bench = open();
    let put = bench.put(tasks(LONG));
    done(&bench, &touched(&put), Act::Reschedule(Due::In(MINUTE)));
    bench.pass(MINUTE);
    assert_eq!(bench.advance().moved, touched(&put).len());
    let taken = drain(&bench, 64);
    let (line, back) = taken.split_at(untouched(&put).len());
    assert_eq!(line, untouched(&put));
    assert_eq!(back.iter().collect::<BTreeSet<_>>(), touched(&put).iter().collect());
}

#[test]
fn a_task_that_is_made_anew_under_its_id_stands_where_the_new_one_stands() {
    let bench = open();
    let put = bench.put(tasks(LONG));
    done(&bench, &touched(&put), Act::Delete);
    let again = touched(&put).into_iter().map(|id| task(KINDS[0]).id(id).fill(b'9'));
    assert_eq!(bench.put(again), touched(&put));
    let session = bench.session();
    let claims = bench.take(&session, CLAIMS_MAX);
    assert_eq!(ids(&claims), [untouched(&put), touched(&put)].concat());
    for claim in &claims[untouched(&put).len()..] {
        assert_eq!(payload_of(&claim.stored), b"99");
    }
}

#[test]
fn a_line_of_which_all_left_and_came_back_many_times_is_claimed_once() {
    let bench = open();
    let put = bench.put(tasks(40));
    let session = bench.session();
    for round in 0..8 {
        done(
            &bench,
            &put,
            if round % 2 == 0 { Act::Archive } else { Act::Reschedule(Due::In(HOUR)) },
        );
        assert_eq!(bench.take(&session, 9).len(), 0);
        done(&bench, &put, Act::Run);
    }
    assert_eq!(drain(&bench, 9), put);
}

#[test]
fn a_task_that_runs_is_out_of_reach_of_what_was_done_to_it_before() {
    let bench = open();
    let put = bench.put(tasks(LONG));
    let middle = put[LONG / 2];
    bench.act(middle, Act::Archive);
    bench.act(middle, Act::Run);
    let (session, claims) = bench.take_all();
    assert_eq!(claims.last().map(Claim::id), Some(middle));
    assert_eq!(bench.act(middle, Act::Run), Acted::Not(State::Active));
    claims.iter().for_each(|claim| bench.end(&session, claim, complete()));
    assert_eq!((bench.stats().total(), bench.take_all().1.len()), (0, 0));
}

#[test]
fn lines_of_several_kinds_and_priorities_keep_their_order_around_what_left() {
    let bench = open();
    let spec = |n: usize| task(KINDS[n % 2]).priority((n / 2 % 3) as u8);
    let put = bench.put((0..LONG).map(spec));
    done(&bench, &touched(&put), Act::Archive);
    let kind = |n: usize| oncue::queue::KindHash::of(KINDS[n]);
    for n in 0..2 {
        let session = bench.session();
        let ask = Ask { accept: vec![(kind(n), CLAIMS_MAX)], ..bench.ask(&session, CLAIMS_MAX) };
        let taken = ids(&bench.claims(ask));
        let left: BTreeSet<_> = untouched(&put).into_iter().collect();
        let mut line: Vec<_> = (n..LONG).step_by(2).filter(|at| left.contains(&put[*at])).collect();
        line.sort_by_key(|at| std::cmp::Reverse(at / 2 % 3));
        let expected: Vec<_> = line.into_iter().map(|at| put[at]).collect();
        assert_eq!(taken, expected);
    }
}
