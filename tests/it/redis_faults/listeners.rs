//! Who listens too slowly is cut off by Redis, again and again, or Redis is paused: the listener comes back, and no
//! wake-up is missed for good.

use std::time::Duration;

use super::company::{Shop, completed};
use super::site::eventually;
use crate::redis_servers::server::Server;
use crate::redis_servers::setup::Setup;
use crate::runtime::company::Number;

const WORK: Duration = Duration::from_millis(5);
const PAUSE: Duration = Duration::from_millis(2);
const CUTS: usize = 8;
/// Tasks that come while nothing else does.
const ALONE: u64 = 3;
const FIRST: u64 = 1_000_000;
const CHANNEL: &str = "oncue:{default/default}:ready";

/// Traffic while listeners are treated so; between two times, each has to come back.
fn listening(server: &Server, times: usize, treat: impl Fn()) {
    let shop = Shop::at(&server.url());
    let client = shop.client();
    let (worker, producer) = (shop.worker(WORK), shop.producer(PAUSE));
    let listeners = || {
        let clients: String = server.ask(&["CLIENT", "LIST", "TYPE", "pubsub"]);
        let ids = clients.lines().filter_map(|line| line.strip_prefix("id=")?.split(' ').next());
        ids.map(str::to_owned).collect::<Vec<_>>()
    };
    eventually("listeners", || !listeners().is_empty() && shop.told.settled() > 20);
    let mut cut = 0;
    for _ in 0..times {
        let (before, settled) = (listeners(), shop.told.settled());
        treat();
        eventually("listeners", || !listeners().is_empty());
        eventually("work", || shop.told.settled() > settled + 20);
        cut += usize::from(before.iter().all(|id| !listeners().contains(id)));
    }
    let mut acked = producer.end();
    shop.drained(&client);
    // Who is idle hears of a task that comes alone by a wake-up, or by the tick that makes up for one.
    for number in FIRST..FIRST + ALONE {
        let settled = shop.told.settled();
        treat();
        oncue::block_on(client.enqueue(Number(number))).expect("enqueued");
        eventually("a task that comes alone", || shop.told.settled() > settled);
        eventually("listeners", || !listeners().is_empty());
    }
    acked += ALONE;
    let done = completed(&client);
    assert!(done == acked || done == acked + 1, "{acked} acknowledged, {done} completed");
    println!("cut off {cut} times; {acked} acknowledged, 0 lost; {:?}", shop.told);
    worker.end();
}

#[test]
fn listeners_that_are_killed_come_back() {
    let server = Server::start();
    let killed = || {
        let count: i64 = server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        assert!(count > 0, "a control: somebody listened");
    };
    listening(&server, CUTS, killed);
}

#[test]
fn listeners_that_are_too_slow_come_back() {
    let server = Setup::default().line("client-output-buffer-limit pubsub 32kb 16kb 1").start();
    let flooded = || {
        // One message over the limit: whoever listens is cut off before it is sent.
        let big = "x".repeat(256 * 1024);
        // Who is back may not listen to this channel yet.
        eventually("somebody who listens", || server.ask::<i64>(&["PUBLISH", CHANNEL, &big]) > 0);
    };
    listening(&server, CUTS, flooded);
}

#[test]
fn a_pause_is_waited_out() {
    let server = Server::start();
    let paused = || {
        for mode in ["WRITE", "ALL"] {
            server.cli(&["CLIENT", "PAUSE", "500", mode]);
        }
    };
    listening(&server, 1, paused);
}
