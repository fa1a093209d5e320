//! Drains: all that is due runs, time jumps, and the report is true.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use oncue::broker::Setting;
use oncue::clock::Timestamp;
use oncue::queue::QueueName;
use oncue::state::{Reason, State};
use oncue::testing::{Bench, BenchClock};
use oncue::{Call, Client, Data, RetryPolicy, Task, TaskContext, TaskError, TaskResult};
use serde::{Deserialize, Serialize};

use crate::runtime::company::{self, Number, Other, PATIENCE, show};

const DAY: Duration = Duration::from_secs(24 * 3_600);
const HOUR: Duration = Duration::from_secs(3_600);

#[derive(Serialize, Deserialize)]
struct Remind(u32);

impl Task for Remind {
    const KIND: &'static str = "remind";
    const MAX_RETRY: u32 = 12;
    const RETENTION: Duration = DAY;
    const RETRY: RetryPolicy =
        RetryPolicy { jitter: 0.0, ..RetryPolicy::fixed(DAY.saturating_mul(30)) };
}

/// When each run was, by the clock of the bench.
#[derive(Clone)]
struct Diary(BenchClock, Arc<Mutex<Vec<Timestamp>>>);

impl Diary {
    fn of(bench: &Bench) -> Self {
        Self(bench.clock().clone(), Arc::default())
    }

    fn days(&self, since: Timestamp) -> Vec<u64> {
        let times = self.1.lock().expect("not poisoned");
        times.iter().map(|time| time.since(since).as_secs() / DAY.as_secs()).collect()
    }
}

/// Succeeds at the attempt it is told.
async fn remind(task: Remind, context: TaskContext, diary: Data<Diary>) -> TaskResult<u32> {
    diary.1.lock().expect("not poisoned").push(diary.0.now());
    match context.attempt() {
        last if last == task.0 => Ok(last),
        _ => Err(TaskError::new("nobody was there").class("away")),
    }
}

fn bench() -> Bench {
    Bench::new().expect("a bench")
}

#[test]
fn a_year_of_retries_runs_at_its_times() {
    oncue::block_on(async {
        let bench = bench();
        let (start, diary) = (bench.clock().now(), Diary::of(&bench));
        let task = bench.client().enqueue(Remind(13)).await.expect("enqueued");
        let drained = bench.drain(|worker| worker.handle(remind).data(diary.clone())).await;
        let drained = drained.expect("drained");
        assert_eq!((drained.runs, drained.completed, drained.retried), (13, 1, 12));
        assert_eq!((drained.passed, drained.left, drained.archived.len()), (DAY * 360, 0, 0));
        assert_eq!(diary.days(start), (0..13).map(|run| run * 30).collect::<Vec<_>>());
        assert_eq!(bench.clock().now(), start.plus(DAY * 360));
        assert_eq!(task.result::<u32>().timeout(PATIENCE).await.expect("kept"), 13);
        // Kept for a day by the same clock.
        bench
            .drain_for(DAY, |worker| worker.handle(remind).data(diary.clone()))
            .await
            .expect("drained");
        assert_eq!(task.state().await.expect("asked"), None);
    });
}

#[test]
fn what_is_archived_is_told_with_what_it_said() {
    oncue::block_on(async {
        let bench = bench();
        let task = bench.client().enqueue(Remind(99)).await.expect("enqueued");
        let drained = bench.drain(|worker| worker.handle(remind).data(Diary::of(&bench))).await;
        let drained = drained.expect("drained");
        assert_eq!((drained.runs, drained.retried, drained.completed), (13, 12, 0));
        let [failed] = &drained.archived[..] else { panic!("{drained:?}") };
        assert_eq!(
            (failed.id, failed.attempt, failed.reason()),
            (task.id(), 13, Some(Reason::Exhausted))
        );
        assert_eq!(
            (failed.class.as_deref(), failed.message.as_str()),
            (Some("away"), "nobody was there")
        );
    });
}

#[test]
fn what_is_due_later_than_asked_for_stays() {
    oncue::block_on(async {
        let bench = bench();
        let (start, diary) = (bench.clock().now(), Diary::of(&bench));
        for days in [5, 1, 3, 9] {
            let draft = Remind(1).draft().after(DAY * days);
            bench.client().enqueue(draft).await.expect("enqueued");
        }
        let build = |worker: oncue::worker::Builder| worker.handle(remind).data(diary.clone());
        let drained = bench.drain_for(DAY * 5, build).await.expect("drained");
        assert_eq!((drained.completed, drained.left, drained.passed), (3, 1, DAY * 5));
        assert_eq!(diary.days(start), [1, 3, 5], "in the order they were due");
        let drained = bench.drain_for(DAY, build).await.expect("drained");
        assert_eq!((drained.runs, drained.passed), (0, DAY), "nothing was due");
        assert_eq!(bench.drain(build).await.expect("drained").passed, DAY * 3);
    });
}

#[test]
fn expiry_and_deadline_follow_the_clock() {
    oncue::block_on(async {
        let bench = bench();
        let put = async |draft: oncue::Draft<Remind>| {
            bench.client().enqueue(draft).await.expect("enqueued")
        };
        let stale = put(Remind(1).draft().expires(HOUR)).await;
        bench.clock().pass(HOUR * 2);
        let now = SystemTime::from(bench.clock().now());
        // Its second run would be after it.
        let late = put(Remind(2).draft().deadline(now + DAY)).await;
        let drained = bench.drain(|worker| worker.handle(remind).data(Diary::of(&bench))).await;
        let mut told: Vec<_> =
            drained.expect("drained").archived.into_iter().map(|f| (f.id, f.reason())).collect();
        told.sort_by_key(|(id, _)| *id != stale.id());
        let expired = Some(Reason::Expired);
        assert_eq!(told, [(stale.id(), expired), (late.id(), expired)]);
    });
}

async fn nothing(_: Number) -> TaskResult {
    Ok(())
}

#[test]
fn what_the_worker_does_not_serve_is_left_and_moves_no_clock() {
    oncue::block_on(async {
        let bench = bench();
        let client = bench.client();
        client.enqueue(Other(1)).await.expect("another queue");
        client.enqueue(Other(1).draft().queue("default")).await.expect("no handler");
        client
            .enqueue(Other(1).draft().queue("default").after(DAY))
            .await
            .expect("no handler, later");
        let paused = QueueName::parse("paused").expect("a name");
        client.broker().set(paused, Setting::Paused(true)).await.expect("paused");
        client.enqueue(Number(1).draft().queue("paused")).await.expect("enqueued");
        let ours = client.enqueue(Number(1)).await.expect("enqueued");
        let lane = oncue::Lane::weighted([("default", 1), ("paused", 1)]);
        let drained =
            bench.drain(|worker| worker.handle(nothing).lane(lane)).await.expect("drained");
        assert_eq!((drained.runs, drained.left, drained.passed), (1, 3, Duration::ZERO));
        assert_eq!(ours.state().await.expect("asked"), Some(State::Completed));
    });
}

#[test]
fn what_handlers_enqueue_runs_too() {
    async fn countdown(task: Number, client: Data<Client>) -> TaskResult {
        if task.0 > 0 {
            client.enqueue(Number(task.0 - 1).draft().after(DAY)).await?;
        }
        Ok(())
    }
    oncue::block_on(async {
        let bench = bench();
        bench.client().enqueue(Number(5)).await.expect("enqueued");
        let client = bench.client().clone();
        let drained =
            bench.drain(|worker| worker.handle(countdown).data(client)).await.expect("drained");
        assert_eq!((drained.completed, drained.passed), (6, DAY * 5));
    });
}

#[test]
fn every_ending_is_counted() {
    async fn end(task: Number, context: TaskContext) -> TaskResult {
        match (task.0, context.header("snoozed")) {
            (1, _) => Err(TaskError::revoke()),
            (2, _) => Err(TaskError::skip_retry("no")),
            (3, _) if context.created().plus(HOUR) > context.deadline().expect("told") => Ok(()),
            (3, _) => Err(TaskError::snooze(HOUR)),
            _ => Ok(()),
        }
    }
    oncue::block_on(async {
        let bench = bench();
        bench.client().enqueue_all([Number(0), Number(1), Number(2)]).await.expect("enqueued");
        let drained = bench.drain(|worker| worker.handle(end)).await.expect("drained");
        assert_eq!((drained.runs, drained.completed, drained.revoked), (3, 1, 1));
        assert_eq!((drained.archived.len(), drained.snoozed, drained.retried), (1, 0, 0));
    });
}

#[test]
fn what_never_ends_is_told() {
    async fn later(_: Number) -> TaskResult {
        Err(TaskError::snooze(DAY))
    }
    oncue::block_on(async {
        let bench = bench().runs_max(100);
        bench.client().enqueue(Number(1)).await.expect("enqueued");
        let drained =
            bench.drain_for(DAY * 9, |worker| worker.handle(later)).await.expect("drained");
        assert_eq!((drained.snoozed, drained.passed, drained.left), (10, DAY * 9, 1));
        let error = bench.drain(|worker| worker.handle(later)).await.expect_err("it never ends");
        assert!(error.is_timeout() && error.to_string().contains("more than 100 runs"), "{error}");
    });
}

#[test]
fn a_worker_that_is_wrong_is_told() {
    oncue::block_on(async {
        let bench = bench();
        assert!(bench.drain(|worker| worker).await.expect_err("no handler").is_invalid());
        let twice = bench.drain(|worker| worker.handle(nothing).handle(nothing)).await;
        assert!(twice.expect_err("two for a kind").is_invalid());
    });
}

#[test]
fn hooks_middleware_and_events_of_the_test_are_its_own() {
    oncue::block_on(async {
        let bench = bench();
        bench.client().enqueue(Number(1).draft().max_retry(0)).await.expect("enqueued");
        let (tell, told) = std::sync::mpsc::channel();
        let (event, archive) = (tell.clone(), tell.clone());
        let drained = bench.drain(|worker| {
            worker
                .handle(nothing)
                .around(move |call: Call| {
                    let tell = tell.clone();
                    async move {
                        tell.send("around").expect("heard");
                        call.proceed().await?;
                        Err(TaskError::skip_retry("changed"))
                    }
                })
                .on_archive(move |_| archive.send("archive").expect("heard"))
                .on_event(move |one| {
                    if matches!(one, oncue::event::Event::Settled { .. }) {
                        event.send("event").expect("heard");
                    }
                })
        });
        assert_eq!(drained.await.expect("drained").archived.len(), 1);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), ["around", "archive", "event"]);
    });
}

#[test]
fn it_blocks_no_runtime_of_the_test() {
    /// Asks a server that lives on the thread of the test.
    async fn ask(
        task: Number,
        server: Data<tokio::sync::mpsc::Sender<tokio::sync::oneshot::Sender<u64>>>,
    ) -> TaskResult<u64> {
        let (tell, told) = tokio::sync::oneshot::channel();
        server.send(tell).await?;
        Ok(task.0 + told.await?)
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (server, mut asked) =
            tokio::sync::mpsc::channel::<tokio::sync::oneshot::Sender<u64>>(1);
        tokio::spawn(async move {
            while let Some(tell) = asked.recv().await {
                tell.send(40).expect("heard");
            }
        });
        let bench = bench();
        let task = bench.client().enqueue(Number(2)).await.expect("enqueued");
        bench.drain(|worker| worker.handle(ask).data(server)).await.expect("drained");
        assert_eq!(task.result::<u64>().timeout(PATIENCE).await.expect("a result"), 42);
    });
}

#[test]
fn a_worker_that_runs_hears_of_the_clock() {
    let bench = bench();
    let company = company::Company::start(bench.client().clone(), |worker| worker.handle(nothing));
    let task = company.put(Number(1).draft().after(DAY * 400));
    assert_eq!(show(&company.client, &task).expect("there").state, State::Scheduled);
    bench.clock().pass(DAY * 400);
    company.completed(1);
    // Its session outlived the jump.
    company.put(Number(2));
    company.completed(1);
    assert_eq!(company.end().1.restarts, 0);
}

#[test]
fn a_bench_begins_when_it_is_told() {
    let begin = SystemTime::UNIX_EPOCH + DAY * 365;
    let bench = Bench::at(begin).expect("a bench");
    assert_eq!(bench.clock().now(), Timestamp::from(begin));
    bench.clock().pass(HOUR);
    assert_eq!(bench.clock().now(), Timestamp::from(begin + HOUR));
}
