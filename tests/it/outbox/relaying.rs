//! Relays: what they see, what they are told, what they put up with, and how they end.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use oncue::broker::{Reply, Setting};
use oncue::event::Event;
use oncue::outbox::{Outbox, OutboxStore, Page, Relay, Row};
use oncue::queue::QueueName;
use oncue::{Client, Error, Task, TaskId};

use super::shop::{Shop, Working, on_both, pending};
use crate::runtime::company::*;

/// Longer than any test: what is seen, was not seen by looking again after a while.
const NEVER: Duration = Duration::from_secs(3_600);

fn put(shop: &Shop, client: &Client, numbers: std::ops::Range<u64>) -> Vec<TaskId> {
    let mut open = shop.open();
    let tx = open.transaction().expect("begins");
    let ids = numbers.map(|number| client.enqueue_in(&tx, Number(number)).expect("written"));
    let ids = ids.collect();
    tx.commit().expect("committed");
    ids
}

#[test]
fn what_is_committed_while_it_runs_is_seen_without_a_word() {
    on_both(|client| {
        let shop = Shop::new();
        let working = Working::start(Relay::new(client.clone(), shop.outbox()));
        let mut all = put(&shop, client, 0..3);
        working.handed(3);
        all.extend(put(&shop, client, 3..5));
        working.handed(2);
        assert_eq!(pending(client, "default"), all);
        let (moved, told) = working.end();
        assert_eq!((moved.handed, moved.refused, moved.waiting), (5, 0, 0));
        assert!(told.is_empty(), "{told:?}");
    });
}

/// A store that says of nothing that it changed.
struct Silent(Outbox, AtomicUsize);

impl OutboxStore for Silent {
    fn read(&self, page: Page) -> Reply<Vec<Row>> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.read(page)
    }

    fn remove(&self, rows: Vec<i64>) -> Reply<()> {
        self.0.remove(rows)
    }
}

#[test]
fn a_nudge_is_enough() {
    let (client, shop) = (client(), Shop::new());
    let first = put(&shop, &client, 0..1);
    let store = std::sync::Arc::new(Silent(shop.outbox(), AtomicUsize::new(0)));
    let working = Working::start(Relay::new(client.clone(), store.clone()).poll(NEVER));
    working.handed(1);
    let second = put(&shop, &client, 1..2);
    working.relay.nudge();
    working.handed(1);
    assert_eq!(pending(&client, "default"), [first, second].concat());
    let (moved, _) = working.end();
    assert_eq!(moved.handed, 2);
    // Two passes at most, each of which reads until there is nothing.
    let reads = store.1.load(Ordering::SeqCst);
    assert!((3..=4).contains(&reads), "{reads}");
}

#[test]
fn damaged_rows_stay_are_told_once_and_block_nothing() {
    let (client, shop) = (client(), Shop::new());
    let open = shop.open();
    let before = put(&shop, &client, 0..2);
    let spoil = |parcel: &[u8]| {
        let insert = "INSERT INTO oncue_outbox (id, parcel) VALUES (randomblob(16), ?1)";
        open.execute(insert, [parcel]).expect("written");
        open.last_insert_rowid()
    };
    let good = shop.parcels().remove(0);
    let mut bad = vec![
        spoil(b""),
        spoil(b"nonsense"),
        spoil(&good[..good.len() - 1]),
        spoil(&[&[9], &good[1..]].concat()),
        spoil(&vec![1; oncue::PARCEL_BYTES_MAX * 2]),
    ];
    // As a table may hold that is not STRICT, or a store of somebody else's.
    let text = "INSERT INTO oncue_outbox (id, parcel) VALUES (randomblob(16), 'text')";
    assert!(open.execute(text, []).is_err(), "this one is");
    let refused = client.parcel(Number(9).draft().replicas(1)).expect("sealed");
    bad.push(spoil(refused.as_bytes()));
    let behind = put(&shop, &client, 2..4);
    let working = Working::start(Relay::new(client.clone(), shop.outbox()));
    let mut told = HashSet::new();
    working.until(|event| {
        assert!(!matches!(event, Event::OutboxFailed { .. }), "{event:?}");
        if let Event::ParcelRefused { row, id, why } = event {
            assert!(told.insert(*row), "{row} is told twice");
            assert_eq!(*id, (Some(row) == bad.last()).then_some(refused.id()));
            assert!(!why.is_empty());
        }
        matches!(event, Event::HandedOver { rows: 4 }).then_some(())
    });
    assert_eq!(told, bad.iter().copied().collect());
    assert_eq!(pending(&client, "default"), [before, behind].concat());
    let last = put(&shop, &client, 4..5);
    working.handed(1);
    assert_eq!(pending(&client, "default").last(), last.last());
    let (moved, rest) = working.end();
    assert_eq!((moved.handed, shop.rows()), (5, bad.len()));
    assert!(rest.is_empty(), "they are not told again: {rest:?}");
    // Whoever comes next tells them anew.
    let moved = shop.relay_once(&client).expect("a pass");
    assert_eq!((moved.handed, moved.refused), (0, bad.len()));
}

#[test]
fn a_full_queue_is_waited_for() {
    on_both(|client| {
        let shop = Shop::new();
        let queue = || QueueName::parse("default").expect("a name");
        let limit = |most| {
            oncue::block_on(client.broker().set(queue(), Setting::Limit(most))).expect("set");
        };
        limit(Some(2));
        let all = put(&shop, client, 0..5);
        let open = shop.open();
        client.enqueue_in(&open, Other(1)).expect("written");
        let moved = shop.relay_once(client).expect("waiting is no error");
        assert_eq!((moved.handed, moved.waiting), (3, 3), "what is behind for others goes on");
        assert_eq!(pending(client, "default"), all[..2]);
        let working = Working::start(Relay::new(client.clone(), shop.outbox()));
        for id in &all[..2] {
            let handle = client.handle("default", *id).expect("a name");
            oncue::block_on(handle.delete()).expect("deleted");
        }
        working.handed(2);
        assert_eq!(pending(client, "default"), all[2..4]);
        limit(None);
        working.handed(1);
        assert_eq!(pending(client, "default"), all[2..]);
        assert_eq!(working.end().0.handed, 3);
    });
}

#[test]
fn several_relays_on_one_outbox_do_no_harm() {
    on_both(|client| {
        let shop = Shop::new();
        let all = put(&shop, client, 0..3_000);
        let relays: Vec<_> =
            (0..3).map(|_| Working::start(Relay::new(client.clone(), shop.outbox()))).collect();
        let found = || pending(client, "default").len() == all.len() && shop.rows() == 0;
        for working in &relays {
            // Each ends its pass by handing over what is left, which may be nothing.
            while !found() {
                working.until(|_| Some(()));
            }
        }
        relays.into_iter().for_each(|working| drop(working.end()));
        let found: HashSet<TaskId> = pending(client, "default").into_iter().collect();
        assert_eq!(found.len(), all.len());
        assert_eq!(found, all.into_iter().collect());
    });
}

#[cfg(feature = "redis")]
#[test]
fn a_broker_that_is_away_costs_nothing() {
    use crate::redis_servers::proxy::Proxy;
    use crate::redis_servers::server::Server;

    let (server, shop) = (Server::start(), Shop::new());
    let proxy = Proxy::to(&server);
    let client = client_on(&format!("{}?timeout=200ms", proxy.url()));
    let all = put(&shop, &client, 0..3);
    proxy.refuse(true);
    proxy.reset();
    let error = shop.relay_once(&client).expect_err("nobody is there");
    assert!(error.is_unreachable(), "{error:?}");
    assert_eq!(shop.rows(), 3);
    let working = Working::start(Relay::new(client.clone(), shop.outbox()));
    working
        .until(|event| matches!(event, Event::BrokerFailed { verb: "enqueue", .. }).then_some(()));
    proxy.refuse(false);
    working.handed(3);
    assert_eq!(pending(&client, "default"), all);
    working.end();
}

/// An outbox that fails where it is told to, once each.
struct Failing(Outbox, Mutex<Vec<&'static str>>);

impl Failing {
    fn fails(&self, what: &str) -> bool {
        let mut plan = self.1.lock().expect("not poisoned");
        let found = plan.first().is_some_and(|next| *next == what);
        if found {
            plan.remove(0);
        }
        found
    }
}

fn failure<T: Send + 'static>() -> Reply<T> {
    Box::pin(std::future::ready(Err(Error::system("planned"))))
}

impl OutboxStore for Failing {
    fn read(&self, page: Page) -> Reply<Vec<Row>> {
        if self.fails("read") { failure() } else { self.0.read(page) }
    }

    fn remove(&self, rows: Vec<i64>) -> Reply<()> {
        if self.fails("remove") { failure() } else { self.0.remove(rows) }
    }
}

#[test]
fn an_outbox_that_fails_is_tried_again_and_nothing_comes_twice() {
    let (client, shop) = (client(), Shop::new());
    let all = put(&shop, &client, 0..3);
    let plan = Mutex::new(vec!["read", "remove", "read"]);
    let working = Working::start(Relay::new(client.clone(), Failing(shop.outbox(), plan)));
    for _ in 0..3 {
        working.until(|event| matches!(event, Event::OutboxFailed { .. }).then_some(()));
    }
    working.handed(3);
    assert_eq!((pending(&client, "default"), shop.rows()), (all, 0));
    assert_eq!(working.end().0.handed, 3);
}

#[test]
fn a_relay_that_is_dropped_or_stopped_leaves_the_rest_where_it_is() {
    let (client, shop) = (client(), Shop::new());
    let relay = Relay::new(client.clone(), shop.outbox());
    relay.stop();
    put(&shop, &client, 0..3);
    assert_eq!(oncue::block_on(relay.run()), Default::default());
    drop(Relay::new(client.clone(), shop.outbox()).run());
    assert_eq!((pending(&client, "default").len(), shop.rows()), (0, 3));
    // In any journal an application may choose.
    let shop = Shop::new();
    put(&shop, &client, 0..3);
    shop.open().execute_batch("PRAGMA journal_mode = DELETE").expect("set");
    assert_eq!(shop.relay_once(&client).expect("handed over").handed, 3);
}
