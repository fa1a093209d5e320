//! Every way a run can end, and what the broker holds afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, SystemTime};

use oncue::outcome::Decision;
use oncue::state::{Reason, State};
use oncue::{Client, Data, Task, TaskContext, TaskError, TaskResult};

use super::company::*;

const LONG: Duration = Duration::from_secs(3_600);

async fn behave(task: Number, context: TaskContext) -> TaskResult<u64> {
    match (task.0, context.attempt()) {
        (1, 1..=2) => Err(TaskError::new("not yet").class("flaky")),
        (2, 1) => Err(TaskError::retry_in(Duration::from_millis(1), "again")),
        (3, _) => Err(TaskError::skip_retry("hopeless")),
        (4, _) => Err(TaskError::new("always")),
        (5, _) => Err(TaskError::snooze(LONG)),
        (6, _) => Err(TaskError::revoke()),
        (7, 1) => panic!("in the future"),
        (8, _) => std::future::pending().await,
        (9, _) => Err(std::io::Error::other("disk"))?,
        (number, attempt) => Ok(number * 10 + u64::from(attempt)),
    }
}

fn start() -> Company {
    Company::start(client(), |worker| worker.handle(behave))
}

fn result(company: &Company, number: u64) -> oncue::Result<u64> {
    let task = company.put(Number(number));
    oncue::block_on(async { task.result::<u64>().timeout(PATIENCE).await })
}

#[test]
fn a_result_comes_back_to_the_client() {
    let company = start();
    assert_eq!(result(&company, 0).expect("a result"), 1);
    assert_eq!(company.end().1.completed, 1);
}

#[test]
fn failures_are_retried_until_they_succeed() {
    let company = start();
    assert_eq!(result(&company, 1).expect("third time"), 13);
    assert_eq!(result(&company, 2).expect("second time"), 22);
    assert_eq!(result(&company, 7).expect("after a panic"), 72);
    assert_eq!(company.end().1.retried, 4);
}

fn what_does_not_count_is_told_and_tried_until_it_succeeds(client: Client) {
    async fn taken(
        _: Number,
        tries: Data<Arc<AtomicUsize>>,
        context: TaskContext,
    ) -> TaskResult<u32> {
        if tries.fetch_add(1, Ordering::SeqCst) < 3 {
            let error = TaskError::uncounted("taken by another").class("taken");
            return Err(error.after(Duration::from_millis(1)));
        }
        Ok(context.attempt())
    }
    let (tell, told) = channel();
    let company = Company::start(client, |worker| {
        let worker = worker.handle(taken).data(Arc::<AtomicUsize>::default());
        worker
            .on_error(move |failed| drop(tell.send((failed.class.clone(), failed.message.clone()))))
    });
    // One failure that counts would be its end.
    let task = company.put(Number(0).draft().max_retry(0));
    let result = task.result::<u32>().timeout(PATIENCE).into_future();
    assert_eq!(oncue::block_on(result).expect("a result"), 1, "the first attempt still");
    let (client, report) = company.end();
    assert_eq!((report.completed, report.retried, report.archived), (1, 0, 0));
    let said = (Some("taken".to_owned()), "taken by another".to_owned());
    assert_eq!(told.iter().collect::<Vec<_>>(), vec![said; 3]);
    let stats = oncue::block_on(client.broker().stats()).expect("stats");
    assert_eq!((stats[0].completed, stats[0].failed), (1, 0));
    let view = show(&client, &task).expect("kept");
    assert_eq!((view.trail.attempts, view.trail.class.as_deref()), (0, Some("taken")));
    assert_eq!(client.failure(&view).expect("sealed"), "taken by another");
}

on_both! { what_does_not_count_is_told_and_tried_until_it_succeeds }

#[test]
fn what_cannot_succeed_is_archived_with_its_reason_and_message() {
    let company = start();
    for (number, reason, attempts, message) in [
        (3, Reason::SkipRetry, 1, "hopeless"),
        (4, Reason::Exhausted, 4, "always"),
        (9, Reason::Exhausted, 4, "disk"),
    ] {
        let task = company.put(Number(number));
        let wait = async { task.result::<u64>().timeout(PATIENCE).await };
        let error = oncue::block_on(wait).expect_err("archived");
        assert!(error.is_no_result(), "{error:?}");
        assert!(format!("{error:?}").contains(message), "{error:?}");
        let view = show(&company.client, &task).expect("kept");
        assert_eq!((view.state, view.reason), (State::Archived, Some(reason)));
        assert_eq!(view.trail.attempts, attempts);
        assert!(!format!("{view:?}").contains(message), "the message is sealed");
    }
}

#[test]
fn a_snooze_costs_nothing_and_a_revoked_task_is_gone() {
    let company = start();
    let snoozed = company.put(Number(5));
    assert_eq!(company.settled(&snoozed).0, Decision::Snooze(LONG));
    let view = show(&company.client, &snoozed).expect("kept");
    assert_eq!((view.state, view.trail.is_empty()), (State::Scheduled, true));
    let revoked = company.put(Number(6));
    assert_eq!(company.settled(&revoked).0, Decision::Drop);
    assert!(show(&company.client, &revoked).is_none());
}

#[test]
fn a_timeout_is_a_failure_of_its_own_class() {
    let company = start();
    let task = company.put(Number(8).draft().timeout(Duration::from_millis(20)).max_retry(0));
    let (decision, class) = company.settled(&task);
    assert_eq!(decision, Decision::Archive(Reason::Exhausted));
    assert_eq!(class.as_deref(), Some("timeout"));
}

#[test]
fn a_deadline_ends_the_run_and_is_never_retried() {
    let company = start();
    let soon = SystemTime::now() + Duration::from_millis(50);
    let running = company.put(Number(8).draft().deadline(soon));
    assert_eq!(company.settled(&running).0, Decision::Archive(Reason::Expired));
    let past = company.put(Number(0).draft().deadline(SystemTime::now() - LONG));
    assert_eq!(company.settled(&past).0, Decision::Archive(Reason::Expired));
}

#[test]
fn a_task_that_waited_too_long_does_not_start() {
    let client = client();
    let task = Number(0).draft().expires(Duration::ZERO);
    let task = oncue::block_on(client.enqueue(task)).expect("enqueued");
    let company = Company::start(client, |worker| worker.handle(behave));
    assert_eq!(company.settled(&task).0, Decision::Archive(Reason::Expired));
}

#[test]
fn a_delay_is_never_early() {
    let company = start();
    let before = std::time::Instant::now();
    let task = company.put(Number(0).draft().after(Duration::from_millis(120)));
    assert_eq!(show(&company.client, &task).expect("there").state, State::Scheduled);
    company.started(&task);
    assert!(before.elapsed() >= Duration::from_millis(120));
}

#[test]
fn a_handler_that_panics_when_it_is_given_up_has_run_out_of_time_all_the_same() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    async fn hang(_: Number) -> TaskResult {
        let _bomb = Bomb;
        std::future::pending().await
    }
    let company = Company::start(client(), |worker| worker.handle(hang));
    let task = company.put(Number(0).draft().timeout(Duration::from_millis(20)).max_retry(0));
    assert_eq!(company.settled(&task).1.as_deref(), Some("timeout"));
    assert_eq!(show(&company.client, &task).expect("kept").trail.attempts, 1);
}
