//! A task whose row was moved to another kind or queue: what was sealed says otherwise, so it never runs.

use oncue::broker::TaskView;
use oncue::queue::{KindHash, QueueName};
use oncue::state::{Reason, State};
use oncue::{Client, Handle, Lane};

use super::*;
use crate::runtime::company::Company;

fn show(client: &Client, queue: &str, task: &Handle) -> TaskView {
    let queue = QueueName::parse(queue).expect("a name");
    let view = oncue::block_on(client.broker().show(queue, task.id())).expect("shown");
    view.expect("never deleted")
}

/// Starts a worker that knows both kinds and both queues, and waits until the control ran.
fn work(scene: &Scene) -> Vec<(&'static str, u64)> {
    let calls = Calls::default();
    let data = calls.clone();
    let company = Company::start(scene.client.clone(), |worker| {
        let lane = Lane::strict(["other", "default"]).concurrency(4);
        worker.lane(lane).data(data).handle(charge).handle(refund)
    });
    let control = scene.put(Charge(1));
    company.settled(&control);
    oncue::block_on(company.worker.shutdown()).expect("ends");
    let calls = calls.lock().expect("calls");
    calls.clone()
}

#[test]
fn a_charge_never_runs_as_a_refund() {
    let scene = Scene::new();
    let victim = scene.put(Charge(7));
    let refund = KindHash::of("refund").number();
    scene.alter(&format!("UPDATE oncue_task SET kind = {refund} WHERE id = ?1"), Some(&victim));
    assert_eq!(work(&scene), [("charge", 1)]);
    let view = show(&scene.client, "default", &victim);
    assert_eq!((view.state, view.reason), (State::Archived, Some(Reason::Unopenable)));
}

#[test]
fn a_task_never_runs_in_a_queue_it_was_not_sealed_for() {
    let scene = Scene::new();
    let victim = scene.put(Charge(7));
    scene.alter("INSERT INTO oncue_queue (name) VALUES ('other')", None);
    let other = "(SELECT row FROM oncue_queue WHERE name = 'other')";
    scene.alter(&format!("UPDATE oncue_task SET queue = {other} WHERE id = ?1"), Some(&victim));
    assert_eq!(work(&scene), [("charge", 1)]);
    let view = show(&scene.client, "other", &victim);
    assert_eq!((view.state, view.reason), (State::Archived, Some(Reason::Unopenable)));
}

/// Every row of the table gets what another one had.
fn swap(scene: &Scene, table: &str, column: &str) {
    let conn = Connection::open(scene.path()).expect("opens");
    let swap = format!(
        "CREATE TEMP TABLE old AS SELECT row, {column} AS value FROM {table};
         UPDATE {table} SET {column} = (SELECT value FROM old WHERE old.row <> {table}.row);"
    );
    conn.execute_batch(&swap).expect("swapped");
}

#[test]
fn swapped_records_results_and_trails_open_for_nobody() {
    let scene = Scene::new();
    let (one, two) = (scene.put(Charge(7)), scene.put(Charge(8)));
    swap(&scene, "oncue_record", "record");
    assert_eq!(work(&scene), [("charge", 1)]);
    for task in [&one, &two] {
        assert_eq!(show(&scene.client, "default", task).reason, Some(Reason::Unopenable));
    }

    let scene = Scene::new();
    let tasks = [scene.put(Charge(7)), scene.put(Charge(8)), scene.put(Charge(FAILS))];
    assert_eq!(work(&scene).len(), 4);
    let results =
        || tasks.each_ref().map(|task| oncue::block_on(async { task.result::<u64>().await }).ok());
    assert_eq!(results(), [Some(7), Some(8), None], "the control");
    let failed = show(&scene.client, "default", &tasks[2]);
    let told = scene.client.failure(&failed).expect("the control");
    assert!(told.starts_with("no money"), "{told}");
    swap(&scene, "oncue_result", "sealed");
    assert_eq!(results(), [None, None, None]);
    let row = "(SELECT row FROM oncue_task WHERE id = ?1)";
    scene.alter(
        &format!("INSERT INTO oncue_trail SELECT {row}, trail FROM oncue_trail"),
        Some(&tasks[0]),
    );
    let moved = show(&scene.client, "default", &tasks[0]);
    assert_eq!((moved.trail.attempts, scene.client.failure(&moved)), (1, None));
}
