//! The way to Redis is slow, stuck, half open or deaf: no worker stays deaf, nothing runs for nobody.

use std::time::Duration;

use oncue::state::State;

use super::company::{LEASE, Shop, completed};
use super::site::{Site, eventually, time_until};
use crate::redis_servers::proxy::Way;
use crate::runtime::company::{Number, count};

const WORK: Duration = Duration::from_millis(20);
const PAUSE: Duration = Duration::from_millis(2);
/// What a worker needs to find what nobody told it of: a tick, and the machine being busy.
const TICK: Duration = Duration::from_secs(4);

/// The worker's way is spoiled, the producer's is not.
fn spoiled(spoil: impl FnOnce(&Site, &Shop)) {
    let site = Site::new();
    let shop = Shop::at(&site.server.url());
    let client = shop.client();
    let worker = shop.worker_of(shop.client_by(&site.proxy.url()), WORK, |builder| builder);
    let producer = shop.producer(PAUSE);
    eventually("traffic", || shop.told.settled() > 50);
    spoil(&site, &shop);
    let settled = shop.told.settled();
    let time = time_until("work", || shop.told.settled() > settled + 20);
    let acked = producer.end();
    shop.drained(&client);
    let done = completed(&client);
    assert!(done == acked || done == acked + 1, "{acked} acknowledged, {done} completed");
    println!("worked again after {time:?}; {:?}", shop.told);
    worker.end();
}

#[test]
fn a_stall_of_two_seconds_is_waited_out() {
    spoiled(|site, _| {
        for way in [Way::Requests, Way::Replies] {
            site.proxy.stall(way);
            std::thread::sleep(Duration::from_secs(1));
            site.proxy.release(way);
        }
    });
}

/// Longer than a lease and than the patience of every call: the others take over, and what is late is fenced.
#[test]
fn a_partition_of_twenty_seconds_ends_well() {
    spoiled(|site, shop| {
        for way in [Way::Requests, Way::Replies] {
            site.proxy.stall(way);
        }
        let other = shop.worker(WORK);
        let settled = shop.told.settled();
        eventually("another worker to go on", || shop.told.settled() > settled + 50);
        std::thread::sleep(Duration::from_secs(20));
        other.end();
        for way in [Way::Requests, Way::Replies] {
            site.proxy.release(way);
        }
    });
}

/// Nobody is told of the end: replies are thrown away until the connection is given up.
#[test]
fn half_a_connection_is_given_up() {
    spoiled(|site, _| {
        site.proxy.swallow(Way::Replies);
        // Longer than a call waits.
        std::thread::sleep(LEASE * 2);
        site.proxy.hear(Way::Replies);
    });
}

#[test]
fn resets_at_any_moment_are_no_reason_to_stop() {
    spoiled(|site, shop| {
        for _ in 0..20 {
            let settled = shop.told.settled();
            site.proxy.reset();
            eventually("work", || shop.told.settled() > settled);
        }
    });
}

/// The messages that wake are lost; the tick finds what they would have told.
#[test]
fn a_lost_message_is_made_up_for_by_the_tick() {
    let site = Site::new();
    let shop = Shop::at(&site.server.url());
    let client = shop.client();
    let worker = shop.worker_of(shop.client_by(&site.proxy.url()), WORK, |builder| builder);
    eventually("a worker that waits", || {
        site.server.ask::<i64>(&["EXISTS", "oncue:{default/default}:i"]) == 1
    });
    for number in 0..5 {
        let settled = shop.told.settled();
        // As if the message had been published and lost: nobody hears of this task.
        site.server.cli(&["DEL", "oncue:{default/default}:i"]);
        oncue::block_on(client.enqueue(Number(number))).expect("enqueued");
        let time = time_until("the tick", || shop.told.settled() > settled);
        println!("found after {time:?}");
        assert!(time < TICK, "{time:?}");
    }
    assert_eq!(count(&client, "default", State::Pending), 0);
    worker.end();
}
