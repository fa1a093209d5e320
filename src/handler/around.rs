//! Around a run: middleware of a worker, in the order added, the first one outermost.
//!
//! It runs on the thread that drives the run (for blocking handlers and the like not the handler's own), and within the
//! run's time. It sees the context and the outcome, never the payload.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::LocalBoxFuture;

use crate::panic;

use super::{Input, Output, Runner, TaskContext, TaskError, TaskResult};

/// One middleware.
pub(crate) type Around =
    Arc<dyn Fn(Call) -> LocalBoxFuture<'static, TaskResult<Output>> + Send + Sync>;

/// A run that is about to begin, as middleware sees it: [`proceed`](Self::proceed) lets it, at most once.
pub struct Call {
    input: Input,
    runner: Rc<dyn Runner>,
    chain: Arc<[Around]>,
    /// Which of the chain comes next; past its end the handler.
    next: usize,
}

impl Call {
    /// The run.
    pub fn context(&self) -> &TaskContext {
        &self.input.context
    }

    /// Goes on to the next middleware, or to the handler, and answers how that ended. A panic there is a failure of
    /// class `panic`.
    pub async fn proceed(self) -> TaskResult<Output> {
        let Self { input, runner, chain, next } = self;
        let ended = match chain.get(next).cloned() {
            None => panic::catch(move || runner.run(input)).await.map(|ended| ended.map(Output)),
            Some(middleware) => {
                let context = input.context.clone();
                let call = Self { input, runner, chain, next: next + 1 };
                let ended = panic::catch(move || middleware(call)).await;
                ended.inspect_err(|panic| {
                    let (id, kind) = (context.id(), context.kind());
                    tracing::error!(%id, %kind, panic, "a middleware panicked");
                })
            }
        };
        ended.unwrap_or_else(|panic| Err(TaskError::new(panic).class("panic")))
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Call {{ {:?} }}", self.context())
    }
}

/// Runs a task with all middleware around it.
pub(crate) fn run(
    runner: &Rc<dyn Runner>,
    input: Input,
    chain: &Arc<[Around]>,
) -> LocalBoxFuture<'static, Result<Option<Vec<u8>>, TaskError>> {
    if chain.is_empty() {
        return runner.run(input);
    }
    let (runner, chain, keep) = (runner.clone(), chain.clone(), input.keep);
    let call = Call { input, runner, chain, next: 0 };
    async move { Ok(call.proceed().await?.0.filter(|_| keep)) }.boxed_local()
}
