//! Batch handlers: many tasks in one call, and each of them with an end of its own.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use oncue::broker::Cancelled;
use oncue::event::Event;
use oncue::outcome::Decision;
use oncue::state::{Reason, State};
use oncue::task::RawTask;
use oncue::{
    Client, Data, Handle, Job, Lane, RetryPolicy, Task, TaskError, TaskResult, batch, function,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::company::*;

/// What each call of a handler was given.
type Calls = Sender<Vec<u64>>;
type Gate = Arc<Semaphore>;

/// No test waits for it: a batch that begins is full.
const FOR_EVER: Duration = Duration::from_secs(60);

fn numbers(jobs: &[Job<Number>]) -> Vec<u64> {
    jobs.iter().map(|job| job.task.0).collect()
}

#[track_caller]
fn result(task: &Handle) -> u64 {
    let result = task.result::<u64>().timeout(PATIENCE).into_future();
    oncue::block_on(result).expect("a result")
}

/// Numbers from 0, enqueued at once.
fn put_all(client: &Client, count: u64) -> Vec<Handle> {
    oncue::block_on(client.enqueue_all((0..count).map(Number))).expect("enqueued")
}

#[track_caller]
fn next(calls: &Receiver<Vec<u64>>) -> Vec<u64> {
    calls.recv_timeout(PATIENCE).expect("the handler is called")
}

async fn double(jobs: Vec<Job<Number>>, calls: Data<Calls>) -> Vec<TaskResult<u64>> {
    calls.send(numbers(&jobs)).expect("the test listens");
    jobs.iter().map(|job| Ok(job.task.0 * 2)).collect()
}

fn full_batches_are_called_at_once_and_each_task_has_its_result(client: Client) {
    let (tell, calls) = channel::<Vec<u64>>();
    let company = Company::start(client, |worker| {
        worker.handle(batch(double).batch_of(4).linger(FOR_EVER)).data(tell).threads(2)
    });
    let tasks = put_all(&company.client, 8);
    let mut called: Vec<_> = [next(&calls), next(&calls)].concat();
    called.sort_unstable();
    assert_eq!(called, (0..8).collect::<Vec<_>>());
    for (n, task) in (0..).zip(&tasks) {
        assert_eq!(result(task), n * 2);
    }
    assert_eq!(company.end().1.completed, 8);
}

#[test]
fn a_batch_is_never_longer_than_what_may_be_in_hand() {
    let (tell, calls) = channel::<Vec<u64>>();
    let company = Company::start(client(), |worker| {
        let worker = worker.handle(batch(double).concurrency(3).linger(FOR_EVER)).data(tell);
        worker.lane(Lane::weighted([("default", 1)]).concurrency(5))
    });
    put_all(&company.client, 6);
    assert_eq!((next(&calls).len(), next(&calls).len()), (3, 3));
}

#[test]
fn without_a_wait_a_batch_is_what_was_claimed_at_once() {
    let client = client();
    put_all(&client, 64);
    let (tell, calls) = channel::<Vec<u64>>();
    let company = Company::start(client, |worker| {
        worker.handle(batch(double).linger(Duration::ZERO)).data(tell).threads(2)
    });
    assert_eq!(next(&calls), (0..64).collect::<Vec<_>>(), "in order");
    company.completed(64);
}

#[test]
fn what_is_wrong_with_a_batch_handler_is_told_before_anything_starts() {
    async fn none(_: Vec<Job<Number>>) -> TaskResult {
        Ok(())
    }
    async fn one(_: Number) -> TaskResult {
        Ok(())
    }
    let client = client();
    for (wrong, what) in [
        (batch(none).batch_of(0), "1 to 500"),
        (batch(none).batch_of(501), "1 to 500"),
        (batch(none).linger(FOR_EVER + Duration::from_millis(1)), "60s at most"),
        (function(one).batch_of(2), "oncue::batch"),
        (function(one).linger(Duration::ZERO), "oncue::batch"),
        (batch(double), "Data<"),
    ] {
        let error = oncue::block_on(client.worker().handle(wrong).start()).err().expect("refused");
        assert!(error.is_invalid() && error.to_string().contains(what), "{error}");
    }
}

fn each_task_of_a_batch_ends_as_it_is_told(client: Client) {
    async fn mixed(jobs: Vec<Job<Number>>) -> Vec<TaskResult<u64>> {
        let say = |job: &Job<Number>| match job.task.0 {
            0 => Ok(7),
            1 => Err(TaskError::skip_retry("never")),
            2 => Err(TaskError::new("again").class("own")),
            3 => Err(TaskError::snooze(Duration::from_secs(3600))),
            _ => Err(TaskError::revoke()),
        };
        // The last one is forgotten.
        jobs.iter().take(5).map(say).collect()
    }
    let again = RetryPolicy::fixed(Duration::from_secs(3600));
    let company = Company::start(client, |worker| {
        worker.handle(batch(mixed).batch_of(6).linger(FOR_EVER).retry(again))
    });
    let tasks = put_all(&company.client, 6);
    let mut classes = vec![None; 6];
    let mut left = 6;
    company.until(|event| {
        if let Event::Settled { id, class, .. } = event {
            let at = tasks.iter().position(|task| task.id() == *id).expect("one of them");
            classes[at] = class.clone();
            left -= 1;
        }
        (left == 0).then_some(())
    });
    let classes: Vec<_> = classes.iter().map(Option::as_deref).collect();
    assert_eq!(classes, [None, Some("handler"), Some("own"), None, None, Some("batch")]);
    let states = tasks.iter().map(|task| show(&company.client, task).map(|view| view.state));
    assert_eq!(
        states.collect::<Vec<_>>(),
        [
            Some(State::Completed),
            Some(State::Archived),
            Some(State::Retry),
            Some(State::Scheduled),
            None,
            Some(State::Retry)
        ]
    );
    let forgotten = show(&company.client, &tasks[5]).expect("to be retried");
    let why = company.client.failure(&forgotten).expect("sealed");
    assert!(why.contains("answered 5 of 6 tasks"), "{why}");
}

#[test]
fn what_fails_as_a_whole_comes_again_as_a_whole() {
    async fn once(jobs: Vec<Job<Number>>, calls: Data<Calls>) -> TaskResult {
        calls.send(numbers(&jobs)).expect("the test listens");
        if jobs[0].context.attempt() == 1 { Err(TaskError::new("no")) } else { Ok(()) }
    }
    let (tell, calls) = channel::<Vec<u64>>();
    // Its jitter alone would drive them apart.
    let policy =
        RetryPolicy { min: Duration::from_millis(50), jitter: 0.9, ..RetryPolicy::DEFAULT };
    let company = Company::start(client(), |worker| {
        worker.handle(batch(once).batch_of(5).linger(FOR_EVER).retry(policy)).data(tell)
    });
    let tasks = put_all(&company.client, 5);
    assert_eq!(next(&calls), [0, 1, 2, 3, 4]);
    let mut delays = Vec::new();
    company.until(|event| {
        if let Event::Settled { decision: Decision::Retry(after), .. } = event {
            delays.push(*after);
        }
        (delays.len() == tasks.len()).then_some(())
    });
    delays.dedup();
    assert_eq!(delays.len(), 1, "{delays:?}");
    let mut again = next(&calls);
    again.sort_unstable();
    assert_eq!(again, [0, 1, 2, 3, 4]);
    company.completed(5);
}

#[test]
fn a_panic_fails_its_own_batch_and_nobody_else() {
    async fn burst(jobs: Vec<Job<Number>>) -> TaskResult {
        panic!("batch of {}", jobs.len())
    }
    #[derive(Serialize, Deserialize, Clone, Copy)]
    struct Plain(u64);
    impl Task for Plain {
        const KIND: &'static str = "plain";
    }
    fn early(_: Vec<Job<Plain>>) -> std::future::Ready<TaskResult> {
        panic!("in the call")
    }
    async fn calm(_: Vec<Job<Other>>) -> TaskResult {
        Ok(())
    }
    let company = Company::start(client(), |worker| {
        let worker = worker.handle(batch(burst).batch_of(2)).handle(batch(calm).batch_of(1));
        worker.handle(batch(early)).threads(1)
    });
    let tasks = [0, 1].map(|n| company.put(Number(n).draft().max_retry(0)));
    let mut left = 2;
    company.until(|event| {
        if let Event::Settled { class, decision, .. } = event {
            assert_eq!(class.as_deref(), Some("panic"));
            assert_eq!(*decision, Decision::Archive(Reason::Exhausted));
            left -= 1;
        }
        (left == 0).then_some(())
    });
    for task in &tasks {
        let view = show(&company.client, task).expect("archived");
        assert_eq!(company.client.failure(&view).expect("sealed"), "batch of 2");
    }
    let plain = company.put(Plain(0).draft().max_retry(0));
    assert_eq!(company.settled(&plain).1.as_deref(), Some("panic"));
    let calm = company.put(Other(0));
    assert!(matches!(company.settled(&calm).0, Decision::Complete(_)));
}

/// Tells when it is dropped.
struct Last(Sender<Vec<u64>>, Vec<u64>);

impl Drop for Last {
    fn drop(&mut self) {
        let _ = self.0.send(std::mem::take(&mut self.1));
    }
}

/// Waits for the gate, then completes.
async fn gated(jobs: Vec<Job<Number>>, calls: Data<Calls>, gate: Data<Gate>) -> TaskResult {
    let _last = Last((*calls).clone(), numbers(&jobs));
    gate.acquire().await?.forget();
    Ok(())
}

fn gated_company(most: usize) -> (Company, Gate, Receiver<Vec<u64>>) {
    lingering_company(most, FOR_EVER)
}

fn lingering_company(most: usize, linger: Duration) -> (Company, Gate, Receiver<Vec<u64>>) {
    let gate = Gate::new(Semaphore::new(0));
    let (tell, calls) = channel::<Vec<u64>>();
    let data = gate.clone();
    let company = Company::start(client(), |worker| {
        let worker = worker.handle(batch(gated).batch_of(most).linger(linger));
        worker.data(tell).data(data).shutdown_timeout(Duration::from_millis(100))
    });
    (company, gate, calls)
}

#[test]
fn a_task_whose_time_is_up_leaves_and_the_others_go_on() {
    let (company, gate, calls) = gated_company(2);
    let short = company.put(Number(0).draft().timeout(Duration::from_millis(20)).max_retry(0));
    let long = company.put(Number(1));
    assert_eq!(company.settled(&short).1.as_deref(), Some("timeout"));
    gate.add_permits(1);
    assert!(matches!(company.settled(&long).0, Decision::Complete(_)));
    assert_eq!(next(&calls), [0, 1], "it was dropped at its end, with both");
}

#[test]
fn the_time_of_a_task_begins_with_its_batch() {
    let (company, gate, _calls) = gated_company(2);
    gate.add_permits(1);
    let limit = Duration::from_millis(500);
    let first = company.put(Number(0).draft().timeout(limit).max_retry(0));
    // As long as it takes that limit and more to pass.
    let wait = async { tokio::time::sleep(limit * 3).await };
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime")
        .block_on(wait);
    assert_eq!(show(&company.client, &first).expect("active").state, State::Active);
    company.put(Number(1).draft().timeout(limit).max_retry(0));
    company.completed(2);
}

#[test]
fn a_cancelled_task_leaves_and_a_batch_all_have_left_is_dropped() {
    let (company, gate, calls) = gated_company(2);
    let tasks = put_all(&company.client, 2);
    for _ in &tasks {
        company.until(|event| matches!(event, Event::Started { .. }).then_some(()));
    }
    let cancel = |task: &Handle| oncue::block_on(task.cancel()).expect("cancelled");
    assert_eq!(cancel(&tasks[0]), Cancelled::Asked);
    assert_eq!(company.settled(&tasks[0]).0, Decision::Archive(Reason::Cancelled));
    assert!(calls.try_recv().is_err(), "it goes on for the other");
    cancel(&tasks[1]);
    assert_eq!(next(&calls), [0, 1]);
    assert_eq!(company.settled(&tasks[1]).0, Decision::Archive(Reason::Cancelled));
    assert_eq!(gate.available_permits(), 0, "it never passed");
}

#[test]
fn a_task_that_is_cancelled_while_its_batch_gathers_is_not_in_it() {
    // The others fill its batch, unless it was cancelled before it began one: then theirs is over by time.
    let (company, gate, calls) = lingering_company(3, Duration::from_secs(5));
    gate.add_permits(1);
    let first = company.put(Number(0));
    let claimed = || show(&company.client, &first).map(|view| view.state);
    while claimed() != Some(State::Active) {
        std::thread::yield_now();
    }
    oncue::block_on(first.cancel()).expect("cancelled");
    while claimed() != Some(State::Archived) {
        std::thread::yield_now();
    }
    let others = [Number(1), Number(2)];
    oncue::block_on(company.client.enqueue_all(others)).expect("enqueued");
    assert_eq!(next(&calls), [1, 2]);
    company.completed(2);
}

fn a_shutdown_waits_for_nobody_else_and_gives_all_back_at_no_cost(client: Client) {
    let gate = Gate::new(Semaphore::new(0));
    let (tell, calls) = channel::<Vec<u64>>();
    let company = Company::start(client, |worker| {
        let worker = worker.handle(batch(gated).batch_of(3).linger(FOR_EVER));
        worker.data(tell).data(gate).shutdown_timeout(Duration::from_millis(100))
    });
    // Three run, two gather.
    let tasks = put_all(&company.client, 5);
    for _ in 0..3 {
        company.until(|event| matches!(event, Event::Started { .. }).then_some(()));
    }
    while count(&company.client, "default", State::Active) < 5 {
        std::thread::yield_now();
    }
    let (client, report) = company.end();
    assert_eq!((report.completed, report.released), (0, 5));
    let mut called = [next(&calls).len(), next(&calls).len()];
    called.sort_unstable();
    assert_eq!(called, [2, 3], "those that gathered began");
    for task in &tasks {
        let view = show(&client, task).expect("kept");
        assert_eq!(view.state, State::Pending);
        assert!(view.trail.is_empty(), "{:?}", view.trail);
    }
}

#[test]
fn a_payload_that_does_not_decode_fails_alone() {
    let client = client();
    let wrong = RawTask::json("number", "\"seven\"").expect("JSON");
    let wrong = oncue::block_on(client.enqueue_raw(wrong)).expect("enqueued");
    put_all(&client, 2);
    let (tell, calls) = channel::<Vec<u64>>();
    let company = Company::start(client, |worker| {
        worker.handle(batch(double).batch_of(3).linger(FOR_EVER)).data(tell)
    });
    assert_eq!(next(&calls), [0, 1]);
    assert_eq!(company.settled(&wrong).1.as_deref(), Some("payload"));
    let view = show(&company.client, &wrong).expect("archived");
    assert_eq!(view.reason, Some(Reason::SkipRetry));
}

#[test]
fn middleware_wraps_each_task_and_one_it_refuses_is_not_in_the_batch() {
    let (tell, calls) = channel::<Vec<u64>>();
    let company = Company::start(client(), |worker| {
        let worker = worker.around(|call| async move {
            match call.context().header("tenant") {
                Some("suspended") => Err(TaskError::skip_retry("suspended").class("tenant")),
                _ => call.proceed().await,
            }
        });
        worker.handle(batch(double).batch_of(3).linger(FOR_EVER)).data(tell)
    });
    let refused = company.put(Number(0).draft().header("tenant", "suspended"));
    let others = [1, 2].map(|n| company.put(Number(n)));
    assert_eq!(next(&calls), [1, 2]);
    assert_eq!(result(&others[1]), 4);
    let view = show(&company.client, &refused).expect("archived");
    assert_eq!(view.trail.class.as_deref(), Some("tenant"));
}

#[test]
fn one_task_of_a_batch_handler_can_be_called_by_itself() {
    let (tell, calls) = channel::<Vec<u64>>();
    let call = oncue::testing::inline(batch(double)).data(tell);
    let said: TaskResult<u64> = oncue::block_on(call.run(Number(21)));
    assert_eq!((said.expect("doubled"), next(&calls)), (42, vec![21]));
}

on_both! {
    full_batches_are_called_at_once_and_each_task_has_its_result
    each_task_of_a_batch_ends_as_it_is_told
    a_shutdown_waits_for_nobody_else_and_gives_all_back_at_no_cost
}
