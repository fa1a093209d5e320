//! `note` and `notes`: what a run leaves beside its task.

use oncue::broker::*;
use oncue::seal::{Purpose, Sealed};
use oncue::state::{Reason, State};
use oncue::task::TaskId;

use super::open;
use crate::fixture::*;

use Settled::{Done, Gone};

/// What happens to a task whose run left notes.
type Road = (&'static str, fn(&Bench, &Session, &Claim));

fn note_of(claim: &Claim, slot: Slot, attempt: u32, text: &[u8]) -> Note {
    Note { ticket: claim.ticket, slot, attempt, sealed: sealed(claim, attempt, text) }
}

fn sealed(claim: &Claim, attempt: u32, text: &[u8]) -> Sealed {
    blob_of(claim, Purpose::Progress, attempt, text)
}

#[track_caller]
fn note(bench: &Bench, session: &Session, notes: &[Note]) -> Vec<Settled> {
    run(bench.broker.note(session.clone(), notes.to_vec())).expect("noted")
}

#[track_caller]
fn notes(bench: &Bench, id: TaskId) -> Vec<(Slot, Kept)> {
    run(bench.broker.notes(bench.queue.clone(), id)).expect("read")
}

fn kept(note: &Note) -> (Slot, Kept) {
    (note.slot, Kept { attempt: note.attempt, sealed: note.sealed.as_bytes().to_vec() })
}

/// A task that runs.
fn running(bench: &Bench) -> (TaskId, Session, Claim) {
    let id = bench.put_one(task(KINDS[0]));
    let (session, mut claims) = bench.take_all();
    assert_eq!(ids(&claims), [id]);
    (id, session, claims.remove(0))
}

#[test]
fn a_note_stands_in_its_slot_until_it_is_written_again() {
    let bench = open();
    let (id, session, claim) = running(&bench);
    assert_eq!(notes(&bench, id), []);
    let [log, progress] = [Slot::Log, Slot::Progress].map(|slot| note_of(&claim, slot, 1, b"a"));
    assert_eq!(note(&bench, &session, &[log.clone(), progress]), [Done; 2]);
    let further = note_of(&claim, Slot::Progress, 2, b"further");
    assert_eq!(note(&bench, &session, std::slice::from_ref(&further)), [Done]);
    assert_eq!(notes(&bench, id), [kept(&further), kept(&log)]);
    let effects = note_of(&claim, Slot::Effects, 2, b"");
    assert_eq!(note(&bench, &session, std::slice::from_ref(&effects)), [Done]);
    assert_eq!(notes(&bench, id), [kept(&further), kept(&log), kept(&effects)]);
}

#[test]
fn of_two_notes_for_one_slot_the_last_stands() {
    let bench = open();
    let (id, session, claim) = running(&bench);
    let both = [b"a", b"b"].map(|text| note_of(&claim, Slot::Log, 1, text));
    assert_eq!(note(&bench, &session, &both), [Done; 2]);
    assert_eq!(notes(&bench, id), [kept(&both[1])]);
}

#[test]
fn only_who_holds_a_claim_writes_beside_it() {
    let bench = open();
    let (id, session, claim) = running(&bench);
    let (other_id, other, other_claim) = running(&bench);
    let mine = note_of(&claim, Slot::Log, 1, b"mine");
    let foreign = note_of(&claim, Slot::Log, 1, b"foreign");
    let own = note_of(&other_claim, Slot::Log, 1, b"own");
    assert_eq!(note(&bench, &session, std::slice::from_ref(&mine)), [Done]);
    assert_eq!(note(&bench, &other, &[foreign, own.clone()]), [Gone, Done]);
    assert_eq!(notes(&bench, id), [kept(&mine)]);
    assert_eq!(notes(&bench, other_id), [kept(&own)]);
    // Nor is a claim that was settled held any more.
    bench.end(&session, &claim, keep(HOUR));
    assert_eq!(note(&bench, &session, &[note_of(&claim, Slot::Log, 1, b"late")]), [Gone]);
    assert_eq!(notes(&bench, id), [kept(&mine)]);
    // Nor one that was handed back.
    assert_eq!(bench.retire(&other, &[]), 1);
    assert_eq!(note(&bench, &other, &[note_of(&other_claim, Slot::Log, 1, b"late")]), [Gone]);
    assert_eq!(notes(&bench, other_id), [kept(&own)]);
}

#[test]
fn a_session_that_is_closed_still_writes_what_it_knows() {
    let bench = open();
    let (id, session, claim) = running(&bench);
    assert_eq!(bench.retire(&session, &[id]), 0);
    let last = note_of(&claim, Slot::Progress, 1, b"nearly");
    assert_eq!(note(&bench, &session, std::slice::from_ref(&last)), [Done]);
    assert_eq!(notes(&bench, id), [kept(&last)]);
}

#[test]
fn the_dead_and_the_unknown_write_nothing() {
    let bench = open();
    let (id, session, claim) = running(&bench);
    let first = note_of(&claim, Slot::Effects, 1, b"first");
    assert_eq!(note(&bench, &session, std::slice::from_ref(&first)), [Done]);
    bench.warm_up_sweeps();
    let (sweeper, claims) = bench.take_over();
    assert_eq!(ids(&claims), [id]);
    for fenced in [session, bench.session()] {
        let late = vec![note_of(&claim, Slot::Effects, 1, b"late")];
        let error = refusal(bench.broker.note(fenced, late));
        assert!(error.is_fenced(), "{error:?}");
    }
    assert_eq!(notes(&bench, id), [kept(&first)]);
    // Whoever took over writes on.
    let second = note_of(&claims[0], Slot::Effects, 1, b"second");
    assert_eq!(note(&bench, &sweeper, std::slice::from_ref(&second)), [Done]);
    assert_eq!(notes(&bench, id), [kept(&second)]);
}

#[test]
fn notes_stay_on_every_road_on_which_the_task_stays() {
    let roads: [Road; 9] = [
        ("retry", |bench, session, claim| {
            bench.end(session, claim, Order::Retry { after: MINUTE, front: false });
        }),
        ("retry, then run", |bench, session, claim| {
            bench.end(session, claim, Order::Retry { after: MINUTE, front: true });
            assert_eq!(bench.act(claim.id(), Act::Run), Acted::Done);
        }),
        ("snooze", |bench, session, claim| {
            bench.end(session, claim, Order::Snooze { after: MINUTE });
        }),
        ("release", |bench, session, claim| bench.end(session, claim, release())),
        ("retire", |bench, session, _| assert_eq!(bench.retire(session, &[]), 1)),
        ("a crash", |bench, _, _| {
            bench.warm_up_sweeps();
            let (sweeper, claims) = bench.take_over();
            bench.end(&sweeper, &claims[0], release());
        }),
        ("archive", |bench, session, claim| {
            bench.end(session, claim, Order::Archive { reason: Reason::Exhausted });
        }),
        ("archive, then run", |bench, session, claim| {
            bench.end(session, claim, Order::Archive { reason: Reason::Exhausted });
            assert_eq!(bench.act(claim.id(), Act::Run), Acted::Done);
        }),
        ("completed and kept", |bench, session, claim| bench.end(session, claim, keep(HOUR * 9))),
    ];
    let mut bench = open();
    for (n, (road, walk)) in roads.into_iter().enumerate() {
        bench.queue = queue(&format!("noted-{n}"));
        let (id, session, claim) = running(&bench);
        let said = Slot::ALL.map(|slot| note_of(&claim, slot, 1, b"said"));
        assert_eq!(note(&bench, &session, &said), [Done; 3]);
        walk(&bench, &session, &claim);
        assert_eq!(notes(&bench, id), said.each_ref().map(kept), "{road}");
        bench.pass(HOUR);
        bench.advance();
        let (session, claims) = bench.take_all();
        for claim in &claims {
            // The next run finds them, and goes on.
            let further = note_of(claim, Slot::Progress, 2, b"further");
            assert_eq!(note(&bench, &session, std::slice::from_ref(&further)), [Done], "{road}");
            assert_eq!(notes(&bench, id), [kept(&further), kept(&said[1]), kept(&said[2])]);
        }
    }
}

#[test]
fn notes_go_with_their_task_and_the_next_of_its_id_finds_none() {
    let roads: [Road; 6] = [
        ("completed", |bench, session, claim| bench.end(session, claim, complete())),
        ("dropped", |bench, session, claim| bench.end(session, claim, Order::Drop)),
        ("deleted", |bench, session, claim| {
            bench.end(session, claim, Order::Archive { reason: Reason::Exhausted });
            assert_eq!(bench.act(claim.id(), Act::Delete), Acted::Done);
        }),
        ("deleted while it waited", |bench, session, claim| {
            bench.end(session, claim, release());
            assert_eq!(bench.act(claim.id(), Act::Delete), Acted::Done);
        }),
        ("replaced", |bench, session, claim| {
            bench.end(session, claim, release());
            let next = Lock { conflict: Conflict::Replace, ..lock([1]) };
            let batch = bench.batch([task(KINDS[1]).lock(next).after(HOUR)]);
            assert_eq!(bench.enqueue(&batch), [Enqueued::Replaced(claim.id())]);
        }),
        ("its retention over", |bench, session, claim| {
            bench.end(session, claim, keep(MINUTE));
            bench.pass(MINUTE);
            assert_eq!(bench.advance().expired, 1);
        }),
    ];
    let mut bench = open();
    for (n, (road, walk)) in roads.into_iter().enumerate() {
        bench.queue = queue(&format!("gone-{n}"));
        let id = bench.put_one(task(KINDS[0]).lock(lock([1])));
        let (session, claims) = bench.take_all();
        let said = Slot::ALL.map(|slot| note_of(&claims[0], slot, 1, b"said"));
        assert_eq!(note(&bench, &session, &said), [Done; 3]);
        walk(&bench, &session, &claims[0]);
        assert_eq!((bench.state(id), notes(&bench, id)), (None, vec![]), "{road}");
        bench.put_one(task(KINDS[0]).id(id));
        assert_eq!(notes(&bench, id), [], "{road}");
    }
}

#[test]
fn notes_change_nothing_of_the_task() {
    let bench = open();
    let (id, session, claim) = running(&bench);
    let before = bench.stats();
    note(&bench, &session, &[note_of(&claim, Slot::Log, 1, b"said")]);
    assert_eq!(bench.stats(), before);
    let view = bench.show(id).expect("there");
    assert_eq!((view.state, view.result, view.trail.is_empty()), (State::Active, None, true));
    // A result is not a note.
    let result = Some((1, result_of(&claim, 1, b"{}")));
    bench.end(&session, &claim, Order::Complete { keep: HOUR, result });
    assert_eq!(notes(&bench, id).len(), 1);
}

#[test]
fn there_are_no_notes_of_a_task_that_is_not_there() {
    let mut bench = open();
    let (id, session, claim) = running(&bench);
    note(&bench, &session, &[note_of(&claim, Slot::Log, 1, b"said")]);
    assert_eq!(notes(&bench, TaskId::fresh()), []);
    bench.queue = queue("other");
    assert_eq!(notes(&bench, id), []);
}

#[test]
fn too_many_or_too_long_notes_are_refused_as_a_whole() {
    let bench = open();
    let (id, session, claim) = running(&bench);
    let small = note_of(&claim, Slot::Log, 1, b"said");
    let overhead = small.sealed.as_bytes().len() - 4;
    let of_length =
        |bytes| note_of(&claim, Slot::Progress, 1, &vec![b'x'; NOTE_BYTES_MAX - overhead + bytes]);
    for notes in [vec![small.clone(), of_length(1)], vec![small.clone(); CLAIMS_MAX + 1]] {
        assert!(refusal(bench.broker.note(session.clone(), notes)).is_too_large());
    }
    assert_eq!(notes(&bench, id), []);
    let largest = of_length(0);
    assert_eq!(largest.sealed.as_bytes().len(), NOTE_BYTES_MAX);
    assert_eq!(note(&bench, &session, std::slice::from_ref(&largest)), [Done]);
    assert_eq!(notes(&bench, id), [kept(&largest)]);
    assert_eq!(note(&bench, &session, &[]), []);
}

#[test]
fn whoever_waits_for_notes_is_woken() {
    let bench = open();
    let (_, session, claim) = running(&bench);
    let mut seen = run(bench.broker.wait(Wake::Noted, None)).expect("a mark");
    for _ in 0..2 {
        note(&bench, &session, &[note_of(&claim, Slot::Progress, 1, b"said")]);
        seen = run(bench.broker.wait(Wake::Noted, Some(seen))).expect("woken");
    }
}
