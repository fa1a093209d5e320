//! A right is taken from a running worker, and given back: it says so loudly, asks on at a bounded pace, and goes
//! on by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use oncue::event::Event;

use super::company::{Shop, completed};
use super::site::eventually;
use crate::redis_servers::setup::Setup;

const WORK: Duration = Duration::from_millis(5);
const PAUSE: Duration = Duration::from_millis(2);
/// Sweeps of one worker that are waited for while it is refused. They come at their own pace, eight in a beat or so.
const SWEEPS: u64 = 24;
/// Calls that may be refused in the time of one sweep: itself, a beat that is repeated, and what backs off. Who asks
/// without end is refused hundreds of times.
const REFUSED_MAX: u64 = 12;

#[test]
fn a_right_that_is_taken_is_missed_aloud_and_no_task_with_it() {
    let users = "user default on nopass ~* &* +@all\nuser worker on >pass ~* &* +@all";
    let server = Setup::default().acl(users).start();
    let shop = Shop::at(&server.url());
    let client = shop.client();
    let (sweeps, told) = (Arc::<AtomicU64>::default(), shop.told.clone());
    let counted = sweeps.clone();
    let worker =
        shop.worker_of(shop.client_by(&server.url_as("worker", "pass")), WORK, |builder| {
            builder.on_event(move |event| {
                if let Event::BrokerFailed { verb: "reclaim", .. } = event {
                    counted.fetch_add(1, Ordering::SeqCst);
                }
                told.hear(event);
            })
        });
    let producer = shop.producer(PAUSE);
    let traffic = || {
        let settled = shop.told.settled();
        eventually("traffic", || shop.told.settled() > settled + 50);
    };
    let refused = || {
        let stats: String = server.ask(&["INFO", "commandstats"]);
        let line = stats.lines().find(|line| line.starts_with("cmdstat_fcall:")).expect("calls");
        let count = line.split("rejected_calls=").nth(1).and_then(|rest| rest.split(',').next());
        count.expect("a count").parse::<u64>().expect("a number")
    };
    traffic();
    assert_eq!((refused(), shop.told.failed.load(Ordering::SeqCst)), (0, 0), "a control");
    server.cli(&["ACL", "SETUSER", "worker", "-fcall"]);
    eventually("sweeps that are refused", || sweeps.load(Ordering::SeqCst) >= SWEEPS);
    let (swept, calls) = (sweeps.load(Ordering::SeqCst), refused());
    println!("{calls} calls were refused in the time of {swept} sweeps");
    assert!(calls <= REFUSED_MAX * swept, "{calls} calls in the time of {swept} sweeps");
    for verb in ["dequeue", "settle", "reclaim", "beat"] {
        shop.told.until_failed(&format!("{verb}: this user of Redis may not do that; see its ACL"));
    }
    let log: Vec<redis::Value> = server.ask(&["ACL", "LOG"]);
    assert!(!log.is_empty(), "the server tells its operator, too");
    server.cli(&["ACL", "SETUSER", "worker", "+fcall"]);
    traffic();
    let acked = producer.end();
    shop.drained(&client);
    let done = completed(&client);
    assert!(done == acked || done == acked + 1, "{acked} acknowledged, {done} completed");
    println!("{acked} acknowledged, 0 lost; {:?}", shop.told);
    worker.end();
}
