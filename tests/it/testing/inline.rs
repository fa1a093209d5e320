//! Handlers called by themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use actix::{Actor, Context, Handler};
use oncue::outcome::Outcome;
use oncue::testing::inline;
use oncue::{Data, Job, Output, TaskContext, TaskError, TaskResult};

use crate::runtime::company::{Number, Other};

async fn tell(task: Number, context: TaskContext) -> TaskResult<String> {
    let tenant = context.header("tenant").unwrap_or("nobody");
    let (attempt, kind, stop) = (context.attempt(), context.kind(), context.is_cancelled());
    Ok(format!(
        "{kind} {} for {tenant}, attempt {attempt}, {stop}, {}",
        task.0,
        context.deadline().is_some()
    ))
}

fn said<V>(answer: TaskResult<V>) -> V {
    answer.unwrap_or_else(|error| panic!("{error:?} {}", error.message()))
}

#[test]
fn a_context_is_as_the_test_says() {
    oncue::block_on(async {
        let plain: String = said(inline(tell).run(Number(7)).await);
        assert_eq!(plain, "number 7 for nobody, attempt 1, false, false");
        let later = SystemTime::now() + Duration::from_secs(9);
        let call = inline(tell).attempt(3).header("tenant", "acme").deadline(later).cancelled();
        let full: String = said(call.run(Number(7)).await);
        assert_eq!(full, "number 7 for acme, attempt 3, true, true");
    });
}

struct Adder(u64);

impl Actor for Adder {
    type Context = Context<Self>;
}

impl Handler<Job<Number>> for Adder {
    type Result = TaskResult<Output>;

    fn handle(&mut self, job: Job<Number>, _: &mut Self::Context) -> Self::Result {
        assert!(job.task.0 > 0, "the actor broke");
        Output::of(&(self.0 + job.task.0))
    }
}

fn add(task: Number, to: Data<u64>) -> TaskResult<u64> {
    assert!(task.0 > 0, "the function broke");
    Ok(*to + task.0)
}

async fn add_later(task: Number, to: Data<u64>) -> TaskResult<u64> {
    add(task, to)
}

/// In a runtime that is none of actix.
#[test]
fn every_sort_of_handler_answers_and_its_panic_is_a_failure() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let calls: [fn() -> oncue::testing::Inline; 3] = [
            || inline(add_later).data(40_u64),
            || inline(oncue::blocking(add)).data(40_u64),
            || inline(oncue::actor::<Number, _>(|| Adder(40))),
        ];
        for call in calls {
            assert_eq!(said(call().run::<u64>(Number(2)).await), 42);
            let error = call().run::<u64>(Number(0)).await.expect_err("a panic");
            assert!(matches!(error.outcome(), Outcome::Failed { class, .. } if class == "panic"));
            assert!(error.message().contains("broke") || error.message().contains("panicked"));
        }
    });
}

#[test]
fn what_a_handler_says_comes_back_as_it_said_it() {
    oncue::block_on(async {
        let snooze =
            |_: Number| async { TaskResult::<()>::Err(TaskError::snooze(Duration::from_secs(9))) };
        let error = inline(snooze).run::<()>(Number(1)).await.expect_err("put off");
        assert_eq!(*error.outcome(), Outcome::Snoozed(Duration::from_secs(9)));
        let fail = |_: Number| async { TaskResult::<()>::Err(TaskError::new("no").class("busy")) };
        let error = inline(fail).run::<()>(Number(1)).await.expect_err("failed");
        assert!(matches!(error.outcome(), Outcome::Failed { class, .. } if class == "busy"));
        assert_eq!(error.message(), "no");
    });
}

#[test]
fn what_does_not_fit_is_a_failure() {
    oncue::block_on(async {
        let missing = inline(add_later).run::<u64>(Number(1)).await.expect_err("no data");
        assert!(missing.message().contains("Data<u64>"), "{}", missing.message());
        let other = inline(tell).run::<String>(Other(1)).await.expect_err("another kind");
        assert!(other.message().contains("not called with a other"), "{}", other.message());
        let number = inline(tell).run::<u64>(Number(1)).await.expect_err("not a number");
        assert!(!number.message().is_empty());
    });
}

#[test]
fn effects_are_known_within_a_run() {
    async fn twice(
        _: Number,
        context: TaskContext,
        count: Data<Arc<AtomicUsize>>,
    ) -> TaskResult<usize> {
        context.log("at work");
        context.progress(&50)?;
        let effect = async |_| TaskResult::Ok(count.fetch_add(1, Ordering::SeqCst));
        let first = context.once("count", effect).await?;
        let second = context.once("count", effect).await?;
        Ok(first + second)
    }
    let count = Arc::new(AtomicUsize::new(7));
    let sum = oncue::block_on(inline(twice).data(count.clone()).run::<usize>(Number(1)));
    assert_eq!((said(sum), count.load(Ordering::SeqCst)), (14, 8));
}
