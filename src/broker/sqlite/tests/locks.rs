//! Locks: what they cost the others in a transaction, and that none is kept for ever.

use super::*;
use crate::broker::sqlite::writer::Haste;
use crate::broker::{Conflict, Hold, Inspect, Lock, LockName, Operate, Setting};
use crate::state::State;

fn locked(name: u8) -> NewTask {
    let lock = Lock {
        names: vec![LockName([name; 16])],
        hold: Hold::Always,
        lasts: Some(LEASE),
        conflict: Conflict::Keep,
        within: None,
    };
    NewTask { lock: Some(Box::new(lock)), ..task(TaskId::fresh(), header("a"), Due::Now) }
}

async fn rows(broker: &SqliteBroker, table: &str) -> i64 {
    let count = format!("SELECT count(*) FROM {table}");
    let rows = broker
        .0
        .writer
        .call(Haste::Look, move |tx| Ok(Some(tx.conn.query_row(&count, [], |row| row.get(0))?)));
    rows.await.expect("counts")
}

#[tokio::test]
async fn a_batch_refused_after_its_locks_were_tried_harms_nobody_in_its_group() {
    let bench = Bench::new();
    let broker = bench.open();
    broker.set(queue(), Setting::Limit(Some(3))).await.expect("set");
    // One transaction: the writer is busy while they come.
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let busy = tokio::spawn(broker.0.writer.call(Haste::Look, move |_| {
        let _ = gate.recv();
        Ok(Some(()))
    }));
    tokio::task::yield_now().await;
    let before = broker.enqueue(batch(vec![locked(1)]));
    let full = broker.enqueue(batch((2..5).map(locked).chain([locked(1)]).collect()));
    let after = broker.enqueue(batch(vec![locked(2), locked(3), locked(1)]));
    let all = tokio::spawn(async move { tokio::join!(before, full, after) });
    tokio::task::yield_now().await;
    go.send(()).expect("waits");
    busy.await.expect("ran").expect("done");
    let (before, full, after) = all.await.expect("ran");
    assert_eq!(before.expect("stored"), [Enqueued::Created]);
    assert!(full.expect_err("no room").is_full());
    let after = after.expect("stored: what was refused holds nothing");
    assert_eq!(after[..2], [Enqueued::Created; 2]);
    assert!(matches!(after[2], Enqueued::Held(_)));
    let stats = broker.stats().await.expect("reads");
    assert_eq!((stats[0].count(State::Pending), rows(&broker, "oncue_task").await), (3, 3));
    assert_eq!((rows(&broker, "oncue_lock").await, rows(&broker, "oncue_batch").await), (3, 2));
}

#[tokio::test]
async fn locks_that_ran_out_are_forgotten() {
    let bench = Bench::new();
    let broker = bench.open();
    broker.enqueue(batch(vec![locked(1), locked(2)])).await.expect("stored");
    broker.advance(queue(), 9).await.expect("nothing");
    assert_eq!(rows(&broker, "oncue_lock").await, 2);
    bench.clock.advance(LEASE);
    broker.advance(queue(), 9).await.expect("forgets");
    assert_eq!(rows(&broker, "oncue_lock").await, 0);
}
