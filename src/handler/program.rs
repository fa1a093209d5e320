//! Any program as a handler: what its exit codes and its output mean for a task.

use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use futures::FutureExt;
use futures::future::{BoxFuture, LocalBoxFuture};

use crate::codec::{Codec, PAYLOAD_BYTES_MAX};
use crate::error::Result;
use crate::isolate::{Limits, Pool, Program};
use crate::queue::{Kind, QueueName};
use crate::restart::Policy;

use super::isolated::{Isolation, default_runs, detail, ended, keep};
use super::{
    DataMap, Input, Registration, Retries, Route, Runner, RunnerFactory, Surroundings, TaskContext,
    TaskError, text,
};

/// `EX_DATAERR`: no retry can help.
const ARCHIVE: i32 = 65;

/// A program as the handler of a kind, in the queue `default` unless told: see [`Program`]. It starts in a cage with
/// [`Limits::default`] unless told by [`limits`](Registration::limits), a fresh process for each task.
///
/// [`child`](super::child) must be the first line of `main`: the cage is put on by this program.
pub fn program(kind: &str, program: Program) -> Registration {
    let isolation = Isolation { limits: Limits::default(), recycle: None, called: None };
    let factory = Started { isolation, program, pool: OnceLock::new() };
    let route = || {
        Ok(Route {
            kind: Kind::parse(kind)?,
            queue: QueueName::parse("default")?,
            retries: Retries::default(),
            concurrency: Some(default_runs()),
            replicas: None,
            concurrent: 1,
            supervision: Policy::DEFAULT,
            stuck_after: None,
            factory: Box::new(factory),
        })
    };
    Registration::new(route())
}

/// A program, as the runtime sees it.
struct Started {
    isolation: Isolation,
    program: Program,
    /// Set once the worker is about to start.
    pool: OnceLock<Arc<Pool>>,
}

impl RunnerFactory for Started {
    fn make(&self, _: &Surroundings) -> Rc<dyn Runner> {
        Rc::new(Processes(self.pool.get().expect("prepared before the worker started").clone()))
    }

    fn check(&self, _: &DataMap) -> Result<()> {
        Ok(())
    }

    fn prepare<'a>(
        &'a self,
        kind: &'a Kind,
        runs: usize,
    ) -> Option<BoxFuture<'a, Result<Vec<String>>>> {
        let (program, limits) = (self.program.clone(), self.isolation.limits.clone());
        let started = Pool::of_program(kind.as_str(), program, limits, runs);
        Some(started.map(|started| Ok(keep(&self.pool, started?))).boxed())
    }

    fn isolation(&mut self) -> Option<&mut Isolation> {
        Some(&mut self.isolation)
    }
}

/// Runs tasks in processes of a program.
struct Processes(Arc<Pool>);

impl Runner for Processes {
    fn run(&self, input: Input) -> LocalBoxFuture<'static, Result<Option<Vec<u8>>, TaskError>> {
        let (pool, context) = (self.0.clone(), input.context.clone());
        async move {
            if input.codec != Codec::Json {
                let message = "the payload is not JSON, and a program gets JSON; enqueue it with the codec Json";
                return Err(TaskError::skip_retry(message).class("payload"));
            }
            match pool.feed(&input.body, Box::new(input.hold)).await {
                Ok((0, printed, stderr)) => {
                    say(&context, &stderr);
                    if input.keep { result(&printed, &stderr) } else { Ok(None) }
                }
                Ok((code, _, stderr)) => {
                    say(&context, &stderr);
                    Err(failed(code, &stderr))
                }
                Err(ending) => {
                    say(&context, &ending.stderr);
                    Err(ended(ending))
                }
            }
        }
        .boxed_local()
    }
}

/// What a program prints on standard error is the log of its task.
fn say(context: &TaskContext, stderr: &str) {
    if !stderr.is_empty() {
        context.log(stderr);
    }
}

/// What it printed, as its result. Text grows when it becomes a string of JSON.
fn result(printed: &[u8], stderr: &str) -> Result<Option<Vec<u8>>, TaskError> {
    let result = text::result(printed);
    if result.as_ref().is_none_or(|result| result.len() <= PAYLOAD_BYTES_MAX) {
        return Ok(result);
    }
    let message = format!("what it printed is over {PAYLOAD_BYTES_MAX} bytes as JSON");
    Err(TaskError::new(detail(message, stderr)).class("result"))
}

fn failed(code: i32, stderr: &str) -> TaskError {
    let message = detail(format!("the program exited with code {code}"), stderr);
    let class = format!("exit({code})");
    let error =
        if code == ARCHIVE { TaskError::skip_retry(message) } else { TaskError::new(message) };
    error.class(class)
}
