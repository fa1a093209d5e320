//! The timetable on a bench: ticks come at their times, as long as one is told to wait for them.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use oncue::testing::Bench;
use oncue::timetable::{Entry, Missed, Runs, TICK_HEADER};
use oncue::{Data, RetryPolicy, Task, TaskContext, TaskError, TaskResult};
use serde::{Deserialize, Serialize};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// 2026-03-01T00:00:00Z.
const MARCH: Duration = Duration::from_secs(1_772_323_200);

#[derive(Serialize, Deserialize)]
struct Report;

impl Task for Report {
    const KIND: &'static str = "report";
    const RETRY: RetryPolicy = RetryPolicy { jitter: 0.0, ..RetryPolicy::fixed(DAY) };
}

type Ran = Arc<Mutex<Vec<String>>>;

async fn report(_: Report, context: TaskContext, ran: Data<Ran>) -> TaskResult {
    let tick = context.header(TICK_HEADER).unwrap_or_default().to_owned();
    ran.lock().expect("not poisoned").push(tick);
    // The run of the third day fails, and is repeated a day later.
    let fails = ran.lock().expect("not poisoned").len() == 3;
    if fails { Err(TaskError::new("the printer is away")) } else { Ok(()) }
}

fn bench() -> (Bench, Ran) {
    (Bench::at(SystemTime::UNIX_EPOCH + MARCH).expect("a bench"), Ran::default())
}

fn nightly(runs: Runs) -> Entry {
    let entry = Entry::new("nightly", "30 2 * * *", Report).expect("an entry");
    entry.zone("Europe/Berlin").expect("a zone").runs(runs)
}

#[test]
fn months_of_ticks_come_at_their_times() {
    oncue::block_on(async {
        let (bench, ran) = bench();
        bench.client().cron().put(nightly(Runs::Allow)).await.expect("put");
        let drained = bench
            .drain_for(92 * DAY, |worker| worker.handle(report).data(ran.clone()))
            .await
            .expect("drained");
        // March, April and May have 92 nights; one run is repeated.
        assert_eq!((drained.completed, drained.retried, drained.passed), (92, 1, 92 * DAY));
        let ran = ran.lock().expect("not poisoned");
        assert_eq!(ran.first().map(String::as_str), Some("2026-03-01T01:30:00.000Z"));
        // In the night of the change there is no half past two.
        let change =
            ["2026-03-28T01:30:00.000Z", "2026-03-29T01:00:00.000Z", "2026-03-30T00:30:00.000Z"];
        assert!(change.iter().all(|tick| ran.iter().any(|at| at == tick)), "{ran:?}");
    });
}

#[test]
fn a_drain_without_a_time_waits_for_no_tick() {
    oncue::block_on(async {
        let (bench, ran) = bench();
        bench.client().cron().put(nightly(Runs::Allow)).await.expect("put");
        let work = |worker: oncue::worker::Builder| worker.handle(report).data(ran.clone());
        let drained = bench.drain(work).await.expect("drained");
        assert_eq!((drained.runs, drained.passed), (0, Duration::ZERO));
        // What came while nobody was there is caught up with.
        bench.clock().pass(3 * HOUR);
        assert_eq!(bench.drain(work).await.expect("drained").completed, 1);
        // One that leaves the timetable to others does not wait for it.
        let alone = |worker| work(worker).schedules(false);
        assert_eq!(bench.drain_for(DAY, alone).await.expect("drained").runs, 0);
    });
}

#[test]
fn a_tick_that_waits_for_the_run_before_it_comes_after_it() {
    oncue::block_on(async {
        let (bench, ran) = bench();
        bench.client().cron().put(nightly(Runs::Queue)).await.expect("put");
        let work = |worker: oncue::worker::Builder| worker.handle(report).data(ran.clone());
        let drained = bench.drain_for(6 * DAY, work).await.expect("drained");
        // The run of the third night is repeated at the time of the fourth, which waits for it.
        assert_eq!((drained.completed, drained.retried), (6, 1));
        let ticks = ran.lock().expect("not poisoned").clone();
        let days: Vec<_> = ticks.iter().map(|tick| &tick[8..10]).collect();
        assert_eq!(days, ["01", "02", "03", "03", "04", "05", "06"]);
    });
}

#[test]
fn a_tick_that_could_wait_and_need_not_is_run() {
    oncue::block_on(async {
        let (bench, ran) = bench();
        bench.client().cron().put(nightly(Runs::Queue)).await.expect("put");
        let work = |worker: oncue::worker::Builder| worker.handle(report).data(ran.clone());
        bench.clock().pass(3 * HOUR);
        let drained = bench.drain(work).await.expect("drained");
        assert_eq!((drained.completed, drained.passed), (1, Duration::ZERO));
        // The next one comes at the very end.
        let left = DAY - Duration::from_secs(5_400);
        assert_eq!(bench.drain_for(left, work).await.expect("drained").completed, 1);
    });
}

#[test]
fn ticks_that_came_run_one_after_the_other() {
    oncue::block_on(async {
        let (bench, ran) = bench();
        bench.client().cron().put(nightly(Runs::Queue).missed(Missed::All)).await.expect("put");
        let work = |worker: oncue::worker::Builder| worker.handle(report).data(ran.clone());
        bench.clock().pass(4 * DAY);
        // The third run fails: the fourth tick waits until it was repeated, and the fifth has come meanwhile.
        let drained = bench.drain(work).await.expect("drained");
        assert_eq!((drained.completed, drained.retried, drained.left), (5, 1, 0));
        let ticks = ran.lock().expect("not poisoned").clone();
        let days: Vec<_> = ticks.iter().map(|tick| &tick[8..10]).collect();
        assert_eq!(days, ["01", "02", "03", "03", "04", "05"]);
    });
}

#[test]
fn a_drain_does_not_wait_for_a_run_that_cannot_end() {
    oncue::block_on(async {
        let (bench, ran) = bench();
        bench.client().cron().put(nightly(Runs::Queue)).await.expect("put");
        bench.client().cron().run_now("nightly").await.expect("enqueued");
        bench.clock().pass(3 * HOUR);
        // Its task has no handler here.
        let idle = |worker: oncue::worker::Builder| {
            worker.handle(|_: crate::runtime::company::Number| async { TaskResult::Ok(()) })
        };
        assert_eq!(bench.drain(idle).await.expect("drained").left, 1);
        assert_eq!(bench.drain_for(HOUR, idle).await.expect("drained").passed, HOUR);
        let work = |worker: oncue::worker::Builder| worker.handle(report).data(ran.clone());
        assert_eq!(bench.drain(work).await.expect("drained").completed, 2);
    });
}
