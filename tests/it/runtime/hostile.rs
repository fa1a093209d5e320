//! Handlers that do what no handler should: each costs its own task, and at worst its own thread.

use std::panic::panic_any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::{Actor, Arbiter, AsyncContext, Context, Handler, Message, System};
use oncue::event::Event;
use oncue::outcome::Decision;
use oncue::restart::{OnExceeded, Policy};
use oncue::state::State;
use oncue::worker::Health;
use oncue::{Call, Client, Job, Output, RetryPolicy, Task, TaskContext, TaskError, TaskResult};
use serde::{Deserialize, Serialize, Serializer};

use super::company::*;

/// The drop of this panic panics, and so does the drop of that, for ever.
struct Endless;

impl Drop for Endless {
    fn drop(&mut self) {
        panic_any(Endless);
    }
}

/// Panics when it is dropped, unless something panics already.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "planned, in a drop");
    }
}

/// Where a run misbehaves.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
enum Nasty {
    Well,
    PanicWithoutEnd,
    DropOfTheTask,
    DropOfTheFuture,
    DropWhenGivenUp,
    DisplayOfTheError,
    WritingTheResult,
    BlocksInPlace,
    RuntimeInside,
    LeaksItsContext,
    LeavesPanicsBehind,
    Floods,
    Middleware,
}

/// Armed once it was read: who enqueues it drops it unharmed.
#[derive(Serialize, Deserialize)]
struct Act(Nasty, #[serde(skip_serializing, default = "armed")] bool);

fn armed() -> bool {
    true
}

impl Drop for Act {
    fn drop(&mut self) {
        let planned = self.0 == Nasty::DropOfTheTask && !std::thread::panicking();
        assert!(!planned || !self.1, "planned, in the drop of a task");
    }
}

impl Task for Act {
    const KIND: &'static str = "act";
    const RETENTION: Duration = Duration::from_secs(600);
    const MAX_RETRY: u32 = 0;
    const RETRY: RetryPolicy = AT_ONCE;
}

/// Panics when it is shown.
#[derive(Debug)]
struct Unspeakable;

impl std::fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("planned, in a display")
    }
}

impl std::error::Error for Unspeakable {}

/// Panics when it is written, if it is to.
struct Answer(bool);

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert!(!self.0, "planned, in a result");
        serializer.serialize_unit()
    }
}

async fn act(act: Act, context: TaskContext) -> TaskResult<Answer> {
    match act.0 {
        Nasty::PanicWithoutEnd => panic_any(Endless),
        Nasty::DropOfTheFuture => {
            let _bomb = Bomb;
            tokio::task::yield_now().await;
        }
        Nasty::DropWhenGivenUp => {
            let _bomb = Bomb;
            std::future::pending::<()>().await;
        }
        Nasty::DisplayOfTheError => Err(Unspeakable)?,
        Nasty::BlocksInPlace => tokio::task::block_in_place(|| ()),
        Nasty::RuntimeInside => {
            let runtime = tokio::runtime::Builder::new_current_thread().build()?;
            runtime.block_on(std::future::ready(()));
        }
        Nasty::LeaksItsContext => std::mem::forget(context),
        Nasty::LeavesPanicsBehind => {
            actix::spawn(async { panic!("planned, beside the run") });
            actix::spawn(std::future::pending::<()>());
        }
        Nasty::Floods => (0..100_000).for_each(|_| drop(actix::spawn(tokio::task::yield_now()))),
        Nasty::WritingTheResult => return Ok(Answer(true)),
        Nasty::Well | Nasty::DropOfTheTask | Nasty::Middleware => {}
    }
    Ok(Answer(false))
}

#[test]
fn whatever_a_run_does_costs_that_run_alone() {
    let company = Company::start(client(), |worker| {
        let around = |call: Call| async move {
            let payload: u64 = call.context().header("nasty").map_or(0, |_| 1);
            tokio::task::yield_now().await;
            if payload == 1 {
                panic_any(Endless);
            }
            call.proceed().await
        };
        worker.handle(act).around(around).threads(1).on_error(|_| panic_any(Endless))
    });
    for (nasty, class) in [
        (Nasty::PanicWithoutEnd, Some("panic")),
        (Nasty::DropOfTheTask, Some("panic")),
        (Nasty::DropOfTheFuture, Some("panic")),
        (Nasty::DropWhenGivenUp, Some("timeout")),
        (Nasty::DisplayOfTheError, Some("panic")),
        (Nasty::WritingTheResult, Some("panic")),
        (Nasty::BlocksInPlace, Some("panic")),
        (Nasty::RuntimeInside, Some("panic")),
        (Nasty::LeaksItsContext, None),
        (Nasty::LeavesPanicsBehind, None),
        (Nasty::Floods, None),
        (Nasty::Middleware, Some("panic")),
        (Nasty::Well, None),
    ] {
        let mut draft = Act(nasty, false).draft();
        if nasty == Nasty::DropWhenGivenUp {
            draft = draft.timeout(Duration::from_millis(20));
        }
        if nasty == Nasty::Middleware {
            draft = draft.header("nasty", "yes");
        }
        let task = company.put(draft);
        assert_eq!(company.settled(&task).1.as_deref(), class, "{nasty:?}");
    }
    assert_eq!(company.worker.health(), Health::Ok);
    let report = company.end().1;
    assert_eq!((report.restarts, report.archived, report.completed), (0, 9, 4));
}

#[test]
fn a_listener_that_panics_without_end_hurts_nobody() {
    let listener = |_: &Event| panic_any(Endless);
    let client = client();
    let worker = client.worker().handle(|_: Number| async { TaskResult::Ok(()) });
    let worker = oncue::block_on(worker.on_event(listener).start()).expect("starts");
    oncue::block_on(async {
        let task = client.enqueue(Number(1)).await.expect("enqueued");
        task.result::<()>().timeout(PATIENCE).await.expect("it ran");
        let report = worker.shutdown().await.expect("in order");
        assert_eq!((report.completed, report.restarts), (1, 0));
    });
}

#[test]
fn data_that_cannot_be_dropped_do_not_spoil_the_end() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let company = Company::start(client(), |worker| {
        // A blocking client of HTTP holds a runtime, which panics if it is dropped where nobody may block.
        worker.handle(|_: Number| async { TaskResult::Ok(()) }).data(runtime).data(Bomb)
    });
    let task = company.put(Number(1));
    company.settled(&task);
    assert_eq!(company.end().1.completed, 1);
}

/// A task that ends its thread, or all of them, whenever it runs.
fn poisoned(stop: fn()) {
    let company = Company::start(client(), |worker| {
        let stops = move |_: Number| async move {
            stop();
            std::future::pending::<TaskResult>().await
        };
        worker.handle(stops).handle(|_: Other| async { TaskResult::Ok(()) }).threads(2)
    });
    let pill = company.put(Number(0));
    company.poisoned(&pill);
    let trail = show(&company.client, &pill).expect("kept").trail;
    assert_eq!((trail.attempts, trail.crashes.len()), (0, 4));
    let beside = company.put(Other(0));
    assert!(matches!(company.settled(&beside).0, Decision::Complete(_)));
    assert_eq!(company.worker.health(), Health::Ok);
    company.end();
}

#[test]
fn a_task_that_stops_its_thread_each_time_is_poison() {
    poisoned(|| assert!(Arbiter::current().stop()));
}

#[test]
fn a_task_that_stops_the_whole_system_each_time_is_poison() {
    poisoned(|| System::current().stop());
}

/// An actor that sends itself messages for ever, if its task says so.
struct Talker(Arc<AtomicBool>);

#[derive(Message)]
#[rtype(result = "()")]
struct Again;

impl Actor for Talker {
    type Context = Context<Self>;
}

impl Handler<Again> for Talker {
    type Result = ();

    fn handle(&mut self, _: Again, context: &mut Self::Context) {
        if !self.0.load(Ordering::SeqCst) {
            context.notify(Again);
        }
    }
}

impl Handler<Job<Number>> for Talker {
    type Result = TaskResult<Output>;

    fn handle(&mut self, job: Job<Number>, context: &mut Self::Context) -> Self::Result {
        if job.task.0 == 0 {
            context.notify(Again);
        }
        Err(TaskError::snooze(Duration::MAX))
    }
}

#[test]
fn an_actor_that_talks_to_itself_for_ever_is_replaced_with_its_thread() {
    let enough = Arc::new(AtomicBool::new(false));
    let heard = enough.clone();
    let company = Company::start(client(), |worker| {
        let talker = oncue::actor::<Number, _>(move || Talker(heard.clone()));
        worker.handle(talker).threads(1).stuck_after(Duration::from_millis(300))
    });
    company.put(Number(0));
    company.until(|event| matches!(event, Event::Replaced { .. }).then_some(()));
    let next = company.put(Number(1));
    assert!(matches!(company.settled(&next).0, Decision::Snooze(_)), "for as long as can be");
    enough.store(true, Ordering::SeqCst);
    company.end();
}

/// Ends a worker over so many runs that heed nothing; the client, and how many went back.
fn heedless(client: Client, runs: u64) -> u64 {
    let lane = oncue::Lane::strict(["default"]).concurrency(10_000);
    let company = Company::start(client, |worker| {
        let heedless = |_: Number| std::future::pending::<TaskResult>();
        worker.handle(heedless).lane(lane).shutdown_timeout(Duration::from_millis(100))
    });
    for base in (0..runs).step_by(1_000) {
        let tasks = (base..runs.min(base + 1_000)).map(Number);
        oncue::block_on(company.client.enqueue_all(tasks)).expect("enqueued");
    }
    let mut started = 0;
    company.until(|event| {
        started += u64::from(matches!(event, Event::Started { .. }));
        (started == runs).then_some(())
    });
    company.end().1.released
}

#[test]
fn ten_thousand_runs_that_heed_nothing_all_go_back() {
    let client = client();
    assert_eq!(heedless(client.clone(), 10_000), 10_000);
    assert_eq!(count(&client, "default", State::Pending), 10_000);
}

/// Panics over every task, and over its own end.
struct Spiteful;

impl Actor for Spiteful {
    type Context = Context<Self>;
}

impl Drop for Spiteful {
    fn drop(&mut self) {
        panic_any(Endless);
    }
}

impl Handler<Job<Number>> for Spiteful {
    type Result = TaskResult<Output>;

    fn handle(&mut self, _: Job<Number>, _: &mut Self::Context) -> Self::Result {
        panic_any(Endless)
    }
}

#[test]
fn panics_without_end_that_nobody_waits_for_hurt_nobody() {
    let (free, gate) = std::sync::mpsc::channel::<()>();
    let gate = Arc::new(std::sync::Mutex::new(gate));
    let company = Company::start(client(), |worker| {
        let late = move |task: Other| -> TaskResult {
            if task.0 == 0 {
                let _ = gate.lock().map(|gate| gate.recv());
                panic_any(Endless);
            }
            Ok(())
        };
        let worker = worker.handle(oncue::blocking(late)).blocking_threads(1);
        worker.handle(oncue::actor(|| Spiteful)).threads(1)
    });
    let given_up = company.put(Other(0).draft().timeout(Duration::from_millis(20)).max_retry(0));
    assert_eq!(company.settled(&given_up).1.as_deref(), Some("timeout"));
    let failed = company.put(Number(0).draft().max_retry(0));
    assert_eq!(company.settled(&failed).1.as_deref(), Some("panic"));
    drop(free);
    let next = company.put(Other(1));
    assert!(matches!(company.settled(&next).0, Decision::Complete(_)), "its thread is free again");
    company.end();
}

/// A worker with a thread that is stuck, a blocking run nobody can stop and a kind in quarantine ends all the same.
#[test]
fn a_worker_in_every_sort_of_trouble_ends_and_hands_back_what_it_has() {
    let (free, gate) = std::sync::mpsc::channel::<()>();
    let gate = Arc::new(std::sync::Mutex::new(gate));
    let company = Company::start(client(), |worker| {
        let (block, hold) = (gate.clone(), gate.clone());
        let blocks = move |_: Other| {
            let _ = block.lock().map(|gate| gate.recv());
            std::future::ready(TaskResult::Ok(()))
        };
        let holds = move |_: Act| -> TaskResult {
            let _ = hold.lock().map(|gate| gate.recv());
            Ok(())
        };
        let quarantine = OnExceeded::Quarantine { probe_after: Duration::from_secs(3_600) };
        let policy = Policy::DEFAULT.intensity(0, Duration::from_secs(60)).on_exceeded(quarantine);
        let ill = oncue::actor(|| Spiteful).policy(policy);
        let worker = worker.handle(blocks).handle(oncue::blocking(holds)).handle(ill);
        worker.threads(2).shutdown_timeout(Duration::from_millis(100))
    });
    let ill = company.put(Number(0));
    company.until(|event| matches!(event, Event::Quarantined { .. }).then_some(()));
    let held = company.put(Act(Nasty::Well, false).draft().timeout(Duration::ZERO));
    company.started(&held);
    let blocked = company.put(Other(0));
    company.started(&blocked);
    let (client, report) = company.end();
    assert_eq!((report.completed, report.released), (0, 2));
    for task in [&ill, &held, &blocked] {
        let view = show(&client, task).expect("kept");
        assert!(matches!(view.state, State::Pending | State::Retry), "{}", view.state);
        assert!(view.trail.crashes.is_empty(), "at no cost");
    }
    drop(free);
}
