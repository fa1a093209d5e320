//! A herd: two hundred workers come back to a Redis that died, and fifty thousand tasks are due at once. All are
//! served, no call is refused, and none holds up the others for long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use oncue::broker::redis::{Options, RedisBroker};
use oncue::broker::*;
use oncue::clock::ManualClock;
use oncue::queue::KindHash;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::site::eventually;
use crate::fixture::*;
use crate::redis_servers::setup::Setup;

const WORKERS: usize = 200;
const TASKS: usize = 50_000;
/// Most tasks that one `advance` moves, whatever it is asked for.
const ADVANCE_MAX: usize = 1_000;
/// Between two questions how the server is: a pace.
const PACE: Duration = Duration::from_millis(2);

/// Advances, claims and settles until there is nothing left; answers how many tasks it moved and how many it ended.
async fn serve(broker: RedisBroker) -> (usize, usize) {
    let (queue, accept) = (queue("default"), vec![(KindHash::of(KINDS[0]), CLAIMS_MAX)]);
    let session = Session::fresh(queue.clone());
    let (mut moved, mut ended) = (0, 0);
    loop {
        let advanced = broker.advance(queue.clone(), TASKS).await.expect("advanced");
        assert!(advanced.moved <= ADVANCE_MAX, "{} in one call", advanced.moved);
        moved += advanced.moved;
        let (session, accept) = (session.clone(), accept.clone());
        let (lane, lease) = (Lane::Shared, LEASE);
        let ask = Ask { session: session.clone(), lease, max: CLAIMS_MAX, lane, accept };
        let claims = broker.dequeue(ask).await.expect("claimed");
        let list = claims.iter().map(|claim| Settlement::new(claim.ticket, complete())).collect();
        let settled = broker.settle(session, list).await.expect("settled");
        assert!(settled.iter().all(|settled| *settled == Settled::Done), "each is settled once");
        ended += settled.len();
        if !advanced.more && claims.is_empty() {
            return (moved, ended);
        }
    }
}

/// As many files as this process may have: two hundred workers on four hundred threads need more than the 1,024 that
/// a shell gives.
fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("raised");
}

/// Says that it is over, even by a panic.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn two_hundred_workers_come_back_to_fifty_thousand_tasks_due_at_once() {
    allow_many_files();
    let mut server = Setup::default().aof().start();
    let clock = Arc::new(ManualClock::at(START));
    let options = Options::parse(&format!("{}?timeout=20s", server.url())).expect("a URL");
    let open = || RedisBroker::open(options.clone().clock(clock.clone())).expect("a broker");
    let brokers: Vec<RedisBroker> = (0..WORKERS).map(|_| open()).collect();
    let opened = Opened { broker: Arc::new(brokers[0].clone()), guard: None };
    let bench = Bench::at(clock.clone(), opened);
    for _ in 0..TASKS / BATCH_TASKS_MAX {
        bench.put(tasks(BATCH_TASKS_MAX).map(|task| task.after(HOUR)));
    }
    server.kill9();
    server.restart();
    let mut admin = server.admin().expect("an admin");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let pings = scope.spawn(|| {
            let mut times = Vec::new();
            while !over.load(Ordering::SeqCst) {
                let begun = Instant::now();
                ::redis::cmd("PING").exec(&mut admin).expect("PONG");
                times.push(begun.elapsed());
                std::thread::sleep(PACE);
            }
            times.sort();
            times
        });
        let end = Over(&over);
        // Each has two connections, made by threads that knew nothing of each other.
        eventually("all of them to be back", || {
            let clients = server.info("connected_clients").expect("a count");
            clients.parse::<usize>().expect("a number") > 2 * WORKERS
        });
        clock.advance(HOUR);
        let served = oncue::block_on(async {
            futures::future::join_all(brokers.iter().cloned().map(serve)).await
        });
        drop(end);
        let (moved, ended) = served.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        assert_eq!((moved, ended), (TASKS, TASKS), "each is moved once and ended once");
        assert_eq!(bench.stats().total(), 0);
        let times = pings.join().expect("no panic");
        let p99 = times[times.len() * 99 / 100];
        println!("{} pings, p99 {p99:?}, longest {:?}", times.len(), times[times.len() - 1]);
    });
}
