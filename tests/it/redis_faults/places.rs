//! Places of a line that tasks leave before their turn, locks and entries, read past the broker: nothing stays behind, what is
//! no lock, note or entry of ours is nobody's, and a key of another type stops a call before it changes anything.

use oncue::broker::*;
use oncue::state::State;
use oncue::task::Due;

use super::site::{Plot, Site};
use crate::fixture::*;

fn exists(plot: &Plot<'_>, keys: &[&str]) -> Vec<bool> {
    keys.iter().map(|key| plot.raw::<i64>("EXISTS", key.as_bytes(), &[]) == 1).collect()
}

fn locked(conflict: Conflict) -> Option<Box<Lock>> {
    let names = vec![LockName([7; 16])];
    Some(Box::new(Lock { names, hold: Hold::UntilEnd, lasts: None, conflict, within: None }))
}

/// As often as anybody likes, in one moment: a task leaves its line and comes back.
#[test]
fn void_places_are_bounded_and_gone_with_their_line() {
    let site = Site::new();
    let plot = site.plot();
    let bench = &plot.bench;
    let put = bench.put(tasks(3));
    let act = |act| run(bench.broker.act(bench.queue.clone(), put[1], act)).expect("acted");
    for _ in 0..300 {
        assert_eq!(act(Act::Archive), Acted::Done);
        assert_eq!(act(Act::Run), Acted::Done);
    }
    let line = [&b"p\x00\x01\x00"[..], &oncue::queue::KindHash::of(KINDS[0]).0].concat();
    let entries: i64 = plot.raw("LLEN", &line, &[]);
    assert!(entries <= 110, "{entries} entries of three tasks");
    assert_eq!(bench.stats().count(State::Pending), 3);
    plot.audit().check(put.clone());
    let (session, claims) = bench.take_all();
    assert_eq!(ids(&claims), [put[0], put[2], put[1]]);
    for claim in &claims {
        bench.end(&session, claim, complete());
    }
    assert_eq!(exists(&plot, &["vp", "t", "k", "x"]), [false; 4]);
}

#[test]
fn a_lock_leaves_nothing_behind() {
    let site = Site::new();
    let plot = site.plot();
    let bench = &plot.bench;
    let mut batch = bench.batch(tasks(1));
    let task = NewTask { lock: locked(Conflict::Keep), ..batch.tasks[0].clone() };
    batch.tasks = vec![task].into();
    assert_eq!(bench.enqueue(&batch), [Enqueued::Created]);
    let (session, claims) = bench.take_all();
    let keys = ["lk", "lr"];
    assert_eq!(exists(&plot, &keys), [true; 2]);
    bench.end(&session, &claims[0], complete());
    assert_eq!(exists(&plot, &keys), [false; 2]);
    assert_eq!(plot.raw::<i64>("EXISTS", &[&b"u:"[..], &[7; 16]].concat(), &[]), 0);
}

#[test]
fn what_is_no_lock_note_or_entry_is_nobodys() {
    let site = Site::new();
    let plot = site.plot();
    let bench = &plot.bench;
    let name = [&b"u:"[..], &[7; 16]].concat();
    for junk in [&b""[..], b"short", &[9; 36]] {
        let _: () = plot.raw("SET", &name, &[junk]);
        let holder = run(bench.broker.holder(bench.queue.clone(), vec![LockName([7; 16])]));
        assert_eq!(holder.expect("told"), None);
    }
    let _: () = plot.raw("DEL", &name, &[]);
    let _: i64 = plot.raw("LPUSH", &name, &[b"a list"]);
    let mut batch = bench.batch(tasks(1));
    let task = NewTask { lock: locked(Conflict::Keep), ..batch.tasks[0].clone() };
    batch.tasks = vec![task].into();
    assert_eq!(bench.enqueue(&batch), [Enqueued::Created]);
    let id = batch.tasks[0].envelope.id();
    let _: i64 = plot.raw("HSET", b"nt", &[&[&id.as_bytes()[..], &[0]].concat(), b"abc"]);
    assert_eq!(run(bench.broker.notes(bench.queue.clone(), id)).expect("read"), []);
    for (key, junk) in [(b"cr", &b"short"[..]), (b"ct", b"short")] {
        let _: i64 = plot.raw("HSET", key, &[b"odd", junk]);
    }
    let _: i64 = plot.raw("HSET", b"vp", &[id.as_bytes(), b"junk"]);
    assert_eq!(run(bench.broker.entries()).expect("read"), []);
    let queue = || bench.queue.clone();
    assert!(run(bench.broker.write_entry(queue(), "odd".into(), vec![1], 0)).expect("written"));
    assert_eq!(run(bench.broker.entries()).expect("read").len(), 1);
    assert_eq!(ids(&bench.take_all().1), [id]);
}

#[test]
fn a_key_of_another_type_stops_a_call_before_it_changes_anything() {
    let site = Site::new();
    for key in ["vp", "lk", "lr", "rf", "nt", "ref", "k"] {
        let plot = site.plot();
        let bench = &plot.bench;
        let put = bench.put([task(KINDS[0]), task(KINDS[0]).after(HOUR)]);
        let _: () = plot.raw("SET", key.as_bytes(), &[b"junk"]);
        let places = plot.audit().places;
        let acts = [Act::Archive, Act::Delete, Act::Reschedule(Due::In(HOUR)), Act::Run];
        for (id, act) in put.iter().flat_map(|id| acts.map(|act| (*id, act))) {
            let answer = run(bench.broker.act(bench.queue.clone(), id, act));
            assert!(answer.is_err_and(|error| error.is_corrupt()), "{key} {act:?}");
        }
        let mut batch = bench.batch(tasks(1));
        let task = NewTask { lock: locked(Conflict::Replace), ..batch.tasks[0].clone() };
        batch.tasks = vec![task].into();
        let answer = run(bench.broker.enqueue(batch.clone()));
        assert!(answer.is_err_and(|error| error.is_corrupt()), "{key}");
        assert_eq!(plot.audit().places, places, "{key}");
        let _: i64 = plot.raw("DEL", key.as_bytes(), &[]);
        assert_eq!(bench.enqueue(&batch), [Enqueued::Created]);
        assert_eq!(bench.take_all().1.len(), 2, "{key}");
    }
}
