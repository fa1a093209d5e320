//! Limits: bytes are counted exactly whoever sets the limit, and who met one of what is active is woken.

use super::*;
use crate::broker::sqlite::writer::Haste;
use crate::broker::{Act, Inspect, Operate, Order, Setting, Settlement, Wake};
use crate::queue::Kind;

/// What the broker says the records have, and what they have.
async fn bytes(broker: &SqliteBroker) -> (Option<u64>, i64) {
    let sum = broker.0.writer.call(Haste::Look, |tx| {
        let sum = "SELECT coalesce(sum(length(record)), 0) FROM oncue_record";
        Ok(Some(tx.conn.query_row(sum, [], |row| row.get(0))?))
    });
    let sum = sum.await.expect("sums");
    (broker.stats().await.expect("reads")[0].bytes, sum)
}

#[track_caller]
fn exact((said, sum): (Option<u64>, i64)) {
    assert_eq!(said, u64::try_from(sum).ok());
}

async fn drop_one(broker: &SqliteBroker) {
    let session = Session::fresh(queue());
    let claims = broker.dequeue(ask(&session, 1, &["a"])).await.expect("claimed");
    let settlement = Settlement::new(claims[0].ticket, Order::Drop);
    broker.settle(session, vec![settlement]).await.expect("settled");
}

#[tokio::test]
async fn bytes_are_exact_whoever_set_the_limit() {
    let bench = Bench::new();
    let (here, there) = (bench.open(), bench.open());
    for _ in 0..6 {
        store(&here, "a", Due::Now).await;
        // Now each knows that they are not counted.
        store(&there, "a", Due::Now).await;
    }
    drop_one(&here).await;
    drop_one(&there).await;
    assert_eq!(bytes(&here).await.0, None);

    there.set(queue(), Setting::Bytes(Some(1 << 30))).await.expect("set");
    for broker in [&here, &there] {
        exact(bytes(broker).await);
        drop_one(broker).await;
        exact(bytes(broker).await);
        broker.enqueue(one()).await.expect("stored");
        exact(bytes(broker).await);
    }
    here.set(queue(), Setting::Bytes(None)).await.expect("set");
    drop_one(&there).await;
    assert_eq!(bytes(&there).await.0, None);
    there.set(queue(), Setting::Bytes(Some(1))).await.expect("set");
    drop_one(&here).await;
    exact(bytes(&here).await);
}

#[tokio::test]
async fn bytes_counted_in_the_midst_of_a_transaction_are_exact() {
    let bench = Bench::new();
    let broker = bench.open();
    let id = store(&broker, "a", Due::Now).await;
    // One transaction: the writer is busy while they come.
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let busy = tokio::spawn(broker.0.writer.call(Haste::Look, move |_| {
        let _ = gate.lock().expect("not poisoned").recv();
        Ok(Some(()))
    }));
    tokio::task::yield_now().await;
    let before = tokio::spawn(broker.enqueue(one()));
    let gone = tokio::spawn(broker.act(queue(), id, Act::Delete));
    let set = tokio::spawn(broker.set(queue(), Setting::Bytes(Some(1 << 30))));
    let after = tokio::spawn(broker.enqueue(one()));
    tokio::task::yield_now().await;
    go.send(()).expect("opened");
    busy.await.expect("ran").expect("held");
    before.await.expect("ran").expect("stored");
    gone.await.expect("ran").expect("deleted");
    set.await.expect("ran").expect("set");
    after.await.expect("ran").expect("stored");
    exact(bytes(&broker).await);
}

#[tokio::test]
async fn a_batch_beyond_the_bytes_is_refused_whole_and_room_is_told() {
    let bench = Bench::new();
    let broker = bench.open();
    let id = store(&broker, "a", Due::Now).await;
    let held = bytes(&broker).await.1;
    let most = u64::try_from(held * 5 / 2).expect("positive");
    broker.set(queue(), Setting::Bytes(Some(most))).await.expect("set");
    let two = || batch(vec![task(TaskId::fresh(), header("a"), Due::Now), one().tasks[0].clone()]);
    let refusal = broker.enqueue(two()).await.expect_err("full");
    assert!(refusal.is_full() && refusal.to_string().contains("bytes"), "{refusal}");
    exact(bytes(&broker).await);
    assert_eq!(bytes(&broker).await.1, held);

    let seen = broker.wait(Wake::Settled, None).await.expect("a mark");
    broker.act(queue(), id, Act::Delete).await.expect("deleted");
    assert_ne!(broker.wait(Wake::Settled, Some(seen)).await.expect("awake"), seen);
    broker.enqueue(two()).await.expect("room");
}

#[tokio::test]
async fn who_met_a_limit_of_what_is_active_is_woken_by_an_end_and_nobody_else_is() {
    let bench = Bench::new();
    let broker = bench.open();
    for limit in [
        Setting::Concurrency(Some(1)),
        Setting::KindConcurrency(Kind::parse("a").expect("a kind"), Some(1)),
    ] {
        store(&broker, "a", Due::Now).await;
        store(&broker, "a", Due::Now).await;
        // Without a limit an end wakes nobody who waits for tasks.
        let seen = broker.wait(Wake::Ready, None).await.expect("a mark");
        drop_one(&broker).await;
        assert_eq!(broker.wait(Wake::Ready, None).await.expect("a mark"), seen);

        broker.set(queue(), limit.clone()).await.expect("set");
        store(&broker, "a", Due::Now).await;
        let session = Session::fresh(queue());
        let claims = broker.dequeue(ask(&session, 9, &["a"])).await.expect("claimed");
        assert_eq!(claims.len(), 1, "{limit:?}");
        let seen = broker.wait(Wake::Ready, None).await.expect("a mark");
        assert!(broker.dequeue(ask(&session, 9, &["a"])).await.expect("claimed").is_empty());
        let settlement = Settlement::new(claims[0].ticket, Order::Drop);
        broker.settle(session.clone(), vec![settlement]).await.expect("settled");
        assert_ne!(broker.wait(Wake::Ready, Some(seen)).await.expect("awake"), seen);

        let off = match limit {
            Setting::KindConcurrency(kind, _) => Setting::KindConcurrency(kind, None),
            _ => Setting::Concurrency(None),
        };
        broker.set(queue(), off).await.expect("set");
        drop_one(&broker).await;
    }
}
