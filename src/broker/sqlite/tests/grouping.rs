//! Group commit: many commands in one transaction, each for itself.

use std::sync::mpsc;

use super::*;
use crate::broker::Inspect;
use crate::broker::sqlite::fault::Step;
use crate::broker::sqlite::txn::Txn;
use crate::broker::sqlite::writer::Haste;
use crate::error::{Error, Result};

/// Adds a queue of this name, then does what it is told.
fn add(
    broker: &SqliteBroker,
    name: &'static str,
    then: impl Fn() -> Step<()> + Send + 'static,
) -> tokio::task::JoinHandle<Result<()>> {
    tokio::spawn(broker.0.writer.call(Haste::Soft, move |tx: &mut Txn<'_>| {
        tx.queue_or_new(&QueueName::parse(name)?)?;
        then().map(Some)
    }))
}

async fn names(broker: &SqliteBroker) -> Vec<String> {
    let stats = broker.stats().await.expect("reads");
    stats.iter().map(|stats| stats.queue.to_string()).collect()
}

/// Runs three commands in one transaction, the middle one of which fails.
async fn beside_neighbours(fail: fn() -> Step<()>) -> Error {
    let bench = Bench::new();
    let broker = bench.open();
    let (go, wait) = mpsc::channel::<()>();
    let (began, begun) = tokio::sync::oneshot::channel();
    let (mut began, wait) = (Some(began), std::sync::Mutex::new(wait));
    let gate = tokio::spawn(broker.0.writer.call(Haste::Look, move |_| {
        if let Some(began) = began.take() {
            began.send(()).expect("heard");
        }
        wait.lock().expect("not poisoned").recv().expect("opened");
        Ok(Some(()))
    }));
    begun.await.expect("the writer is held");
    let first = add(&broker, "first", || Ok(()));
    let middle = add(&broker, "middle", fail);
    let last = add(&broker, "last", || Ok(()));
    // Each task has sent its command once it was polled; the runtime of this test has one thread.
    tokio::task::yield_now().await;
    go.send(()).expect("opened");
    gate.await.expect("ran").expect("held");
    first.await.expect("ran").expect("a neighbour is not harmed");
    last.await.expect("ran").expect("a neighbour is not harmed");
    let error = middle.await.expect("ran").expect_err("failed");
    assert_eq!(names(&broker).await, ["first", "last"]);
    broker.enqueue(one()).await.expect("the writer goes on");
    error
}

#[tokio::test]
async fn what_sqlite_refuses_fails_alone() {
    let error = beside_neighbours(|| Err(rusqlite::Error::QueryReturnedNoRows.into())).await;
    assert!(error.is_corrupt());
}

#[tokio::test]
async fn what_is_refused_late_is_undone() {
    assert!(beside_neighbours(|| Err(Error::fenced("too late").into())).await.is_fenced());
}

#[tokio::test]
async fn a_panic_fails_alone() {
    assert!(beside_neighbours(|| panic!("planned")).await.is_unreachable());
}

#[tokio::test]
async fn a_held_lock_is_waited_for() {
    let bench = Bench::new();
    let broker = bench.open();
    let conn = rusqlite::Connection::open(bench.path()).expect("opens");
    conn.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let stored = tokio::spawn(broker.enqueue(one()));
    tokio::task::yield_now().await;
    assert!(!stored.is_finished());
    conn.execute_batch("COMMIT").expect("unlocked");
    stored.await.expect("ran").expect("stored");
}
