//! A cluster: the slot of a queue moves under load, and a node that has no functions says which it is.

use std::time::Duration;

use super::company::{Shop, completed};
use super::site::{broker, eventually};
use crate::fixture::*;
use crate::redis_servers::cluster::Cluster;
use crate::redis_servers::setup::Setup;

const WORK: Duration = Duration::from_millis(5);
const PAUSE: Duration = Duration::from_millis(2);
const KEY: &str = "oncue:{default/default}:t";

#[test]
fn the_slot_of_a_queue_moves_under_load() {
    let cluster = Cluster::start();
    let shop = Shop::at(&cluster.url());
    let client = shop.client();
    let (worker, producer) = (shop.worker(WORK), shop.producer(PAUSE));
    for _ in 0..3 {
        let (acked, settled) = (producer.acked(), shop.told.settled());
        eventually("traffic", || {
            producer.acked() > acked + 50 && shop.told.settled() > settled + 50
        });
        let owner = cluster.owner(cluster.slot(KEY)).expect("an owner");
        let mut moving = cluster.begin_move(cluster.slot(KEY), (owner + 1) % 3);
        // Key by key: for a while every function would find some of its keys here and some there.
        while moving.step(1) > 0 {
            std::thread::sleep(Duration::from_millis(20));
        }
        moving.finish();
    }
    let settled = shop.told.settled();
    eventually("work", || shop.told.settled() > settled + 50);
    let acked = producer.end();
    shop.drained(&client);
    let done = completed(&client);
    assert!(done == acked || done == acked + 1, "{acked} acknowledged, {done} completed");
    println!("{acked} acknowledged, 0 lost; {:?}", shop.told);
    worker.end();
}

#[test]
fn a_node_without_functions_is_named() {
    let users =
        "user default on nopass ~* &* +@all\nuser worker on >pass ~* &* +@all -function|load";
    let cluster = Cluster::with(&Setup::default().acl(users));
    let open = |clock| Opened { broker: broker(&cluster.url(), "nodes", clock), guard: None };
    let bench = Bench::new(&open);
    bench.put(tasks(1));
    let url = cluster.url().replace("://", "://worker:pass@");
    let worker = bench.twin(broker(&url, "nodes", bench.clock.clone()));
    let key = format!("oncue:{{nodes/{}}}:t", bench.queue);
    let owner = cluster.owner(cluster.slot(&key)).expect("an owner");
    // A control: it works while they are there.
    assert_eq!(worker.take(&worker.session(), 1).len(), 1);
    drop(bench);
    cluster.nodes[owner].cli(&["FUNCTION", "FLUSH"]);
    let refused = refusal(worker.broker.dequeue(worker.ask(&worker.session(), 1)));
    assert!(refused.is_undeployed(), "{refused}");
    let (text, node) = (refused.to_string(), cluster.nodes[owner].address());
    assert!(text.contains(&node) && text.contains("oncue deploy"), "{text}");
    let batch = worker.batch(tasks(1));
    let refused = refusal(worker.broker.enqueue(batch));
    assert!(refused.is_undeployed(), "{refused}");
}
