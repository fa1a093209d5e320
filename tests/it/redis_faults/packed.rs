//! Many ids in one entry of a line and in one claim: they are served in order and settled one by one whatever is cut
//! where, and what is counted is what is there.

use std::collections::BTreeSet;

use oncue::broker::*;
use oncue::queue::KindHash;
use oncue::state::State;
use oncue::task::TaskId;

use super::site::{Plot, Site};
use crate::fixture::*;

use Settled::{Done, Gone};

/// More than two entries and two claims have room for.
const MANY: usize = 300;

/// Fails unless so many tasks are pending and active, by the counts, the pages and the books.
#[track_caller]
fn count(plot: &Plot<'_>, pending: usize, active: usize) {
    let stats = plot.bench.stats();
    let counted = [State::Pending, State::Active].map(|state| stats.count(state) as usize);
    let listed = [State::Pending, State::Active].map(|state| plot.bench.list(state).len());
    assert_eq!((counted, listed), ([pending, active], [pending, active]));
    assert_eq!(plot.audit().complaint(), None);
}

fn drop_of(claim: &Claim) -> Settlement {
    Settlement::new(claim.ticket, Order::Drop)
}

#[test]
fn what_is_cut_anywhere_is_served_in_order() {
    let site = Site::new();
    let plot = site.plot();
    let bench = &plot.bench;
    let mut put = bench.put(tasks(MANY));
    // One by one, so that entries are small, and then large again.
    (0..20).for_each(|_| put.extend(bench.put(tasks(1))));
    put.extend(bench.put(tasks(MANY)));
    let session = bench.session();
    let mut served = Vec::new();
    for most in [1, 1, 126, 1, 127, 128, 129, 60, 10] {
        let claims = bench.take(&session, most);
        assert_eq!(claims.len(), most);
        served.extend(ids(&claims));
        count(&plot, put.len() - served.len(), served.len());
    }
    assert_eq!(bench.stats().oldest, Some(bench.now()));
    served.extend(ids(&bench.take(&session, CLAIMS_MAX)));
    assert!(served == put);
    count(&plot, 0, put.len());
    assert_eq!(plot.raw::<Option<u64>>("HGET", b"st", &[b"junk"]), None);
}

#[test]
fn what_goes_back_keeps_its_order_and_goes_first() {
    let site = Site::new();
    let plot = site.plot();
    let bench = &plot.bench;
    let put = bench.put(tasks(2 * MANY));
    let session = bench.session();
    let claims = bench.take(&session, MANY + 50);
    let back = claims.iter().map(|claim| Settlement::new(claim.ticket, release())).collect();
    bench.settle(&session, back);
    assert!(ids(&bench.take(&session, MANY)) == put[..MANY]);
    count(&plot, MANY, MANY);
    // Every third is known.
    let known: Vec<TaskId> = put[..MANY].iter().copied().step_by(3).collect();
    assert_eq!(bench.retire(&session, &known), MANY - known.len());
    count(&plot, 2 * MANY - known.len(), known.len());
    let unknown = put.iter().filter(|id| !known.contains(id)).copied();
    assert!(ids(&bench.take_all().1) == unknown.collect::<Vec<_>>());
}

#[test]
fn a_claim_is_settled_in_parts_in_any_order_and_each_part_once() {
    let site = Site::new();
    let plot = site.plot();
    let bench = &plot.bench;
    let put = bench.put(tasks(MANY));
    let (session, claims) = bench.take_all();
    // Each comes once, neighbours never together: 7 and 300 have no divisor in common.
    let scattered: Vec<Claim> = (0..MANY).map(|n| claims[n * 7 % MANY].clone()).collect();
    let mut left = MANY;
    for (n, part) in scattered.chunks(37).enumerate() {
        let list: Vec<_> = match n % 3 {
            0 => part.iter().map(drop_of).collect(),
            1 => part.iter().map(|claim| Settlement::new(claim.ticket, complete())).collect(),
            _ => {
                let order = |n| if n % 2 == 0 { keep(HOUR) } else { complete() };
                let ended = part.iter().enumerate();
                ended.map(|(n, claim)| Settlement::new(claim.ticket, order(n))).collect()
            }
        };
        assert_eq!(bench.settle(&session, list.clone()), vec![Done; part.len()]);
        left -= part.len();
        count(&plot, 0, left);
        let before = bench.stats();
        assert_eq!(bench.settle(&session, list), vec![Gone; part.len()], "sent again");
        assert_eq!(bench.stats(), before);
        // One that is held among those that are not, and after the session was retired.
        if n == 3 {
            assert_eq!(bench.retire(&session, &put), 0);
        }
    }
    assert_eq!(plot.raw::<i64>("EXISTS", &held_by(&session), &[]), 0, "nothing is left behind");
}

fn held_by(session: &Session) -> Vec<u8> {
    [b"a:", &session.id.0[..]].concat()
}

#[test]
fn held_and_not_held_are_told_apart_in_one_settle() {
    let site = Site::new();
    let plot = site.plot();
    let bench = &plot.bench;
    bench.put(tasks(6));
    let (session, claims) = bench.take_all();
    bench.end(&session, &claims[2], complete());
    let list: Vec<_> = [5, 2, 0, 3].map(|at| drop_of(&claims[at])).into();
    assert_eq!(bench.settle(&session, list), [Done, Gone, Done, Done]);
    let list = claims.iter().map(|claim| Settlement::new(claim.ticket, complete())).collect();
    assert_eq!(bench.settle(&session, list), [Gone, Done, Gone, Gone, Done, Gone]);
    count(&plot, 0, 0);
    assert_eq!(bench.stats().completed, 3);
}

/// A control of the fence: the right task in the wrong claim is not held, by any order.
#[test]
fn a_settle_that_names_another_claim_is_gone_and_changes_nothing() {
    let site = Site::new();
    let plot = site.plot();
    let bench = &plot.bench;
    let put = bench.put(tasks(4));
    let session = bench.session();
    let (first, second) = (bench.take(&session, 2), bench.take(&session, 2));
    let foreign = bench.put_one(task(KINDS[0]));
    let other = bench.take_all().1[0].ticket;
    let before = (plot.audit().places, bench.stats());
    let real = first[0].ticket;
    let wrong = [
        Ticket { claim: second[0].ticket.claim, ..real },
        Ticket { claim: other.claim, ..real },
        Ticket { claim: 0, ..real },
        Ticket { claim: u64::MAX, ..real },
        Ticket { priority: 1, ..real },
        Ticket { kind: KindHash::of(KINDS[1]), ..real },
        other,
    ];
    for ticket in wrong {
        for order in [
            complete(),
            keep(HOUR),
            Order::Retry { after: SECOND, front: false },
            release(),
            Order::Drop,
        ] {
            let trail = Some(trail(1));
            let list = vec![Settlement { trail, ..Settlement::new(ticket, order) }];
            assert_eq!(bench.settle(&session, list), [Gone], "{ticket:?} {}", ticket.claim);
        }
    }
    assert_eq!((plot.audit().places, bench.stats()), before);
    // Of one that is told rightly and wrongly the right one counts.
    let list = vec![drop_of(&first[0]), Settlement::new(wrong[0], complete())];
    assert_eq!(bench.settle(&session, list), [Done, Gone]);
    plot.audit().check(put[1..].iter().copied().chain([foreign]));
}

#[test]
fn an_older_claim_of_the_same_session_is_gone() {
    let site = Site::new();
    let plot = site.plot();
    let bench = &plot.bench;
    bench.put(tasks(3));
    let session = bench.session();
    let first = bench.take(&session, 3);
    bench.end(&session, &first[1], release());
    let again = bench.take(&session, 1);
    assert_eq!(again[0].id(), first[1].id());
    let list = vec![drop_of(&first[1]), Settlement::new(again[0].ticket, complete())];
    assert_eq!(bench.settle(&session, list), [Gone, Done]);
    count(&plot, 0, 2);
}

#[test]
fn what_is_taken_over_is_cut_to_what_was_asked_for() {
    let site = Site::new();
    let plot = site.plot();
    let bench = &plot.bench;
    let put: BTreeSet<_> = bench.put(tasks(MANY)).into_iter().collect();
    bench.take_all();
    bench.warm_up_sweeps();
    let mut taken = BTreeSet::new();
    for most in [1, 99, 127, 500] {
        let session = bench.session();
        let sweep = Sweep { max: most, ..bench.sweep(&session) };
        let claims = run(bench.broker.reclaim(sweep)).expect("taken over");
        assert_eq!(claims.len(), most.min(MANY - taken.len()));
        assert!(claims.iter().all(|claim| claim.cause == Cause::Lost));
        count(&plot, 0, MANY - taken.len());
        taken.extend(ids(&claims));
        let list = claims.iter().map(|claim| Settlement::new(claim.ticket, keep(HOUR))).collect();
        assert_eq!(bench.settle(&session, list), vec![Done; claims.len()]);
    }
    assert!(taken == put);
}

#[test]
fn what_nobody_takes_is_cut_too_and_the_younger_stay() {
    let site = Site::new();
    let plot = site.plot();
    let bench = &plot.bench;
    let odd = |n: usize| (0..n).map(|_| task("odd:one"));
    let old = bench.put(odd(MANY));
    let session = bench.session();
    // The first of them are handed back later: they are young, and stand before all others.
    let accept = vec![(KindHash::of("odd:one"), 20)];
    let young = bench.claims(Ask { accept, ..bench.ask(&session, 20) });
    bench.pass(GRACE - 2 * SECOND);
    bench.retire(&session, &[]);
    bench.put(odd(3));
    bench.pass(2 * SECOND);
    let mut taken = Vec::new();
    for most in [1, 127, 30, 500] {
        let sweep = Sweep { max: most, ..bench.sweep(&bench.session()) };
        let claims = run(bench.broker.reclaim(sweep)).expect("taken");
        assert!(claims.iter().all(|claim| claim.cause == Cause::Refused));
        taken.extend(ids(&claims));
        count(&plot, MANY + 3 - taken.len(), taken.len());
    }
    assert!(taken == old[young.len()..]);
}

#[test]
fn pages_of_pending_tasks_go_on_where_they_were_while_tasks_are_claimed() {
    let site = Site::new();
    let plot = site.plot();
    let bench = &plot.bench;
    let mut put = bench.put(tasks(MANY));
    (0..20).for_each(|_| put.extend(bench.put(tasks(1))));
    put.extend(bench.put((0..MANY).map(|_| task(KINDS[0]).priority(1))));
    let page = |cursor, rows| {
        let page = Page { queue: bench.queue.clone(), state: State::Pending, cursor, rows };
        let listing = run(bench.broker.list(page)).expect("a page");
        let seen: Vec<_> = listing.tasks.iter().map(|view| view.stored.id()).collect();
        (seen, listing.cursor)
    };
    for rows in [1, 7, 127, 128, 129, 1_000] {
        let (mut seen, mut cursor, mut pages) = (Vec::new(), None, 0);
        loop {
            let (some, next) = page(cursor, rows);
            assert!(some.len() == rows || next.is_none());
            seen.extend(some);
            (cursor, pages) = (next, pages + 1);
            if cursor.is_none() {
                break;
            }
        }
        assert!(seen == put, "{rows} rows");
        assert_eq!(pages, put.len().div_ceil(rows));
    }
    // What was shown is claimed, and a bit more: the rest of the entry comes, and nothing twice.
    let (shown, cursor) = page(None, 200);
    let session = bench.session();
    let lower = Ask { max: 210, ..bench.ask(&session, 210) };
    let urgent = bench.take(&session, MANY);
    assert!(ids(&urgent) == put[MANY + 20..]);
    let claimed = bench.claims(lower);
    assert!(ids(&claimed)[..200] == shown);
    assert!(page(cursor, 1_000).0 == put[210..MANY + 20]);
}

/// More kinds than a command of Lua takes words.
#[test]
fn any_number_of_kinds_is_accepted_and_known() {
    let site = Site::new();
    let plot = site.plot();
    let bench = &plot.bench;
    let put = bench.put(tasks(2));
    let others = (0..20_000u32)
        .map(|n| KindHash([&n.to_be_bytes()[..], &[0]].concat().try_into().expect("five")));
    let known: Vec<KindHash> = others.chain([KindHash::of(KINDS[0])]).collect();
    let accept = known.iter().map(|kind| (*kind, 1)).collect();
    let session = bench.session();
    let claims = bench.claims(Ask { accept, ..bench.ask(&session, 1) });
    assert_eq!(ids(&claims), put[..1]);
    let sweep = Sweep { known, ..bench.sweep(&bench.session()) };
    run(bench.broker.reclaim(sweep)).expect("swept");
}

/// Records that are few come with the claim unless they are large; either way they come.
#[test]
fn large_records_come_beside_the_claim() {
    let site = Site::new();
    let plot = site.plot();
    let bench = &plot.bench;
    // Not counted: it subscribes, too.
    bench.take_all();
    for (bytes, calls) in [(100, 1), (30_000, 2)] {
        bench.put((0..4).map(|_| task(KINDS[0]).body(bytes)));
        let session = bench.session();
        let before = site.proxy.counts().requests;
        let claims = bench.take(&session, 4);
        assert_eq!(site.proxy.counts().requests - before, calls, "{bytes} bytes each");
        assert!(claims.iter().all(|claim| claim.stored.record_len() > bytes));
        let list = claims.iter().map(|claim| Settlement::new(claim.ticket, complete())).collect();
        assert_eq!(bench.settle(&session, list), [Done; 4]);
    }
}
