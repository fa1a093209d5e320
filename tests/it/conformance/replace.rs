//! `replace`: another record in place of the one that was seen.

use oncue::broker::*;
use oncue::envelope::{Envelope, Stored};
use oncue::state::State;
use oncue::task::TaskId;

use super::open;
use crate::fixture::*;

fn sealed(bench: &Bench, spec: Spec) -> Envelope {
    spec.seal(&bench.queue, bench.now()).envelope
}

fn seen(bench: &Bench, id: TaskId) -> Stored {
    bench.show(id).expect("there").stored
}

#[track_caller]
fn replace(bench: &Bench, seen: Stored, envelope: Envelope) -> Acted {
    run(bench.broker.replace(seen, envelope)).expect("answered")
}

#[test]
fn another_record_takes_the_place_of_one_that_waits_and_of_no_other() {
    use State::{Active, Archived, Completed, Pending, Retry, Scheduled};
    let mut bench = open();
    for (from, may) in [
        (Scheduled, true),
        (Pending, true),
        (Retry, true),
        (Active, false),
        (Completed, false),
        (Archived, false),
    ] {
        bench.queue = queue(&format!("replace-{from}"));
        let spec = || task(KINDS[0]).priority(3);
        let id = bench.put_one(spec().after(MINUTE));
        bench.bring(id, Some(from));
        let old = bench.show(id).expect("there");
        let new = sealed(&bench, spec().id(id).fill(b'1').body(40));
        let expected = if may { Acted::Done } else { Acted::Not(from) };
        assert_eq!(replace(&bench, old.stored.clone(), new), expected, "{from}");
        let is = bench.show(id).expect("there");
        assert_eq!((is.state, is.until, is.trail), (old.state, old.until, old.trail));
        let body = if may { vec![b'1'; 40] } else { vec![b'0'; 2] };
        assert_eq!(payload_of(&is.stored), body, "{from}");
        bench.pass(HOUR / 2);
        bench.advance();
        for claim in bench.take_all().1 {
            assert_eq!((claim.id(), payload_of(&claim.stored)), (id, vec![b'1'; 40]), "{from}");
        }
    }
}

#[test]
fn a_record_that_is_not_the_one_seen_any_more_is_left() {
    let bench = open();
    let spec = || task(KINDS[0]);
    let id = bench.put_one(spec());
    let first = seen(&bench, id);
    // Of the same length, under the same header: told apart by their bytes.
    let again = |fill| sealed(&bench, spec().id(id).fill(fill));
    assert_eq!(replace(&bench, first.clone(), again(b'1')), Acted::Done);
    assert_eq!(replace(&bench, first.clone(), again(b'2')), Acted::Changed);
    assert_eq!(payload_of(&seen(&bench, id)), b"11");
    assert_eq!(replace(&bench, seen(&bench, id), again(b'2')), Acted::Done);
    bench.act(id, Act::Delete);
    assert_eq!(replace(&bench, first, again(b'3')), Acted::Missing);
    assert_eq!(bench.state(id), None);
}

#[test]
fn a_task_keeps_its_place_its_lock_and_its_id_under_another_record() {
    let bench = open();
    let put = bench.put([task(KINDS[0]), task(KINDS[0]).lock(lock([1])), task(KINDS[0])]);
    let new = sealed(&bench, task(KINDS[0]).id(put[1]).fill(b'9'));
    assert_eq!(replace(&bench, seen(&bench, put[1]), new), Acted::Done);
    assert_eq!(bench.holder([1]), Some(put[1]));
    assert_eq!(bench.stats().count(State::Pending), 3);
    let (session, claims) = bench.take_all();
    assert_eq!(ids(&claims), put);
    bench.end(&session, &claims[1], complete());
    assert_eq!(bench.holder([1]), None);
}

#[test]
fn a_record_of_another_task_kind_queue_or_priority_is_refused() {
    let mut bench = open();
    let id = bench.put_one(task(KINDS[0]).priority(3));
    let own = seen(&bench, id);
    let spec = |kind| task(kind).id(id).priority(3);
    let mut others = vec![
        sealed(&bench, task(KINDS[0]).priority(3)),
        sealed(&bench, spec(KINDS[1])),
        sealed(&bench, spec(KINDS[0]).priority(4)),
    ];
    bench.queue = queue("other");
    others.push(sealed(&bench, spec(KINDS[0])));
    bench.queue = queue("default");
    for other in others {
        let error = refusal(bench.broker.replace(own.clone(), other));
        assert!(error.is_invalid(), "{error:?}");
    }
    assert_eq!(seen(&bench, id).header_bytes(), own.header_bytes());
    // It is refused before anybody asks whether the task is there.
    bench.act(id, Act::Delete);
    let other = sealed(&bench, spec(KINDS[1]));
    assert!(refusal(bench.broker.replace(own, other)).is_invalid());
}
