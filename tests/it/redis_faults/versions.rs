//! Two versions of the functions on one server, and a queue that is too new for one of them.

use ::redis::Value;
use oncue::broker::*;
use oncue::state::State;

use std::time::Instant;

use super::site::Site;
use crate::fixture::*;
use crate::redis_servers::PATIENCE;

#[test]
fn a_queue_of_a_newer_format_is_refused_by_every_verb_and_left_as_it_is() {
    let site = Site::new();
    let plot = site.plot();
    let bench = &plot.bench;
    let put = bench.put(tasks(2));
    let (session, claims) = (bench.session(), bench.session());
    let held = bench.take(&claims, 1);
    let _: i64 = plot.raw("HSET", b"cfg", &[b"v", b"2"]);
    let before = plot.audit();
    let batches = [bench.batch(tasks(2)), bench.batch([task(KINDS[0]).key("k")])];
    for batch in &batches {
        // Twice: what is refused is not there the second time either.
        for _ in 0..2 {
            let refused = refusal(bench.broker.enqueue(batch.clone()));
            assert!(refused.is_newer(), "{refused}");
            assert!(refused.to_string().contains("format 2"), "{refused}");
        }
    }
    let list = vec![Settlement::new(held[0].ticket, complete())];
    let beat = Beat { sessions: vec![claims.clone()], lease: LEASE, presence: None };
    assert!(refusal(bench.broker.dequeue(bench.ask(&session, 1))).is_newer());
    assert!(refusal(bench.broker.settle(claims.clone(), list)).is_newer());
    assert!(refusal(bench.broker.retire(claims.clone(), Vec::new())).is_newer());
    assert!(refusal(bench.broker.beat(beat)).is_newer());
    assert!(refusal(bench.broker.advance(bench.queue.clone(), 1)).is_newer());
    assert!(refusal(bench.broker.reclaim(bench.sweep(&session))).is_newer());
    let after = plot.audit();
    assert_eq!((before.records, before.places), (after.records, after.places));
    // A control: in a format that is known all of it works, and a batch that was refused is a new one.
    let _: i64 = plot.raw("HSET", b"cfg", &[b"v", b"1"]);
    assert_eq!(bench.enqueue(&batches[0]), [Enqueued::Created; 2]);
    assert_eq!(bench.stats().count(State::Pending), put.len() as u64 + 1);
}

#[test]
fn two_versions_of_the_functions_work_side_by_side() {
    let site = Site::new();
    let plot = site.plot();
    let bench = &plot.bench;
    bench.put(tasks(2));
    // What a later version would be: the same under another name.
    let name = library(&site).replace("oncue_1", "oncue_2");
    let _: Value = load(&site, &name);
    let prefix = plot.key("t");
    let mut admin = site.server.admin().expect("an admin");
    let mut dequeue = |function: &str| -> Value {
        let mut call = ::redis::cmd("FCALL");
        call.arg(function).arg(1).arg(&prefix).arg(SessionId::fresh().0.as_slice());
        call.arg(30_000)
            .arg(1)
            .arg("p")
            .arg(8)
            .arg(1)
            .arg(&oncue::queue::KindHash::of(KINDS[0]).0[..]);
        call.arg(1).arg(bench.now().0);
        call.query(&mut admin).expect("claimed")
    };
    let Value::Array(parts) = dequeue("oncue_2_given_dequeue") else { panic!("no list") };
    let Value::Array(claim) = &parts[0] else { panic!("no claims") };
    assert!(matches!(&claim[..], [_, Value::BulkString(ids)] if ids.len() == 16));
    assert_eq!(bench.take_all().1.len(), 1, "the other is the older one's");
}

/// Functions that are lost under a live connection come back with the next one; nothing is acknowledged meanwhile
/// that does not run.
#[test]
fn functions_that_are_deleted_come_back_and_no_task_is_lost() {
    let site = Site::new();
    let plot = site.plot();
    let mut all = Vec::new();
    for size in [1, 3, 20] {
        let batch = plot.bench.batch(tasks(size));
        let _: () = ::redis::cmd("FUNCTION")
            .arg("FLUSH")
            .query(&mut site.server.admin().expect("an admin"))
            .expect("flushed");
        let refused = refusal(plot.bench.broker.enqueue(batch.clone()));
        assert!(refused.is_undeployed(), "{refused}");
        assert!(refused.to_string().contains("oncue deploy"), "{refused}");
        // The same batch again: it was not stored, whatever the transaction left.
        let deadline = Instant::now() + PATIENCE;
        let answers = loop {
            match run(plot.bench.broker.enqueue(batch.clone())) {
                Err(error) if error.is_undeployed() => {
                    assert!(Instant::now() < deadline, "{error}")
                }
                answers => break answers.expect("stored"),
            }
        };
        assert_eq!(answers, vec![Enqueued::Created; size]);
        all.extend(batch.tasks.iter().map(|task| task.envelope.id()));
        plot.audit().check(all.clone());
    }
    assert_eq!(plot.bench.take_all().1.len(), all.len());
}

fn library(site: &Site) -> String {
    let mut list = ::redis::cmd("FUNCTION");
    list.arg("LIST").arg("LIBRARYNAME").arg("oncue_1_given").arg("WITHCODE");
    let found: Vec<Value> = list.query(&mut site.server.admin().expect("an admin")).expect("told");
    code(&found[0]).expect("the code")
}

/// The code in a library as FUNCTION LIST tells it.
fn code(library: &Value) -> Option<String> {
    let pairs: Vec<Value> = match library {
        Value::Array(words) => words.clone(),
        Value::Map(pairs) => pairs.iter().flat_map(|(a, b)| [a.clone(), b.clone()]).collect(),
        _ => return None,
    };
    let at =
        pairs.iter().position(|word| matches!(word, Value::BulkString(b) if b == b"library_code"));
    match pairs.get(at? + 1)? {
        Value::BulkString(code) => String::from_utf8(code.clone()).ok(),
        _ => None,
    }
}

fn load(site: &Site, text: &str) -> Value {
    let mut load = ::redis::cmd("FUNCTION");
    load.arg("LOAD").arg(text).query(&mut site.server.admin().expect("an admin")).expect("loaded")
}
