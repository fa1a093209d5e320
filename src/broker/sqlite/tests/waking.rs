//! Waking: nothing is missed, here or in another process.

use super::*;
use crate::broker::{Annotate, Note, Reply, Settled, Slot, Wake};
use crate::seal::{Purpose, Sealed, Seat};

/// Far longer than any wake takes: only a lost one comes here.
const LOST: Duration = Duration::from_secs(20);

fn sealed(task: TaskId) -> Sealed {
    let sealer = Sealer::new(Keyring::generate().expect("keys"), "test").expect("a sealer");
    let seat = Seat { purpose: Purpose::Progress, task, attempt: 0, header: &[] };
    sealer.seal(&seat, crate::codec::Codec::Json, b"half").expect("seals")
}

async fn within(wait: Reply<u64>) -> u64 {
    tokio::time::timeout(LOST, wait).await.expect("not lost").expect("awake")
}

#[tokio::test]
async fn what_happened_since_the_mark_was_seen_is_not_missed() {
    let bench = Bench::new();
    let broker = bench.open();
    for wake in [Wake::Ready, Wake::Due, Wake::Settled] {
        let seen = within(broker.wait(wake, None)).await;
        broker.enqueue(one()).await.expect("stored");
        store(&broker, "b", Due::In(LEASE)).await;
        let session = Session::fresh(queue());
        let claims = broker.dequeue(ask(&session, 1, &["a"])).await.expect("claimed");
        let drop = crate::broker::Order::Drop;
        let settlement = crate::broker::Settlement::new(claims[0].ticket, drop);
        broker.settle(session, vec![settlement]).await.expect("settled");
        assert_ne!(within(broker.wait(wake, Some(seen))).await, seen);
    }
}

#[tokio::test]
async fn own_commits_do_not_wake_who_waits_for_something_else() {
    let bench = Bench::new();
    let broker = bench.open();
    let seen = within(broker.wait(Wake::Settled, None)).await;
    let waiting = tokio::spawn(broker.wait(Wake::Settled, Some(seen)));
    for _ in 0..50 {
        broker.enqueue(one()).await.expect("stored");
    }
    assert_eq!(within(broker.wait(Wake::Settled, None)).await, seen);
    assert!(!waiting.is_finished());
}

#[tokio::test]
async fn two_brokers_at_one_file_wake_each_other() {
    let bench = Bench::new();
    let (one, other) = (bench.open(), bench.open());
    for (here, there) in [(&one, &other), (&other, &one), (&one, &other)] {
        // Before the wait, after the mark.
        let seen = within(here.wait(Wake::Ready, None)).await;
        store(there, "a", Due::Now).await;
        let mark = within(here.wait(Wake::Ready, Some(seen))).await;
        // During the wait.
        let waiting = tokio::spawn(here.wait(Wake::Ready, Some(mark)));
        tokio::task::yield_now().await;
        store(there, "a", Due::Now).await;
        assert_ne!(within(Box::pin(async { waiting.await.expect("ran") })).await, mark);
    }
}

#[tokio::test]
async fn a_note_wakes_who_waits_for_notes_here_and_elsewhere() {
    let bench = Bench::new();
    let (one, other) = (bench.open(), bench.open());
    store(&one, "a", Due::Now).await;
    let session = Session::fresh(queue());
    let claims = one.dequeue(ask(&session, 1, &["a"])).await.expect("claimed");
    for reader in [&one, &other] {
        let seen = within(reader.wait(Wake::Noted, None)).await;
        let note = Note {
            ticket: claims[0].ticket,
            slot: Slot::Progress,
            attempt: 0,
            sealed: sealed(claims[0].id()),
        };
        let noted = one.note(session.clone(), vec![note]).await.expect("noted");
        assert_eq!(noted, [Settled::Done]);
        assert_ne!(within(reader.wait(Wake::Noted, Some(seen))).await, seen);
        assert_eq!(reader.notes(queue(), claims[0].id()).await.expect("reads").len(), 1);
    }
}

#[tokio::test]
async fn the_last_handle_ends_who_waits_and_closes_the_file() {
    let bench = Bench::new();
    let broker = bench.open();
    broker.enqueue(one()).await.expect("stored");
    let seen = within(broker.wait(Wake::Due, None)).await;
    // It may wake for nothing, but cannot wait for ever.
    let waiting = tokio::spawn(broker.wait(Wake::Due, Some(seen)));
    tokio::task::yield_now().await;
    let clone = broker.clone();
    drop(broker);
    clone.enqueue(one()).await.expect("stored");
    assert!(!waiting.is_finished());
    drop(clone);
    let end = tokio::time::timeout(LOST, waiting).await.expect("ends").expect("ran");
    match end {
        Ok(mark) => assert_ne!(mark, seen),
        Err(error) => assert!(error.is_closed(), "{error:?}"),
    }
}
