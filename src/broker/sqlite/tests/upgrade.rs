//! A file of an older version: brought up to date with what is in it, and then like any other.

use rusqlite::{Connection, params};

use super::*;
use crate::broker::sqlite::place::Place;
use crate::broker::{Beat, Inspect, Operate, Order, Setting, Settled, Settlement};
use crate::state::State;

/// What the versions added, up to 3.
const VERSIONS: [&str; 3] =
    [include_str!("../schema.sql"), include_str!("../operate.sql"), include_str!("../locks.sql")];

/// Where version 2 put a released task.
fn released(order: i64) -> i64 {
    (9 << 58) | order
}

/// A file of this version with these tasks, by row, of one queue.
fn make(bench: &Bench, version: usize, tasks: &[(TaskId, i64, State)]) {
    let conn = Connection::open(bench.path()).expect("opens");
    conn.pragma_update(None, "application_id", 0x6F6E_6375).expect("set");
    for sql in &VERSIONS[..version] {
        conn.execute_batch(sql).expect("a table");
    }
    let kind = super::super::task::kind_number(KindHash::of("a"));
    for (row, (id, place, state)) in (1_i64..).zip(tasks) {
        let session = (*state == State::Active).then_some(1);
        let marks = if session.is_some() { 8 } else { 0 };
        conn.execute(
            "INSERT INTO oncue_task (row, queue, id, kind, class, lane, state, place, marks, since, session)
             VALUES (?1, 1, ?2, ?3, 0, 0, ?4, ?5, ?6, 1, ?7)",
            params![row, id.as_bytes(), kind, state.code(), place, marks, session],
        )
        .expect("a task");
        let record = task(*id, header("a"), Due::Now).envelope.record();
        conn.execute("INSERT INTO oncue_record VALUES (?1, ?2)", params![row, record])
            .expect("a record");
    }
    let count = |state| tasks.iter().filter(|task| task.2 == state).count() as i64;
    conn.execute(
        "INSERT INTO oncue_queue (row, name, n1, n2) VALUES (1, 'default', ?1, ?2)",
        [count(State::Pending), count(State::Active)],
    )
    .expect("a queue");
    let session = "INSERT INTO oncue_session VALUES (1, ?1, 1, 0, ?2)";
    conn.execute(session, params![[7_u8; 16], START.plus(LEASE).0 as i64]).expect("a session");
    conn.execute("INSERT INTO oncue_meta VALUES ('schema', ?1)", [version as i64])
        .expect("a version");
    conn.execute("UPDATE oncue_meta SET value = 100 WHERE name = 'next'", []).expect("a number");
}

#[tokio::test]
async fn a_file_of_version_2_is_brought_up_to_date() {
    upgraded(2, released(2)).await;
}

#[tokio::test]
async fn a_file_of_version_3_is_brought_up_to_date() {
    upgraded(3, Place::last(0, 2).released().0).await;
}

async fn upgraded(version: usize, released: i64) {
    let bench = Bench::new();
    let [fresh, back, doomed, front] = [(); 4].map(|()| TaskId::fresh());
    let tasks = [
        (fresh, Place::last(0, 1).0, State::Pending),
        (back, released, State::Pending),
        (doomed, Place::last(0, 3).0, State::Active),
    ];
    make(&bench, version, &tasks);
    let broker = bench.open();
    assert!(!broker.created());
    assert_eq!(broker.queues().await.expect("reads"), [queue()]);

    // Who was cancelled is still found, and what is not is not.
    let mut session = Session::fresh(queue());
    session.id.0 = [7; 16];
    let sessions = vec![session.clone()];
    let beat = Beat { sessions, lease: LEASE, presence: None };
    assert_eq!(broker.beat(beat).await.expect("beats").orders.cancel, [doomed]);
    let view = broker.show(queue(), doomed).await.expect("reads").expect("there");
    let ticket = crate::broker::Ticket::of(doomed, &view.stored.header().expect("reads"));
    let settlement = Settlement::new(ticket, Order::Drop);
    assert_eq!(broker.settle(session, vec![settlement]).await.expect("settles"), [Settled::Done]);

    // There is room before what was released.
    let mut first = task(front, header("a"), Due::Now);
    first.front = true;
    broker.enqueue(batch(vec![first])).await.expect("stored");
    let session = Session::fresh(queue());
    let claims = broker.dequeue(ask(&session, 9, &["a"])).await.expect("claimed");
    assert_eq!(ids(&claims), [front, back, fresh]);

    // What was there is counted, and what is new is obeyed.
    broker.set(queue(), Setting::Bytes(Some(1 << 30))).await.expect("set");
    broker.set(queue(), Setting::Concurrency(Some(4))).await.expect("set");
    let stats = &broker.stats().await.expect("reads")[0];
    assert!(stats.bytes.is_some_and(|bytes| bytes > 0), "{stats:?}");
    let header = Header { group: Some("x".into()), ..header("a") };
    let mut first = task(TaskId::fresh(), header, Due::Now);
    first.group = Some(Box::new(crate::task::Group::named("x").most(1)));
    let member = first.envelope.id();
    broker.enqueue(batch(vec![first])).await.expect("stored");
    let session = Session::fresh(queue());
    let claims = broker.dequeue(ask(&session, 9, &["a"])).await.expect("claimed");
    assert_eq!((ids(&claims), claims[0].group), (vec![member], Some(0)));

    drop(broker);
    let again = bench.open();
    assert_eq!(again.stats().await.expect("reads")[0].count(State::Active), 4);
}
