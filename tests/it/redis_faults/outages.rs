//! Redis dies, comes back, comes back empty or as it was before, and is full: workers and producers go on.

use std::time::{Duration, Instant};

use oncue::broker::{PAGE_ROWS_MAX, Page};
use oncue::queue::QueueName;
use oncue::state::State;

use super::company::{Shop, completed};
use super::site::{eventually, time_until};
use crate::redis_servers::server::Server;
use crate::redis_servers::setup::Setup;
use crate::runtime::company::{Number, count};

const WORK: Duration = Duration::from_millis(5);
const PAUSE: Duration = Duration::from_millis(2);

/// Longest from the first PONG to the first settled task, on a machine that is busy.
const RESUMES: Duration = Duration::from_secs(5);

#[test]
fn ten_kills_of_a_redis_that_appends_lose_nothing() {
    let mut server = Setup::default().aof().start();
    let shop = Shop::at(&server.url());
    let client = shop.client();
    let (worker, producer) = (shop.worker(WORK), shop.producer(PAUSE));
    let mut pauses = Vec::new();
    for _ in 0..10 {
        let (acked, settled) = (producer.acked(), shop.told.settled());
        eventually("traffic", || {
            producer.acked() > acked + 20 && shop.told.settled() > settled + 20
        });
        server.kill9();
        server.restart();
        let settled = shop.told.settled();
        pauses.push(time_until("consumption", || shop.told.settled() > settled));
    }
    let acked = producer.end();
    shop.drained(&client);
    // One that was under way at the end may be stored without an acknowledgement.
    let done = completed(&client);
    assert!(done == acked || done == acked + 1, "{acked} acknowledged, {done} completed");
    let stats = oncue::block_on(client.broker().stats()).expect("told");
    assert_eq!(stats[0].completed, done, "each completion is recorded once");
    pauses.sort();
    println!("{acked} acknowledged, 0 lost; {:?}; from PONG to work {pauses:?}", shop.told);
    assert!(pauses[9] < RESUMES, "{pauses:?}");
    worker.end();
}

/// Without its data: what was acknowledged is gone, which is told, and all that comes afterwards works, the functions
/// and the registry of queues included.
#[test]
fn a_redis_that_comes_back_empty_is_worked_on() {
    let mut server = Server::start();
    let shop = Shop::at(&server.url());
    let client = shop.client();
    let (worker, producer) = (shop.worker(WORK), shop.producer(PAUSE));
    for _ in 0..3 {
        let settled = shop.told.settled();
        eventually("traffic", || shop.told.settled() > settled + 50);
        server.kill9();
        server.restart();
    }
    let settled = shop.told.settled();
    eventually("traffic", || shop.told.settled() > settled + 50);
    producer.end();
    shop.drained(&client);
    assert!(completed(&client) > 0, "the queue is in the registry again");
    worker.end();
}

/// What Redis answers after a restore: it believes in claims that were settled long ago.
#[test]
fn an_older_snapshot_under_live_workers_leaves_no_task_active_that_nobody_runs() {
    let mut server = Setup::default().aof().start();
    let shop = Shop::at(&server.url());
    let client = shop.client();
    // Claimed, and not settled before the snapshot is taken.
    let worker = shop.worker(Duration::from_millis(300));
    let numbers = || (0..64).map(Number);
    oncue::block_on(client.enqueue_all(numbers())).expect("enqueued");
    eventually("claims", || count(&client, "default", State::Active) == 16);
    server.kill9();
    let (live, aside) = (server.file("appendonlydir"), server.file("aside"));
    copy(&live, &aside);
    server.restart();
    shop.drained(&client);
    let before = completed(&client);
    assert_eq!(before, 64);
    server.kill9();
    std::fs::remove_dir_all(&live).expect("removed");
    copy(&aside, &live);
    server.restart();
    // The worker lives on, and so do its sessions: it beats them, and more work comes.
    oncue::block_on(client.enqueue_all(numbers())).expect("enqueued");
    shop.drained(&client);
    assert_eq!(completed(&client), 128, "all of the older ones, again, and the new ones");
    println!("{:?}", shop.told);
    worker.end();
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).expect("made");
    for file in std::fs::read_dir(from).expect("there") {
        let file = file.expect("a file");
        std::fs::copy(file.path(), to.join(file.file_name())).expect("copied");
    }
}

#[test]
fn a_full_redis_refuses_new_tasks_and_is_drained() {
    let server = Setup::default().max_memory("5mb", "noeviction").start();
    let shop = Shop::at(&server.url());
    let client = shop.client();
    // Before it is full: a key that is new to Redis is written down.
    oncue::block_on(client.broker().check_keys(client.sealer().keyring().key_checks()))
        .expect("written");
    let (mut stored, mut number) = (0, 0);
    let begun = Instant::now();
    let refused = loop {
        let batch: Vec<_> = (number..number + 200).map(Number).collect();
        match oncue::block_on(client.enqueue_all(batch)) {
            Ok(handles) => (stored, number) = (stored + handles.len() as u64, number + 200),
            Err(error) => break error,
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it is never full");
    };
    assert!(refused.is_full(), "{refused}");
    assert!(refused.to_string().contains("maxmemory"), "{refused}");
    assert_eq!(count(&client, "default", State::Pending), stored, "all of a batch or nothing");
    // Their retention would keep them: they are read, not kept, by a worker of the raw kind.
    let worker = shop.worker(Duration::ZERO);
    shop.drained(&client);
    assert_eq!(completed(&client), stored);
    println!("{stored} tasks until it was full, all of them run");
    worker.end();
}

#[test]
fn pages_are_read_after_a_restart() {
    let mut server = Setup::default().aof().start();
    let shop = Shop::at(&server.url());
    let client = shop.client();
    oncue::block_on(client.enqueue_all((0..10).map(Number))).expect("enqueued");
    server.kill9();
    server.restart();
    let queue = QueueName::parse("default").expect("a name");
    let page = Page { queue, state: State::Pending, cursor: None, rows: PAGE_ROWS_MAX };
    let listing = oncue::block_on(client.broker().list(page)).expect("listed");
    assert_eq!(listing.tasks.len(), 10);
}
