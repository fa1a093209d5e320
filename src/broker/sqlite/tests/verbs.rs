//! A walk through the verbs, for what the tables and sums of this broker could get wrong.

use super::*;
use crate::broker::{
    BATCH_TASKS_MAX, Beat, Cause, Inspect, Order, Page, SESSION_MEMORY, Settled, Settlement, Sweep,
};
use crate::state::{Reason, State};
use crate::task::Trail;

const GAP: Duration = Duration::from_secs(60);

fn sweep(session: &Session, max: usize) -> Sweep {
    let (session, known) = (session.clone(), vec![KindHash::of("a")]);
    Sweep { session, lease: LEASE, max, gap: GAP, known, grace: LEASE * 5 }
}

async fn settle(broker: &SqliteBroker, session: &Session, claim: &Claim, order: Order) -> Settled {
    let settlements = vec![Settlement::new(claim.ticket, order)];
    broker.settle(session.clone(), settlements).await.expect("settles")[0]
}

async fn counts(broker: &SqliteBroker) -> [u64; 8] {
    let stats = broker.stats().await.expect("reads");
    let counted = broker.0.writer.call(crate::broker::sqlite::writer::Haste::Look, |tx| {
        let mut query = tx.conn.prepare("SELECT state, count(*) FROM oncue_task GROUP BY state")?;
        let rows = query.query_map([], |row| Ok((row.get::<_, u8>(0)?, row.get::<_, i64>(1)?)))?;
        let mut counts = [0; 8];
        for row in rows {
            let (state, count) = row?;
            counts[usize::from(state)] = u64::try_from(count).unwrap_or(0);
        }
        Ok(Some(counts))
    });
    assert_eq!(stats[0].counts, counted.await.expect("counts"), "the sums are what is there");
    stats[0].counts
}

#[tokio::test]
async fn a_batch_is_stored_once() {
    let bench = Bench::new();
    for broker in [bench.open(), memory()] {
        let id = TaskId::fresh();
        let twice = batch(vec![
            task(id, header("a"), Due::Now),
            task(id, header("a"), Due::Now),
            task(TaskId::fresh(), header("a"), Due::At(Timestamp(1))),
        ]);
        use Enqueued::{Created, Existing};
        let stored = broker.enqueue(twice.clone()).await;
        assert_eq!(stored.expect("stored"), [Created, Existing, Created]);
        assert_eq!(broker.enqueue(twice).await.expect("again"), [Existing; 3]);
        let many = (0..=BATCH_TASKS_MAX).map(|_| task(TaskId::fresh(), header("a"), Due::Now));
        let many = broker.enqueue(batch(many.collect())).await;
        assert!(many.expect_err("too many").is_too_large());
        assert_eq!(counts(&broker).await[1], 2);
    }
}

fn memory() -> SqliteBroker {
    SqliteBroker::open(Options::memory()).expect("opens")
}

#[tokio::test]
async fn lines_are_merged_by_priority_and_order_and_skip_what_is_not_taken() {
    let bench = Bench::new();
    let broker = bench.open();
    let mut tasks = Vec::new();
    for (kind, priority) in
        [("x", 0), ("a", 0), ("b", 0), ("a", 5), ("a", 0), ("x", 9), ("b", 0), ("b", 9), ("a", 0)]
    {
        let mut header = header(kind);
        header.priority = priority;
        tasks.push(task(TaskId::fresh(), header, Due::Now));
    }
    let id = |at: usize| tasks[at].envelope.id();
    let expected: Vec<TaskId> = [7, 3, 1, 2, 4, 6, 8].map(id).into();
    broker.enqueue(batch(tasks.clone())).await.expect("stored");
    let session = Session::fresh(queue());
    let first = broker.dequeue(ask(&session, 3, &["b", "a", "a"])).await.expect("claimed");
    assert_eq!(ids(&first), expected[..3]);
    // Handed back: where they stood. Released: before what never ran.
    assert_eq!(broker.retire(session.clone(), vec![]).await.expect("retired"), 3);
    assert!(broker.dequeue(ask(&session, 3, &["a"])).await.expect_err("retired").is_fenced());
    let session = Session::fresh(queue());
    let mut asked = ask(&session, 10, &["a", "b"]);
    asked.accept[0].1 = 1;
    let limited = broker.dequeue(asked).await.expect("claimed");
    assert_eq!(ids(&limited), [7, 3, 2, 6].map(id));
    for claim in &limited {
        settle(&broker, &session, claim, Order::Release { lane: Lane::Shared }).await;
    }
    let again = broker.dequeue(ask(&session, 10, &["a", "b"])).await.expect("claimed");
    assert_eq!(ids(&again), [7, 3, 2, 6, 1, 4, 8].map(id));
    assert_eq!(counts(&broker).await, [0, 2, 7, 0, 0, 0, 0, 0]);
}

#[tokio::test]
async fn each_order_leads_where_it_says() {
    let bench = Bench::new();
    let broker = bench.open();
    for _ in 0..6 {
        store(&broker, "a", Due::Now).await;
    }
    let session = Session::fresh(queue());
    let claims = broker.dequeue(ask(&session, 6, &["a"])).await.expect("claimed");
    let sealed = claims[0].stored.clone();
    assert!(sealed.record_len() > 0);
    let trail = Trail { attempts: 3, ..Trail::default() };
    let orders = [
        Order::Complete { keep: LEASE, result: None },
        Order::Complete { keep: Duration::ZERO, result: None },
        Order::Retry { after: LEASE / 2, front: false },
        Order::Snooze { after: LEASE / 4 },
        Order::Release { lane: Lane::Alone },
        Order::Archive { reason: Reason::Exhausted },
    ];
    let settlements: Vec<Settlement> = (claims.iter().zip(orders))
        .map(|(claim, order)| Settlement {
            trail: Some(trail.clone()),
            ..Settlement::new(claim.ticket, order)
        })
        .collect();
    let done = broker.settle(session.clone(), settlements.clone()).await.expect("settled");
    assert_eq!(done, [Settled::Done; 6]);
    let gone = broker.settle(session.clone(), settlements).await.expect("settled before");
    assert_eq!(gone, [Settled::Gone; 6]);
    assert_eq!(counts(&broker).await, [1, 1, 0, 1, 1, 1, 0, 0]);
    let stats = broker.stats().await.expect("reads");
    assert_eq!((stats[0].completed, stats[0].failed, stats[0].oldest), (2, 2, Some(START)));

    let advanced = broker.advance(queue(), 10).await.expect("looked");
    assert_eq!((advanced.moved, advanced.next), (0, Some(START.plus(LEASE / 4))));
    bench.clock.advance(LEASE);
    let advanced = broker.advance(queue(), 1).await.expect("moved");
    assert_eq!((advanced.moved, advanced.expired, advanced.more), (1, 0, true));
    let advanced = broker.advance(queue(), 10).await.expect("moved");
    assert_eq!((advanced.moved, advanced.expired, advanced.next), (1, 1, None));
    let session = Session::fresh(queue());
    let shared = broker.dequeue(ask(&session, 9, &["a"])).await.expect("claimed");
    assert_eq!(ids(&shared), [claims[3].id(), claims[2].id()]);
    assert_eq!(shared[0].trail, trail);
    let alone = Ask { lane: Lane::Alone, ..ask(&session, 9, &["a"]) };
    assert_eq!(ids(&broker.dequeue(alone).await.expect("claimed")), [claims[4].id()]);
    let archived = broker.show(queue(), claims[5].id()).await.expect("reads").expect("there");
    assert_eq!((archived.state, archived.reason), (State::Archived, Some(Reason::Exhausted)));
    assert_eq!((archived.until, archived.trail), (None, trail));
}

#[tokio::test]
async fn what_dead_sessions_held_is_taken_over_piece_by_piece() {
    let bench = Bench::new();
    let broker = bench.open();
    store(&broker, "a", Due::Now).await;
    // The first tick of a queue is guarded like the first after a gap.
    for _ in 0..3 {
        let nothing = broker.reclaim(sweep(&Session::fresh(queue()), 9)).await.expect("nothing");
        assert!(nothing.is_empty());
        bench.clock.advance(GAP / 2);
    }
    for _ in 0..4 {
        store(&broker, "a", Due::Now).await;
    }
    let foreign = store(&broker, "x", Due::Now).await;
    let (lost, sweeper) = (Session::fresh(queue()), Session::fresh(queue()));
    let held = broker.dequeue(ask(&lost, 5, &["a"])).await.expect("claimed");
    assert!(broker.reclaim(sweep(&sweeper, 9)).await.expect("nothing").is_empty());
    bench.clock.advance(LEASE);
    // Expired, not killed: it settles, and does not claim.
    assert!(broker.dequeue(ask(&lost, 5, &["a"])).await.expect_err("expired").is_fenced());
    assert_eq!(settle(&broker, &lost, &held[0], Order::Drop).await, Settled::Done);
    let sweeper = Session::fresh(queue());
    let first = broker.reclaim(sweep(&sweeper, 3)).await.expect("taken over");
    assert_eq!(ids(&first), ids(&held[1..4]));
    assert!(first.iter().all(|claim| claim.cause == Cause::Lost));
    let late =
        broker.settle(lost.clone(), vec![Settlement::new(held[4].ticket, Order::Drop)]).await;
    assert!(late.expect_err("dead").is_fenced());
    let beat =
        Beat { sessions: vec![lost.clone(), sweeper.clone()], lease: LEASE * 9, presence: None };
    assert_eq!(broker.beat(beat).await.expect("beats").lost, [lost.id]);
    assert_eq!(
        ids(&broker.reclaim(sweep(&sweeper, 3)).await.expect("taken over")),
        ids(&held[4..])
    );
    bench.clock.advance(LEASE * 4);
    let refused = broker.reclaim(sweep(&sweeper, 9)).await.expect("taken over");
    assert_eq!((refused[0].id(), refused[0].cause, refused.len()), (foreign, Cause::Refused, 1));
    assert_eq!(counts(&broker).await, [0, 0, 5, 0, 0, 0, 0, 0]);

    // A gap in the ticks is no death, until as much time has passed again.
    bench.clock.advance(GAP + LEASE * 9);
    let next = Session::fresh(queue());
    let long = Sweep { lease: SESSION_MEMORY * 9, ..sweep(&next, 9) };
    assert!(broker.reclaim(long.clone()).await.expect("guarded").is_empty());
    bench.clock.advance(GAP - Duration::from_millis(1));
    assert!(broker.reclaim(long.clone()).await.expect("guarded").is_empty());
    bench.clock.advance(Duration::from_millis(1));
    assert_eq!(broker.reclaim(long).await.expect("taken over").len(), 5);
    // What nobody can ask for is forgotten.
    bench.clock.advance(SESSION_MEMORY);
    broker.advance(queue(), 9).await.expect("forgets");
    let sessions = broker.0.writer.call(crate::broker::sqlite::writer::Haste::Look, |tx| {
        Ok(Some(
            tx.conn
                .query_row("SELECT count(*) FROM oncue_session", [], |row| row.get::<_, i64>(0))?,
        ))
    });
    assert_eq!(sessions.await.expect("counts"), 1);
}

#[tokio::test]
async fn ids_of_keyed_tasks_are_remembered_after_they_are_gone() {
    let bench = Bench::new();
    let broker = bench.open();
    let keyed = || {
        let mut header = header("a");
        header.remember = true;
        batch(vec![task(TaskId::from_bytes([3; 16]), header, Due::Now)])
    };
    let day = crate::broker::KEY_MEMORY;
    for _ in 0..2 {
        assert_eq!(broker.enqueue(keyed()).await.expect("stored"), [Enqueued::Created]);
        let session = Session::fresh(queue());
        let claims = broker.dequeue(ask(&session, 1, &["a"])).await.expect("claimed");
        settle(&broker, &session, &claims[0], Order::Drop).await;
        bench.clock.advance(day - Duration::from_millis(1));
        assert_eq!(broker.enqueue(keyed()).await.expect("known"), [Enqueued::Existing]);
        bench.clock.advance(Duration::from_millis(1));
    }
}

#[tokio::test]
async fn pages_follow_each_other_while_tasks_come_and_go() {
    {
        let bench = Bench::new();
        let broker = bench.open();
        let mut stored = Vec::new();
        for at in 0..7 {
            stored.push(store(&broker, "a", Due::In(LEASE * (9 - at))).await);
        }
        stored.reverse();
        let page = |cursor, state| Page { queue: queue(), state, cursor, rows: 3 };
        let first = broker.list(page(None, State::Scheduled)).await.expect("reads");
        bench.clock.advance(LEASE * 4);
        assert_eq!(broker.advance(queue(), 9).await.expect("moved").moved, 2);
        let second = broker.list(page(first.cursor, State::Scheduled)).await.expect("reads");
        let third =
            broker.list(page(second.cursor.clone(), State::Scheduled)).await.expect("reads");
        assert_eq!((third.cursor.clone(), third.tasks.len()), (None, 1));
        let tasks = [first.tasks, second.tasks, third.tasks].concat();
        assert_eq!(tasks.iter().map(|task| task.stored.id()).collect::<Vec<_>>(), stored);
        assert!(tasks.is_sorted_by_key(|task| task.until));
        let pending = broker.list(page(None, State::Pending)).await.expect("reads");
        assert_eq!((pending.tasks.len(), pending.cursor), (2, None));
        assert!(
            broker
                .list(page(Some("?".into()), State::Pending))
                .await
                .expect_err("bad")
                .is_invalid()
        );
    }
}

#[tokio::test]
async fn a_key_is_known_by_its_check_value() {
    {
        let broker = memory();
        broker.check_keys(vec![(1, [1; 8]), (2, [2; 8])]).await.expect("new");
        broker.check_keys(vec![(2, [2; 8])]).await.expect("known");
        let error = broker.check_keys(vec![(3, [3; 8]), (2, [9; 8])]).await.expect_err("wrong");
        assert!(error.is_wrong_key() && error.to_string().contains("key 2"));
    }
}

#[tokio::test]
async fn the_oldest_is_found_behind_many_that_went_before_it() {
    let bench = Bench::new();
    let broker = bench.open();
    for _ in 0..2 {
        let tasks = (0..BATCH_TASKS_MAX).map(|_| task(TaskId::fresh(), header("x"), Due::Now));
        let front = |task| NewTask { front: true, ..task };
        broker.enqueue(batch(tasks.map(front).collect())).await.expect("stored");
        bench.clock.advance(LEASE * 4);
    }
    assert_eq!(broker.stats().await.expect("reads")[0].oldest, Some(START));
    broker.reclaim(sweep(&Session::fresh(queue()), 9)).await.expect("the first tick");
    bench.clock.advance(LEASE);
    let refused = broker.reclaim(sweep(&Session::fresh(queue()), 9)).await.expect("taken over");
    assert_eq!(refused.len(), 9, "nobody takes those that came first");
}

#[tokio::test]
async fn whoever_takes_over_a_cancelled_task_is_told() {
    let bench = Bench::new();
    let broker = bench.open();
    store(&broker, "a", Due::Now).await;
    for _ in 0..3 {
        broker.reclaim(sweep(&Session::fresh(queue()), 9)).await.expect("nothing");
        bench.clock.advance(GAP / 2);
    }
    let (lost, sweeper) = (Session::fresh(queue()), Session::fresh(queue()));
    let held = broker.dequeue(ask(&lost, 5, &["a"])).await.expect("claimed");
    use crate::broker::Operate;
    broker.cancel(queue(), held[0].id()).await.expect("asked");
    bench.clock.advance(LEASE);
    let taken = broker.reclaim(sweep(&sweeper, 9)).await.expect("taken over");
    assert_eq!(ids(&taken), ids(&held));
    let beat = Beat { sessions: vec![sweeper], lease: LEASE, presence: None };
    assert_eq!(broker.beat(beat).await.expect("beats").orders.cancel, ids(&held));
}
