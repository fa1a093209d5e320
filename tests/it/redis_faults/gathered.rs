//! Groups, read past the broker: many tasks go in several claims and come as one, nothing stays behind, and what was put in the
//! place of a key of theirs stops a call before it changes anything, or loses no other group.

use oncue::broker::*;
use oncue::state::State;

use super::site::{Plot, Site};
use crate::fixture::*;

/// The keys of groups that have one name.
const KEYS: [&str; 7] = ["gt", "g", "gn", "gs", "go", "gc", "gr"];

fn of(name: &str, most: usize) -> Spec {
    task(KINDS[0]).group(gather(name, MINUTE).most(most))
}

/// The keys of groups that are there, those of single gatherings among them.
fn keys_of_groups(plot: &Plot<'_>) -> Vec<String> {
    let mut admin = plot.site.server.admin().expect("an admin");
    let pattern = format!("{}g*", plot.prefix());
    let keys: Vec<Vec<u8>> = ::redis::cmd("KEYS").arg(pattern).query(&mut admin).expect("keys");
    keys.iter().map(|key| String::from_utf8_lossy(&key[plot.prefix().len()..]).into()).collect()
}

#[test]
fn a_group_of_several_claims_comes_whole_and_leaves_nothing_behind() {
    let site = Site::new();
    let plot = site.plot();
    let bench = &plot.bench;
    let put = bench.put((0..300).map(|_| of("many", 300)));
    let singly = bench.put(tasks(2));
    let session = bench.session();
    let claims = bench.take(&session, 2);
    assert_eq!(ids(&claims), [&put[..], &singly[..1]].concat());
    let groups: Vec<_> = claims.iter().map(|claim| claim.group).collect();
    assert_eq!(groups, [vec![Some(0); 300], vec![None]].concat());
    plot.audit().check(put.iter().chain(&singly).copied());
    assert_eq!(keys_of_groups(&plot), ["gt"]);
    // Each on its own, from the last to the first; every third goes back.
    for (at, claim) in claims.iter().enumerate().rev() {
        bench.end(&session, claim, if at % 3 == 0 { release() } else { complete() });
    }
    assert_eq!(bench.stats().count(State::Aggregating), 100);
    assert_eq!(plot.audit().complaint(), None);
    bench.pass(MINUTE);
    bench.advance();
    let (session, claims) = bench.take_all();
    for claim in &claims {
        bench.end(&session, claim, complete());
    }
    assert_eq!(claims.len(), 102);
    assert_eq!(keys_of_groups(&plot), [""; 0]);
    plot.audit().check([]);
}

#[test]
fn an_answer_has_room_for_so_many_claims() {
    let site = Site::new();
    let plot = site.plot();
    let bench = &plot.bench;
    for name in ["a", "b", "c"] {
        bench.put((0..400).map(|_| of(name, 400)));
    }
    bench.put(tasks(300));
    let session = bench.session();
    let claims = bench.take(&session, CLAIMS_MAX);
    assert_eq!(claims.len(), CLAIMS_MAX);
    assert_eq!(claims.iter().filter(|claim| claim.group.is_some()).count(), 800);
    let claims = bench.take(&session, 1);
    assert_eq!((claims.len(), claims[399].group), (400, Some(0)));
    assert_eq!(plot.audit().complaint(), None);
}

#[test]
fn a_key_of_another_type_stops_a_call_before_it_changes_anything() {
    let site = Site::new();
    for key in KEYS {
        let plot = site.plot();
        let bench = &plot.bench;
        let is_corrupt = |answer: oncue::Result<()>| {
            assert!(answer.is_err_and(|error| error.is_corrupt()), "{key}");
        };
        let (aside, session) = (format!("{key}:aside"), bench.session());
        let put = bench.put([of("closed", 1), of("later", 9).after(MINUTE), of("open", 9)]);
        bench.put(tasks(1));
        let held = bench.take(&session, 1);
        bench.put([of("closed", 1)]);
        bench.pass(MINUTE);
        let _: String = plot.raw("RENAME", key.as_bytes(), &[&plot.key(&aside)]);
        let _: () = plot.raw("SET", key.as_bytes(), &[b"junk"]);
        let places = plot.audit_but(key).places;
        let queue = || bench.queue.clone();
        is_corrupt(run(bench.broker.enqueue(bench.batch([of("open", 9)]))).map(drop));
        is_corrupt(run(bench.broker.advance(queue(), 100)).map(drop));
        is_corrupt(run(bench.broker.cancel(queue(), put[2])).map(drop));
        is_corrupt(run(bench.broker.act(queue(), put[1], Act::Delete)).map(drop));
        is_corrupt(run(bench.broker.retire(session.clone(), Vec::new())).map(drop));
        let back = vec![Settlement::new(held[0].ticket, release())];
        is_corrupt(run(bench.broker.settle(session.clone(), back)).map(drop));
        if key != "gt" {
            let ask = bench.ask(&bench.session(), 9);
            is_corrupt(run(bench.broker.dequeue(ask)).map(drop));
        }
        assert_eq!(plot.audit_but(key).places, places, "{key}");
        let _: String = plot.raw("RENAME", aside.as_bytes(), &[&plot.key(key)]);
        bench.retire(&session, &[]);
        bench.advance();
        bench.pass(MINUTE);
        bench.advance();
        assert_eq!(plot.audit().complaint(), None, "{key}");
        assert_eq!(bench.take_all().1.len(), 5, "{key}");
    }
}

/// A gathering that was overwritten is lost with its list of tasks; the others of its kind are not behind it.
#[test]
fn what_is_no_gathering_of_ours_blocks_none() {
    let site = Site::new();
    let plot = site.plot();
    let bench = &plot.bench;
    bench.put([of("one", 1)]);
    bench.pass(SECOND);
    let other = bench.put([of("two", 2), of("two", 2)]);
    let numbers: Vec<Vec<u8>> = plot.raw("ZRANGE", b"gs", &[b"0", b"-1"]);
    let _: () = plot.raw("SET", &[&b"gm:"[..], &numbers[0]].concat(), &[b"junk"]);
    let _: i64 = plot.raw("ZADD", &[&b"gm:"[..], &numbers[1]].concat(), &[b"1", b"no id"]);
    let kind = oncue::queue::KindHash::of(KINDS[0]).0;
    let _: i64 = plot.raw("ZADD", b"gr", &[b"0", &[&kind[..], &[0; 14]].concat()]);
    let (_, claims) = bench.take_all();
    assert_eq!(ids(&claims), other);
    assert_eq!(claims.iter().map(|claim| claim.group).collect::<Vec<_>>(), [Some(0); 2]);
    assert_eq!(plot.raw::<i64>("EXISTS", b"gr", &[]), 0);
}

#[test]
fn bytes_are_those_of_all_records_whatever_becomes_of_them() {
    let site = Site::new();
    let plot = site.plot();
    let bench = &plot.bench;
    let stored = || -> u64 {
        let records: Vec<Vec<u8>> = plot.raw("HVALS", b"t", &[]);
        records.iter().map(|record| record.len() as u64).sum()
    };
    let agrees = || assert_eq!(bench.stats().bytes, Some(stored()));
    bench.put(tasks(3));
    assert_eq!(bench.stats().bytes, None);
    bench.set(Setting::Bytes(Some(stored() + 2_000)));
    agrees();
    // A batch that is sent again counts once, whether its tasks are there or not any more.
    let batch = bench.batch([task(KINDS[0]), task(KINDS[0]), task(KINDS[1]).after(HOUR)]);
    bench.enqueue(&batch);
    agrees();
    bench.enqueue(&batch);
    agrees();
    let (session, claims) = bench.take_all();
    bench.end(&session, &claims[0], complete());
    bench.end(&session, &claims[1], keep(MINUTE));
    bench.end(&session, &claims[2], Order::Drop);
    agrees();
    let full = bench.batch([task(KINDS[0]).body(10_000), task(KINDS[0])]);
    assert!(run(bench.broker.enqueue(full.clone())).is_err_and(|error| error.is_full()));
    // What was refused is put aside until the next enqueue, and does not count.
    bench.put(tasks(1));
    agrees();
    bench.set(Setting::Bytes(Some(1 << 20)));
    bench.enqueue(&full);
    agrees();
    let delete = |id| bench.act(id, Act::Delete);
    assert_eq!(delete(full.tasks[0].envelope.id()), Acted::Done);
    bench.pass(MINUTE);
    bench.advance();
    agrees();
    bench.set(Setting::Bytes(None));
    assert_eq!(plot.raw::<i64>("EXISTS", b"by", &[]), 0);
}
