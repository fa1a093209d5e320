//! Groups: what the tables of this broker could get wrong, and what damage to them costs.

use super::*;
use crate::broker::sqlite::writer::Haste;
use crate::broker::{Act, Acted, CLAIMS_MAX, Inspect, Operate, Order, Settlement};
use crate::state::{Reason, State};
use crate::task::{GROUP_TASKS_MAX, Group};

const GRACE: Duration = Duration::from_secs(5);

fn member(name: &str, due: Due) -> NewTask {
    let header = Header { group: Some(name.to_owned()), ..header("a") };
    let group = Group::named(name).grace(GRACE);
    NewTask { group: Some(Box::new(group)), ..task(TaskId::fresh(), header, due) }
}

async fn gather(broker: &SqliteBroker, name: &str, count: usize) -> Vec<TaskId> {
    let tasks: Vec<_> = (0..count).map(|_| member(name, Due::Now)).collect();
    let ids = tasks.iter().map(|task| task.envelope.id()).collect();
    broker.enqueue(batch(tasks)).await.expect("stored");
    ids
}

async fn close(bench: &Bench, broker: &SqliteBroker) {
    bench.clock.advance(GRACE);
    broker.advance(queue(), 100).await.expect("advanced");
}

/// Runs this in the writer.
async fn sql(broker: &SqliteBroker, text: &'static str) {
    let run = broker.0.writer.call(Haste::Soft, move |tx| {
        tx.conn.execute_batch(text)?;
        Ok(Some(()))
    });
    run.await.expect("runs");
}

/// How many rows are not as the others say they are.
async fn faults(broker: &SqliteBroker) -> i64 {
    const FAULTS: &str = "SELECT
        (SELECT count(*) FROM oncue_gathering a WHERE tasks <= 0 OR (closes IS NULL) <> (turn IS NOT NULL)
            OR tasks <> (SELECT count(*) FROM oncue_grouped m WHERE m.gathering = a.row))
        + (SELECT count(*) FROM oncue_grouped m LEFT JOIN oncue_task t ON t.row = m.row
            WHERE t.row IS NULL OR (t.state = 6) <> (m.gathering IS NOT NULL) OR t.marks & 256 = 0
            OR m.gathering IS NOT NULL AND m.gathering NOT IN (SELECT row FROM oncue_gathering))
        + (SELECT count(*) FROM oncue_task t WHERE t.marks & 256 <> 0
            AND t.row NOT IN (SELECT row FROM oncue_grouped))
        + (SELECT count(*) FROM oncue_task WHERE state = 2 AND at IS NOT NULL)
        + (SELECT abs(n6 - (SELECT count(*) FROM oncue_task WHERE state = 6)) FROM oncue_queue)";
    let count = broker
        .0
        .writer
        .call(Haste::Look, |tx| Ok(Some(tx.conn.query_row(FAULTS, [], |row| row.get(0))?)));
    count.await.expect("counts")
}

#[tokio::test]
async fn whatever_happens_to_its_tasks_a_gathering_knows_how_many_it_has() {
    let bench = Bench::new();
    let broker = bench.open();
    let [a, b, c, d] = gather(&broker, "x", 4).await[..] else { panic!("four") };
    let (later, gone) = (member("x", Due::In(GRACE * 9)), member("x", Due::In(GRACE * 9)));
    let gone_id = gone.envelope.id();
    broker.enqueue(batch(vec![later, gone])).await.expect("stored");
    assert_eq!(broker.groups(queue()).await.expect("reads")[0].tasks, 4);

    let soon = Act::Reschedule(Due::In(GRACE * 9));
    for (id, act) in [(a, Act::Run), (b, Act::Archive), (c, soon), (gone_id, Act::Delete)] {
        broker.act(queue(), id, act).await.expect("done");
        assert_eq!(faults(&broker).await, 0, "{act:?}");
    }
    assert_eq!(broker.groups(queue()).await.expect("reads")[0].tasks, 1);
    broker.act(queue(), d, Act::Delete).await.expect("done");
    assert!(broker.groups(queue()).await.expect("reads").is_empty());

    // The one that was run by a person comes back, and so does what was put off; both gather.
    let session = Session::fresh(queue());
    let claims = broker.dequeue(ask(&session, 9, &["a"])).await.expect("claimed");
    assert_eq!((ids(&claims), claims[0].group), (vec![a], None));
    broker.retire(session, Vec::new()).await.expect("retired");
    bench.clock.advance(GRACE * 9);
    let advanced = broker.advance(queue(), 1).await.expect("advanced");
    assert!(advanced.more && advanced.moved == 1, "{advanced:?}");
    assert_eq!(faults(&broker).await, 0);
    broker.advance(queue(), 9).await.expect("advanced");
    close(&bench, &broker).await;
    assert_eq!(faults(&broker).await, 0);

    let session = Session::fresh(queue());
    let claims = broker.dequeue(ask(&session, 9, &["a"])).await.expect("claimed");
    assert_eq!(claims.len(), 3);
    assert_eq!(faults(&broker).await, 0);
    let drop = claims.iter().map(|claim| Settlement::new(claim.ticket, Order::Drop)).collect();
    broker.settle(session, drop).await.expect("settled");
    assert_eq!(faults(&broker).await, 0);
    let stats = &broker.stats().await.expect("reads")[0];
    assert_eq!((stats.total(), stats.count(State::Archived)), (1, 1));
}

#[tokio::test]
async fn an_answer_has_no_more_claims_than_its_bound_and_no_group_in_parts() {
    let bench = Bench::new();
    let broker = bench.open();
    for name in ["x", "y", "z"] {
        gather(&broker, name, GROUP_TASKS_MAX).await;
    }
    let single = store(&broker, "a", Due::Now).await;
    let session = Session::fresh(queue());
    let claims = broker.dequeue(ask(&session, 9, &["a"])).await.expect("claimed");
    let numbers = |claims: &[Claim]| claims.iter().map(|claim| claim.group).collect::<Vec<_>>();
    let two = [Some(0), Some(1)].into_iter().flat_map(|n| [n; GROUP_TASKS_MAX]);
    assert_eq!(numbers(&claims), two.collect::<Vec<_>>());
    assert_eq!(claims.len(), CLAIMS_MAX);
    let claims = broker.dequeue(ask(&session, 9, &["a"])).await.expect("claimed");
    assert_eq!(numbers(&claims[..GROUP_TASKS_MAX]), [Some(0); GROUP_TASKS_MAX]);
    assert_eq!(ids(&claims[GROUP_TASKS_MAX..]), [single]);
    assert_eq!(faults(&broker).await, 0);
}

#[tokio::test]
async fn a_damaged_task_keeps_no_other_of_its_group() {
    let bench = Bench::new();
    let broker = bench.open();
    let all = gather(&broker, "x", 3).await;
    sql(
        &broker,
        "UPDATE oncue_task SET id = x'07' WHERE row = (SELECT min(row) FROM oncue_task);
         DELETE FROM oncue_record WHERE row = (SELECT max(row) FROM oncue_record)",
    )
    .await;
    close(&bench, &broker).await;
    let session = Session::fresh(queue());
    let claims = broker.dequeue(ask(&session, 1, &["a"])).await.expect("claimed");
    assert_eq!(ids(&claims), all[1..]);
    assert!(claims.iter().all(|claim| claim.group == Some(0)));
    assert!(claims[1].stored.header().is_err() && claims[0].stored.header().is_ok());
    assert_eq!(broker.stats().await.expect("reads")[0].count(State::Archived), 1);
    assert_eq!(faults(&broker).await, 0);
}

#[tokio::test]
async fn a_task_whose_group_was_lost_is_pending_by_itself() {
    let bench = Bench::new();
    let broker = bench.open();
    let lost = member("x", Due::In(GRACE));
    let id = lost.envelope.id();
    broker.enqueue(batch(vec![lost, member("x", Due::In(GRACE))])).await.expect("stored");
    sql(&broker, "DELETE FROM oncue_grouped WHERE row = (SELECT min(row) FROM oncue_grouped)")
        .await;
    bench.clock.advance(GRACE);
    assert_eq!(broker.advance(queue(), 9).await.expect("advanced").moved, 2);
    let session = Session::fresh(queue());
    let claims = broker.dequeue(ask(&session, 9, &["a"])).await.expect("claimed");
    assert_eq!(ids(&claims), [id]);
    assert_eq!(broker.groups(queue()).await.expect("reads")[0].tasks, 1);
}

#[tokio::test]
async fn a_group_stands_among_other_kinds_where_what_is_behind_it_stands() {
    let bench = Bench::new();
    let broker = bench.open();
    let group = gather(&broker, "x", 2).await;
    close(&bench, &broker).await;
    let prior = |kind, priority| {
        let header = Header { priority, ..header(kind) };
        task(TaskId::fresh(), header, Due::Now)
    };
    let (other, urgent) = (prior("b", 5), prior("a", 9));
    let order = [group.clone(), vec![urgent.envelope.id(), other.envelope.id()]].concat();
    broker.enqueue(batch(vec![other, urgent])).await.expect("stored");
    let session = Session::fresh(queue());
    let claims = broker.dequeue(ask(&session, 9, &["b", "a"])).await.expect("claimed");
    assert_eq!(ids(&claims), order);
}

#[tokio::test]
async fn a_group_task_that_was_archived_is_told_so() {
    let bench = Bench::new();
    let broker = bench.open();
    let id = gather(&broker, "x", 1).await[0];
    assert_eq!(broker.act(queue(), id, Act::Archive).await.expect("done"), Acted::Done);
    let view = broker.show(queue(), id).await.expect("reads").expect("there");
    assert_eq!((view.state, view.reason), (State::Archived, Some(Reason::Operator)));
    assert_eq!(faults(&broker).await, 0);
}
