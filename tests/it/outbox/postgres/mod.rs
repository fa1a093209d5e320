//! The recipe for Postgres, on a real one.

mod recipe;
mod server;

use std::time::{Duration, Instant};

use oncue::event::Event;
use oncue::outbox::{Moved, OutboxStore, Page, Relay};
use oncue::{Client, Parcel, TaskId};
use tokio_postgres::NoTls;

use self::recipe::{PostgresOutbox, TABLE, enqueue_in, listen};
use self::server::Server;
use super::shop::{Working, on_both, pending};
use crate::runtime::company::*;

/// Longer than any test: what is seen, was told.
const NEVER: Duration = Duration::from_secs(3_600);

/// Runs what an application does, on a connection of its own.
fn at<T>(server: &Server, work: impl AsyncFnOnce(&mut tokio_postgres::Client) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let (mut client, connection) = server.config().connect(NoTls).await.expect("connected");
        tokio::spawn(connection);
        work(&mut client).await
    })
}

/// One transaction with these tasks.
fn put(server: &Server, parcels: &[Parcel], commits: bool) {
    at(server, async |client| {
        let tx = client.transaction().await.expect("begins");
        for parcel in parcels {
            tx.execute("INSERT INTO orders DEFAULT VALUES", &[]).await.expect("inserted");
            enqueue_in(&tx, parcel).await.expect("written");
        }
        match commits {
            true => tx.commit().await.expect("committed"),
            false => tx.rollback().await.expect("rolled back"),
        }
    });
}

fn shop() -> Server {
    let server = Server::start();
    at(&server, async |client| {
        client.batch_execute(TABLE).await.expect("made");
        client.batch_execute(TABLE).await.expect("it is there already");
        let orders = "CREATE TABLE orders (number bigint GENERATED ALWAYS AS IDENTITY)";
        client.batch_execute(orders).await.expect("made");
    });
    server
}

fn count(server: &Server, table: &str) -> i64 {
    at(server, async |client| {
        let row = client.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await;
        row.expect("counted").get(0)
    })
}

fn parcels(client: &Client, numbers: std::ops::Range<u64>) -> Vec<Parcel> {
    numbers.map(|number| client.parcel(Number(number)).expect("sealed")).collect()
}

fn ids(parcels: &[Parcel]) -> Vec<TaskId> {
    parcels.iter().map(Parcel::id).collect()
}

#[test]
fn what_postgres_commits_is_enqueued_and_what_it_rolls_back_never_was() {
    on_both(|client| {
        let server = shop();
        let parcels = parcels(client, 0..7);
        put(&server, &parcels[..2], true);
        put(&server, &parcels[2..4], false);
        put(&server, &parcels[4..5], true);
        // A key that is there already.
        put(&server, &parcels[4..5], true);
        assert_eq!((count(&server, "orders"), count(&server, "oncue_outbox")), (4, 3));
        let relay = Relay::new(client.clone(), PostgresOutbox::new(server.config())).poll(NEVER);
        let moved = tokio_once(&relay);
        assert_eq!((moved.handed, moved.refused, moved.waiting), (3, 0, 0));
        let kept = [&parcels[..2], &parcels[4..5]].concat();
        assert_eq!(pending(client, "default"), ids(&kept));
        assert_eq!(count(&server, "oncue_outbox"), 0);
        // Handed over and not removed, as a relay does that dies between the two.
        put(&server, &parcels[..1], true);
        assert_eq!(tokio_once(&relay).handed, 1);
        assert_eq!(pending(client, "default"), ids(&kept));
    });
}

/// Without actix, as many who have Postgres are.
fn tokio_once(relay: &Relay) -> Moved {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(relay.once()).expect("handed over")
}

#[test]
fn a_commit_nudges_the_relay_and_a_crash_of_postgres_costs_nothing() {
    let (mut server, client) = (shop(), client());
    let all = parcels(&client, 0..4);
    let relay = Relay::new(client.clone(), PostgresOutbox::new(server.config())).poll(NEVER);
    let working = Working::start(relay);
    let listens = |server: &Server| {
        let (config, relay) = (server.config(), working.relay.clone());
        let listening = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(listen(&config, &relay))
        });
        let there = "pg_stat_activity WHERE query = 'LISTEN oncue_outbox' AND state = 'idle'";
        let deadline = Instant::now() + PATIENCE;
        // The server tells nobody of it.
        while count(server, there) < 1 {
            assert!(Instant::now() < deadline, "nobody listens");
            std::thread::sleep(Duration::from_millis(5));
        }
        listening
    };
    let listening = listens(&server);
    put(&server, &all[..1], true);
    working.handed(1);
    server.crash();
    assert!(listening.join().expect("no panic").is_err(), "it says that the connection broke");
    working.relay.nudge();
    working.until(|event| matches!(event, Event::OutboxFailed { .. }).then_some(()));
    server.restart();
    let listening = listens(&server);
    put(&server, &all[1..], true);
    // A relay that tries again may see them one by one.
    working.handed(3);
    assert_eq!(pending(&client, "default"), ids(&all));
    assert_eq!(working.end().0.handed, 4);
    drop(server);
    assert!(listening.join().expect("no panic").is_err());
}

#[test]
fn a_page_has_no_more_rows_and_bytes_than_asked_for() {
    let (server, client) = (shop(), client());
    let all = parcels(&client, 0..5);
    put(&server, &all, true);
    let size = all[0].as_bytes().len();
    let store = PostgresOutbox::new(server.config());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let read = |after, rows, bytes| {
        let page = Page { after, rows, bytes };
        let found = runtime.block_on(store.read(page)).expect("read");
        found.into_iter().map(|row| row.number).collect::<Vec<_>>()
    };
    assert_eq!(read(0, 10, usize::MAX >> 1), [1, 2, 3, 4, 5]);
    assert_eq!(read(2, 2, usize::MAX >> 1), [3, 4]);
    assert_eq!(read(0, 10, size + 1), [1, 2]);
    assert_eq!(read(0, 10, 1), [1], "one in any case");
    assert!(read(5, 10, 1).is_empty());
}

/// The code in the document is the code that is tested.
#[test]
fn the_document_shows_this_recipe() {
    let document = include_str!("../../../../docs/outbox.md");
    let recipe = include_str!("recipe.rs");
    let shown = |document: &str| document.contains(&format!("```rust\n{recipe}```"));
    assert!(shown(document), "docs/outbox.md does not show tests/it/outbox/postgres/recipe.rs");
    assert!(!shown(&document.replace("ON CONFLICT (id) DO NOTHING", "")));
}
