//! What a producer with bad intentions may plant: broken entries, tickets, times and keys of another type. Bounded
//! work, typed errors, no loop, and real tasks are still run.

use std::time::{Duration, Instant};

use oncue::broker::*;
use oncue::queue::KindHash;
use oncue::state::State;

use super::site::{Plot, Site};
use crate::fixture::*;

fn kind(at: usize) -> [u8; 5] {
    KindHash::of(KINDS[at]).0
}

/// The name of a line of shared tasks.
fn line(priority: u8, kind: &[u8]) -> Vec<u8> {
    [&[b'p', priority, 1, 0], kind].concat()
}

/// A ticket of this shape, of no task; its last 16 bytes are a field of a claim.
fn ticket(priority: u8, n: u8, class: u8, kind: &[u8]) -> Vec<u8> {
    [&[7; 16][..], &[priority, n, class], kind].concat()
}

fn junk(plot: &Plot<'_>) -> u64 {
    plot.raw::<Option<u64>>("HGET", b"st", &[b"junk"]).unwrap_or(0)
}

#[test]
fn broken_entries_of_a_line_are_dropped_and_counted() {
    let site = Site::new();
    let plot = site.plot();
    let put = plot.bench.put(tasks(3));
    let name = line(0, &kind(0));
    // Without an id, with a part of one, with one and a part, with too many.
    for junk in [&b""[..], b"short", &[0; 6], &[0; 21], &[0; 23], &[0; 6 + 16 * 129]] {
        let _: i64 = plot.raw("RPUSH", &name, &[junk]);
        let _: i64 = plot.raw("LPUSH", &name, &[junk]);
    }
    plot.bench.list(State::Pending);
    plot.bench.stats();
    let (_, claims) = plot.bench.take_all();
    assert_eq!(ids(&claims), put);
    assert_eq!(junk(&plot), 12);
    plot.audit().check(put);
}

/// A task behind ten thousand broken entries is reached by a few claims, not by one a second of a few entries.
#[test]
fn a_line_full_of_junk_is_passed() {
    let site = Site::new();
    let plot = site.plot();
    let put = plot.bench.put(tasks(1));
    let name = line(0, &kind(0));
    let entries = vec![&b"junk"[..]; 1_000];
    for _ in 0..10 {
        let _: i64 = plot.raw("RPUSH", &name, &entries);
    }
    let session = plot.bench.session();
    let asks = (1..).find(|_| !plot.bench.take(&session, 4).is_empty());
    assert!(asks.expect("reached") <= 12, "{asks:?} asks");
    assert_eq!(junk(&plot), 10_000);
    plot.audit().check(put);
}

#[test]
fn tickets_of_no_task_and_impossible_times_do_not_stop_what_is_due() {
    let site = Site::new();
    let plot = site.plot();
    let bench = &plot.bench;
    let put = bench.put([task(KINDS[0]).after(MINUTE), task(KINDS[0]).after(HOUR)]);
    let (good, far) = (ticket(0, 1, 0, &kind(0)), ticket(1, 1, 0, &kind(0)));
    for set in [b"s", b"r", b"c", b"x"] {
        for (score, member) in [
            ("-1", &b"short"[..]),
            ("-inf", b""),
            ("inf", b"never"),
            ("1e18", &[9; 24]),
            ("-5e300", &[9; 23]),
            ("0", &ticket(10, 1, 0, &kind(0))),
            ("0", &ticket(0, 2, 0, &kind(0))),
            ("0", &ticket(0, 1, 1, &kind(0))),
            ("inf", &far),
        ] {
            let _: i64 = plot.raw("ZADD", set, &[score.as_bytes(), member]);
        }
    }
    // One that looks good has no record: it comes as damaged.
    let _: i64 = plot.raw("ZADD", b"s", &[b"-1", &good]);
    bench.pass(MINUTE);
    let (mut rounds, mut moved) = (0, 0);
    let next = loop {
        let advanced = bench.advance();
        (rounds, moved) = (rounds + 1, moved + advanced.moved);
        if !advanced.more {
            break advanced.next;
        }
        assert!(rounds < 20, "it goes round and round");
    };
    assert_eq!((moved, next), (2, Some(bench.now().plus(HOUR - MINUTE))));
    let (session, claims) = bench.take_all();
    let damaged = |claim: &&Claim| claim.stored.header().is_err();
    assert_eq!((claims.len(), claims.iter().filter(damaged).count()), (2, 1));
    for claim in &claims {
        bench.end(&session, claim, complete());
    }
    for state in [State::Scheduled, State::Retry, State::Completed, State::Archived] {
        bench.list(state);
    }
    bench.pass(HOUR);
    assert_eq!(bench.advance().moved, 1);
    assert_eq!(ids(&bench.take_all().1), put[1..]);
    assert!(junk(&plot) >= 12);
}

#[test]
fn junk_among_claims_is_dropped_by_whoever_meets_it() {
    let site = Site::new();
    let plot = site.plot();
    let bench = &plot.bench;
    let put = bench.put(tasks(2));
    let (session, _) = bench.take_all();
    let plant = |session: &Session| {
        let key = [b"a:", &session.id.0[..]].concat();
        // Fields of no claim, with an id; and a field of a claim, with what are no ids.
        let field = ticket(0, 1, 0, &kind(0))[8..].to_vec();
        let (lame, far) = (&ticket(10, 1, 0, &kind(0))[8..], &[0; 17][..]);
        for (n, junk) in [&b""[..], b"short", lame, far].into_iter().enumerate() {
            let ids = vec![n as u8; 16];
            assert_eq!(plot.raw::<i64>("HSET", &key, &[junk, &ids]), 1);
        }
        for (n, size) in [(1, 0), (2, 15), (3, 17), (4, 16 * 129)] {
            let field = [&[n; 8][..], &field[8..]].concat();
            assert_eq!(plot.raw::<i64>("HSET", &key, &[&field, &vec![n; size]]), 1);
        }
        plot.bench.stats();
        plot.bench.list(State::Active);
    };
    plant(&session);
    assert_eq!(bench.retire(&session, &[]), 2);
    let (session, claims) = bench.take_all();
    assert_eq!(claims.len(), 2);
    plant(&session);
    bench.warm_up_sweeps();
    let (_, taken) = bench.take_over();
    let mut taken = ids(&taken);
    taken.sort();
    assert_eq!(taken, put);
    assert_eq!(junk(&plot), 16);
    plot.audit().check(put);
}

#[test]
fn junk_where_sessions_and_kinds_are_named_is_bounded_work() {
    let site = Site::new();
    let plot = site.plot();
    let bench = &plot.bench;
    let put = bench.put(tasks(2));
    let (_, claims) = bench.take_all();
    assert_eq!(claims.len(), 2);
    let names: Vec<String> = (0..5_000).map(|n| format!("nobody-{n}")).collect();
    let names: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
    let _: i64 = plot.raw("RPUSH", b"dd", &names);
    for (kind, mask) in
        [(&b"odd"[..], "7"), (b"", "x"), (&kind(1)[..], "nan"), (&kind(2)[..], "-1")]
    {
        let _: i64 = plot.raw("HSET", b"ln", &[kind, mask.as_bytes()]);
    }
    for (field, text) in [("guard", "x"), ("tick", "y"), ("completed", "many"), ("failed", "z")] {
        let _: i64 = plot.raw("HSET", b"st", &[field.as_bytes(), text.as_bytes()]);
    }
    // A line of a kind whose name is too short: its tickets would be too.
    let entry = [0; 22];
    let _: i64 = plot.raw("LPUSH", &line(0, b"odd"), &[&entry]);
    bench.warm_up_sweeps();
    let (mut taken, mut sweeps) = (Vec::new(), 0);
    while taken.len() < put.len() {
        let (sweeper, claims) = bench.take_over();
        for claim in &claims {
            bench.end(&sweeper, claim, Order::Release { lane: Lane::Shared });
        }
        taken.extend(ids(&claims));
        sweeps += 1;
        assert!(sweeps <= 10, "five thousand names hold up what was lost");
    }
    let more = bench.put([task(KINDS[1]), task(KINDS[2])]);
    let (session, claims) = bench.take_all();
    assert_eq!(claims.len(), put.len() + more.len());
    for claim in &claims {
        bench.end(&session, claim, Order::Retry { after: HOUR, front: false });
    }
    bench.stats();
    assert_eq!(bench.list(State::Retry).len(), 4);
}

/// A key of another type: a typed error or a repair, and nothing of what is intact is lost.
#[test]
fn keys_of_another_type_are_told_and_cost_no_task() {
    let site = Site::new();
    for name in [
        "t", "tr", "k", "ref", "z", "ln", "l", "q", "e", "dd", "s", "r", "c", "x", "d", "or", "st",
        "cfg", "line",
    ] {
        let plot = site.plot();
        let bench = &plot.bench;
        let put = bench.put(tasks(6));
        let session = bench.session();
        let claims = bench.take(&session, 4);
        let name = match name {
            "line" => line(0, &kind(1)),
            name => name.as_bytes().to_vec(),
        };
        let shown = String::from_utf8_lossy(&name).into_owned();
        // What is there is put aside, as a mistaken operator might.
        let was: i64 = plot.raw("EXISTS", &name, &[]);
        let aside = plot.key("aside");
        if was == 1 {
            let _: () = plot.raw("RENAME", &name, &[&aside]);
        }
        let _: () = plot.raw("SET", &name, &[b"junk"]);
        if shown != "ln" {
            let _: i64 = plot.raw("HSET", b"ln", &[&kind(1)[..], b"1"]);
        }
        let begun = Instant::now();
        let orders = [
            Order::Retry { after: HOUR, front: false },
            keep(HOUR * 900),
            Order::Archive { reason: oncue::state::Reason::Exhausted },
            release(),
        ];
        let list: Vec<_> = claims
            .iter()
            .zip(orders)
            .map(|(claim, order)| Settlement {
                trail: Some(trail(1)),
                ..Settlement::new(claim.ticket, order)
            })
            .collect();
        tolerated(&shown, run(bench.broker.settle(session.clone(), list.clone())));
        let beat = Beat { sessions: vec![session.clone()], lease: LEASE, presence: None };
        tolerated(&shown, run(bench.broker.beat(beat)));
        tolerated(&shown, run(bench.broker.advance(bench.queue.clone(), 100)));
        let other = bench.session();
        tolerated(&shown, run(bench.broker.dequeue(bench.ask(&other, 1))));
        tolerated(&shown, run(bench.broker.retire(other.clone(), Vec::new())));
        tolerated(&shown, run(bench.broker.reclaim(bench.sweep(&bench.session()))));
        let late =
            bench.batch([task(KINDS[1]), task(KINDS[0]).key("k"), task(KINDS[0]).after(HOUR)]);
        let stored = run(bench.broker.enqueue(late.clone()));
        let plain = bench.batch(tasks(1));
        let plainly = run(bench.broker.enqueue(plain.clone()));
        tolerated(&shown, run(bench.broker.stats()));
        assert!(begun.elapsed() < Duration::from_secs(10), "{shown}");
        // The operator puts it right.
        if was == 1 {
            let _: () = ::redis::cmd("RENAME")
                .arg(&aside)
                .arg(plot.key(&name))
                .query(&mut site.server.admin().expect("an admin"))
                .expect("put back");
        } else if plot.raw::<String>("TYPE", &name, &[]) == "string" {
            let _: i64 = plot.raw("DEL", &name, &[]);
        }
        let mut all = put.clone();
        for (batch, answer) in [(&late, stored), (&plain, plainly)] {
            tolerated(&shown, answer);
            // Sent again, it is there, once.
            run(bench.broker.enqueue(batch.clone())).expect("stored");
            all.extend(batch.tasks.iter().map(|task| task.envelope.id()));
        }
        drain(&plot);
        let audit = plot.audit();
        for id in all {
            let places = audit.places_of(id);
            assert!(matches!(places[..], ["c" | "x"]), "{shown}: {id} is in {places:?}");
        }
        assert_eq!(audit.complaint(), None, "{shown}");
    }
}

/// Works until every task is kept.
fn drain(plot: &Plot<'_>) {
    let bench = &plot.bench;
    for _ in 0..8 {
        bench.pass(HOUR);
        for _ in 0..3 {
            plot.sweep();
            bench.pass(GAP / 2 + SECOND);
        }
        bench.advance();
        for lane in [Lane::Shared, Lane::Alone] {
            let (session, claims) = plot.claim_from(lane, CLAIMS_MAX);
            // A refused enqueue that was repeated may have lined up a task twice: it runs twice, and ends once.
            let list = claims.iter().map(|claim| Settlement::new(claim.ticket, keep(HOUR * 900)));
            bench.settle(&session, list.collect());
        }
    }
}

fn tolerated<T>(shown: &str, answer: oncue::Result<T>) {
    if let Err(error) = answer {
        let typed = error.is_corrupt() || error.is_fenced();
        assert!(typed && !error.is_unreachable(), "{shown}: {} {error}", error.code());
    }
}
