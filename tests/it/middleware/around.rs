//! Middleware of a worker: around the runs of every sort of handler.

use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, Context, Handler};
use oncue::outcome::{Decision, Outcome};
use oncue::state::Reason;
use oncue::{Call, Data, Job, Output, Task, TaskContext, TaskError, TaskResult};

use crate::runtime::company::*;

/// What was passed, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn note(&self, what: impl Into<String>) {
        self.0.lock().expect("not poisoned").push(what.into());
    }

    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("not poisoned"))
    }
}

fn result(company: &Company, task: impl Task) -> oncue::Result<u64> {
    let task = company.put(task.draft());
    oncue::block_on(async { task.result::<u64>().timeout(PATIENCE).await })
}

/// Archives at the first failure, so that a test sees it.
fn put_once(company: &Company, number: u64) -> (Decision, Option<String>) {
    let task = company.put(Number(number).draft().max_retry(0));
    company.settled(&task)
}

const EXHAUSTED: Decision = Decision::Archive(Reason::Exhausted);

#[derive(Default)]
struct Doubler;

impl Actor for Doubler {
    type Context = Context<Self>;
}

impl Handler<Job<Number>> for Doubler {
    type Result = TaskResult<Output>;

    fn handle(&mut self, job: Job<Number>, _: &mut Self::Context) -> Self::Result {
        match job.task.0 {
            0 => panic!("the actor broke"),
            number => Output::of(&(number * 2)),
        }
    }
}

async fn double(task: Number, log: Data<Log>) -> TaskResult<u64> {
    log.note("run");
    match task.0 {
        0 => panic!("the handler broke"),
        number => Ok(number * 2),
    }
}

fn double_blocking(task: Number) -> TaskResult<u64> {
    match task.0 {
        0 => panic!("the function broke"),
        number => Ok(number * 2),
    }
}

#[test]
fn the_first_one_added_is_the_outermost() {
    let log = Log::default();
    let layer = |name: &'static str| {
        let log = log.clone();
        move |call: Call| {
            // What is held across an await need not be Send.
            let (log, name) = (log.clone(), Rc::new(name));
            async move {
                log.note(format!(
                    "{name} of {} {}",
                    call.context().kind(),
                    call.context().attempt()
                ));
                let ended = call.proceed().await;
                log.note(format!("{name} {}", ended.is_ok()));
                ended
            }
        }
    };
    let company = Company::start(client(), |worker| {
        worker.handle(double).data(log.clone()).around(layer("outer")).around(layer("inner"))
    });
    assert_eq!(result(&company, Number(21)).expect("a result"), 42);
    let expected = ["outer of number 1", "inner of number 1", "run", "inner true", "outer true"];
    assert_eq!(log.taken(), expected);
}

#[test]
fn it_is_around_every_sort_of_handler_and_sees_their_panics() {
    for (sort, says) in
        [(0, "the handler broke"), (1, "the function broke"), (2, "the handler actor panicked")]
    {
        let (log, seen) = (Log::default(), Log::default());
        let told = seen.clone();
        let company = Company::start(client(), |worker| {
            let worker = match sort {
                0 => worker.handle(double),
                1 => worker.handle(oncue::blocking(double_blocking)),
                _ => worker.handle(oncue::actor::<Number, _>(Doubler::default)),
            };
            worker.data(log).around(move |call: Call| {
                let told = told.clone();
                async move {
                    let ended = call.proceed().await;
                    match &ended {
                        Ok(_) => told.note("ok"),
                        Err(error) => {
                            assert!(matches!(error.outcome(), Outcome::Failed { class, .. } if class == "panic"));
                            told.note(error.message());
                        }
                    }
                    ended
                }
            })
        });
        assert_eq!(result(&company, Number(21)).expect("a result"), 42);
        assert_eq!(put_once(&company, 0), (EXHAUSTED, Some("panic".to_owned())));
        assert_eq!(result(&company, Number(4)).expect("the worker lives on"), 8);
        assert_eq!(seen.taken(), ["ok", says, "ok"]);
    }
}

#[test]
fn it_answers_in_the_place_of_the_handler_or_after_it() {
    let log = Log::default();
    let company = Company::start(client(), |worker| {
        worker.handle(double).data(log.clone()).around(|call: Call| async move {
            match call.context().header("do") {
                Some("refuse") => Err(TaskError::skip_retry("not today").class("refused")),
                Some("instead") => Output::of(&7),
                Some("mend") => call.proceed().await.or_else(|_| Output::of(&8)),
                Some("break") => {
                    call.proceed().await?;
                    Err(TaskError::new("changed"))
                }
                _ => call.proceed().await,
            }
        })
    });
    let put = |number: u64, word: &str| {
        company.put(Number(number).draft().header("do", word).max_retry(0))
    };
    let task = put(1, "refuse");
    let refused = (Decision::Archive(Reason::SkipRetry), Some("refused".to_owned()));
    assert_eq!(company.settled(&task), refused);
    let result = |task: oncue::Handle| {
        oncue::block_on(async { task.result::<u64>().timeout(PATIENCE).await }).expect("a result")
    };
    assert_eq!(result(put(1, "instead")), 7);
    assert_eq!(log.taken().len(), 0, "the handler was not called");
    assert_eq!(result(put(0, "mend")), 8);
    assert_eq!(company.settled(&put(1, "break")), (EXHAUSTED, Some("handler".to_owned())));
    assert_eq!(log.taken().len(), 2);
}

#[test]
fn an_answer_that_is_not_to_be_kept_is_not() {
    let company = Company::start(client(), |worker| {
        worker.handle(double).data(Log::default()).around(|_: Call| async { Output::of(&7) })
    });
    let task = company.put(Number(1).draft().retention(Duration::ZERO));
    assert_eq!(company.settled(&task).0, Decision::Complete(Duration::ZERO));
    assert!(show(&company.client, &task).is_none());
}

#[test]
fn a_panic_in_it_fails_the_run_and_nothing_else() {
    let seen = Log::default();
    let told = seen.clone();
    let company = Company::start(client(), |worker| {
        worker
            .handle(double)
            .data(Log::default())
            .around(move |call: Call| {
                let told = told.clone();
                async move {
                    let ended = call.proceed().await;
                    told.note(
                        ended
                            .as_ref()
                            .map_or_else(|error| error.message().to_owned(), |_| "ok".to_owned()),
                    );
                    ended
                }
            })
            .around(|call: Call| {
                let word = call.context().header("panic").map(str::to_owned);
                assert!(word.as_deref() != Some("call"), "in the call");
                async move {
                    assert!(word.as_deref() != Some("before"), "before");
                    let ended = call.proceed().await;
                    assert!(word.as_deref() != Some("after"), "after");
                    ended
                }
            })
    });
    for word in ["call", "before", "after"] {
        let task = company.put(Number(1).draft().header("panic", word).max_retry(0));
        assert_eq!(company.settled(&task), (EXHAUSTED, Some("panic".to_owned())), "{word}");
    }
    assert_eq!(result(&company, Number(4)).expect("the worker lives on"), 8);
    assert_eq!(seen.taken(), ["in the call", "before", "after", "ok"]);
    assert_eq!(company.end().1.restarts, 0);
}

#[test]
fn a_panic_in_the_outermost_is_a_value_too() {
    let company = Company::start(client(), |worker| {
        worker.handle(double).data(Log::default()).around(|call: Call| async move {
            assert!(call.context().header("panic").is_none(), "planned");
            call.proceed().await
        })
    });
    let task = company.put(Number(1).draft().header("panic", "yes").max_retry(0));
    assert_eq!(company.settled(&task), (EXHAUSTED, Some("panic".to_owned())));
    let message = company.client.failure(&show(&company.client, &task).expect("kept"));
    assert_eq!(message.as_deref(), Some("planned"));
    assert_eq!(result(&company, Number(4)).expect("the worker lives on"), 8);
}

#[test]
fn its_time_is_that_of_the_run() {
    let company = Company::start(client(), |worker| {
        worker.handle(double).data(Log::default()).around(|call: Call| async move {
            if call.context().header("wait").is_some() {
                std::future::pending::<()>().await;
            }
            call.proceed().await
        })
    });
    let late = Number(1).draft().header("wait", "").timeout(Duration::from_millis(20)).max_retry(0);
    let late = company.put(late);
    assert_eq!(company.settled(&late), (EXHAUSTED, Some("timeout".to_owned())));
}

#[test]
fn a_run_that_is_told_to_stop_is_interrupted_behind_it() {
    async fn stop(_: Number, context: TaskContext) -> TaskResult {
        context.cancelled().await;
        Err(TaskError::new("told to stop"))
    }
    let company = Company::start(client(), |worker| {
        worker.handle(stop).around(|call: Call| call.proceed()).shutdown_timeout(Duration::ZERO)
    });
    let task = company.put(Number(1));
    company.started(&task);
    assert_eq!(company.end().1.released, 1);
}
