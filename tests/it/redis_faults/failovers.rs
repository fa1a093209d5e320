//! The primary changes under traffic. What a replica had not got when it took over is lost: counted here, for it is
//! Redis's promise that ends there. Nothing hangs, and nothing runs for nobody.

use std::time::Duration;

use super::company::{Shop, completed};
use super::site::{eventually, time_until};
use crate::redis_servers::sentinel::Sentinels;

const WORK: Duration = Duration::from_millis(5);
const PAUSE: Duration = Duration::from_millis(2);

#[test]
fn a_failover_with_and_without_a_dead_primary_is_followed() {
    let mut deployment = Sentinels::start();
    let url = deployment.url();
    let shop = Shop::at(url.strip_suffix("/0").unwrap_or(&url));
    let client = shop.client();
    let (worker, producer) = (shop.worker(WORK), shop.producer(PAUSE));
    let traffic = || {
        let (acked, settled) = (producer.acked(), shop.told.settled());
        time_until("traffic", || {
            producer.acked() > acked + 50 && shop.told.settled() > settled + 50
        })
    };
    traffic();
    deployment.fail_over();
    println!("traffic again {:?} after an ordered failover", traffic());
    let dead = deployment.primary();
    deployment.kill_primary();
    println!("traffic again {:?} after a primary was killed and replaced", traffic());
    deployment.servers[dead].restart();
    deployment.settle();
    traffic();
    let acked = producer.end();
    shop.drained(&client);
    let done = completed(&client);
    let lost = acked.saturating_sub(done);
    println!("{acked} acknowledged without WAIT, {lost} lost with two failovers; {:?}", shop.told);
    // A few milliseconds of traffic; the rest is there.
    assert!(lost * 2 < acked, "{lost} of {acked} are lost");
    eventually("no more to be done", || completed(&client) >= done);
    worker.end();
}
