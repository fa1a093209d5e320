//! The wall clock of Redis goes back under live workers, and comes back: what is scheduled is late by that at
//! most, leases live on, nothing is lost.

use std::sync::atomic::Ordering;
use std::time::Duration;

use oncue::Task;
use oncue::state::State;

use super::company::{Shop, ever_completed};
use super::site::eventually;
use crate::redis_servers::setup::Setup;
use crate::runtime::company::{Number, count};
use crate::wall_clock::WallClock;

const WORK: Duration = Duration::from_millis(20);
const PAUSE: Duration = Duration::from_millis(2);
const BACK: i64 = -600;
/// Numbers that are scheduled before and after the jump.
const LATER: u64 = 20;
const FIRST: u64 = 1_000_000;
const DELAY: Duration = Duration::from_secs(1);

#[test]
fn the_clock_of_redis_goes_back_ten_minutes_under_a_live_worker() {
    let clock = WallClock::ahead(0);
    let server = Setup::default().clock(&clock).start();
    let shop = Shop::at(&server.url());
    let client = shop.client();
    let (worker, producer) = (shop.worker(WORK), shop.producer(PAUSE));
    let schedule = |from: u64| {
        let drafts = (from..from + LATER).map(|n| Number(n).draft().after(DELAY));
        oncue::block_on(client.enqueue_all(drafts)).expect("enqueued");
    };
    let traffic = || {
        let settled = shop.told.settled();
        eventually("traffic", || shop.told.settled() > settled + 100);
    };
    let waiting = || count(&client, "default", State::Scheduled);
    let time = || server.ask::<[u64; 2]>(&["TIME"])[0];
    traffic();
    schedule(FIRST);
    let before = time();
    clock.set(BACK);
    assert!(time() < before, "a control: it did go back");
    traffic();
    // What the server says now counts from here on; what was scheduled before waits for the time it was promised.
    schedule(FIRST + LATER);
    eventually("what was scheduled after the jump", || waiting() == LATER);
    traffic();
    assert_eq!(waiting(), LATER, "late by as much as the clock went back");
    clock.set(0);
    traffic();
    let acked = producer.end() + 2 * LATER;
    shop.drained(&client);
    let done = ever_completed(&client);
    assert!(done == acked || done == acked + 1, "{acked} acknowledged, {done} completed");
    assert_eq!(shop.told.ran.load(Ordering::SeqCst), done, "each ran once");
    let [lost, reclaimed] =
        [&shop.told.lost, &shop.told.reclaimed].map(|count| count.load(Ordering::SeqCst));
    assert_eq!((lost, reclaimed), (0, 0), "no lease was lost");
    println!("{acked} acknowledged, 0 lost; {:?}", shop.told);
    worker.end();
}
