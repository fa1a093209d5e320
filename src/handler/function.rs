//! Functions as handlers: `async fn` on a worker arbiter, blocking `fn` on a bounded pool of threads.
//!
//! The first argument is the task; up to three more may follow, `Data<T>` and `TaskContext` in any order.

use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use crate::codec::Codec;
use crate::error::Result;
use crate::panic;
use crate::task::Task;

use super::{
    DataMap, FromContext, Input, Runner, RunnerFactory, Surroundings, TaskContext, TaskError,
};

/// What a handler may return: `Result` of anything serde can write, with any error.
pub trait IntoTaskResult {
    /// The value as JSON if it is to be kept and there is one, or the failure.
    #[doc(hidden)]
    fn into_task_result(self, keep: bool) -> Result<Option<Vec<u8>>, TaskError>;
}

impl<V: Serialize, E: Into<TaskError>> IntoTaskResult for Result<V, E> {
    fn into_task_result(self, keep: bool) -> Result<Option<Vec<u8>>, TaskError> {
        let value = self.map_err(Into::into)?;
        if !keep {
            return Ok(None);
        }
        let bytes = Codec::Json.encode(&value).map_err(TaskError::from)?;
        Ok(Some(bytes).filter(|bytes| bytes != b"null"))
    }
}

/// An `async fn` that handles a kind of task. Its future need not be `Send`.
#[diagnostic::on_unimplemented(
    message = "this is not a handler",
    note = "a handler is an `async fn(task, ..) -> Result<impl Serialize, impl Into<TaskError>>` whose first argument is a `Task` and whose others are `Data<T>` or `TaskContext`"
)]
pub trait TaskFn<Args>: Clone + Send + Sync + 'static {
    /// The kind of task it handles.
    type Task: Task;
    #[doc(hidden)]
    fn check(data: &DataMap) -> Result<()>;
    #[doc(hidden)]
    fn call(
        &self,
        task: Self::Task,
        context: &TaskContext,
        keep: bool,
    ) -> LocalBoxFuture<'static, Result<Option<Vec<u8>>, TaskError>>;
}

/// A blocking `fn` that handles a kind of task, on a thread of a bounded pool.
///
/// It cannot be interrupted: when its time is up the task fails, and its slot stays taken until it returns.
#[diagnostic::on_unimplemented(
    message = "this is not a blocking handler",
    note = "a blocking handler is a `fn(task, ..) -> Result<impl Serialize, impl Into<TaskError>>` whose first argument is a `Task` and whose others are `Data<T>` or `TaskContext`"
)]
pub trait BlockingFn<Args>: Clone + Send + Sync + 'static {
    /// The kind of task it handles.
    type Task: Task;
    #[doc(hidden)]
    fn check(data: &DataMap) -> Result<()>;
    #[doc(hidden)]
    fn call(
        &self,
        task: Self::Task,
        context: &TaskContext,
        keep: bool,
    ) -> Result<Option<Vec<u8>>, TaskError>;
}

macro_rules! arities {
    ($(($($arg:ident),*))*) => { $(
        impl<F, Fut, T, R, $($arg),*> TaskFn<(T, $($arg,)*)> for F
        where
            F: Fn(T, $($arg),*) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output = R> + 'static,
            T: Task,
            R: IntoTaskResult,
            $($arg: FromContext,)*
        {
            type Task = T;

            fn check(_data: &DataMap) -> Result<()> {
                $($arg::check(_data)?;)*
                Ok(())
            }

            fn call(
                &self,
                task: T,
                _context: &TaskContext,
                keep: bool,
            ) -> LocalBoxFuture<'static, Result<Option<Vec<u8>>, TaskError>> {
                self(task, $($arg::from_context(_context)),*)
                    .map(move |result| result.into_task_result(keep))
                    .boxed_local()
            }
        }

        impl<F, T, R, $($arg),*> BlockingFn<(T, $($arg,)*)> for F
        where
            F: Fn(T, $($arg),*) -> R + Clone + Send + Sync + 'static,
            T: Task,
            R: IntoTaskResult,
            $($arg: FromContext,)*
        {
            type Task = T;

            fn check(_data: &DataMap) -> Result<()> {
                $($arg::check(_data)?;)*
                Ok(())
            }

            fn call(
                &self,
                task: T,
                _context: &TaskContext,
                keep: bool,
            ) -> Result<Option<Vec<u8>>, TaskError> {
                self(task, $($arg::from_context(_context)),*).into_task_result(keep)
            }
        }
    )* };
}

arities! { () (A) (A, B) (A, B, C) }

/// An `async fn`, as the runtime sees it.
pub(crate) struct Asynchronous<F, Args>(F, PhantomData<fn(Args)>);

impl<F, Args> Asynchronous<F, Args> {
    pub(crate) fn new(function: F) -> Self {
        Self(function, PhantomData)
    }
}

impl<F: TaskFn<Args>, Args: 'static> RunnerFactory for Asynchronous<F, Args> {
    fn make(&self, _: &Surroundings) -> Rc<dyn Runner> {
        Rc::new(Self::new(self.0.clone()))
    }

    fn check(&self, data: &DataMap) -> Result<()> {
        F::check(data)
    }
}

impl<F: TaskFn<Args>, Args: 'static> Runner for Asynchronous<F, Args> {
    fn run(&self, input: Input) -> LocalBoxFuture<'static, Result<Option<Vec<u8>>, TaskError>> {
        match decode::<F::Task>(&input) {
            Ok(task) => self.0.call(task, &input.context, input.keep),
            Err(error) => std::future::ready(Err(error)).boxed_local(),
        }
    }
}

/// A blocking `fn`, as the runtime sees it.
pub(crate) struct Blocking<F, Args> {
    function: F,
    surroundings: Option<Surroundings>,
    args: PhantomData<fn(Args)>,
}

impl<F, Args> Blocking<F, Args> {
    pub(crate) fn new(function: F) -> Self {
        Self { function, surroundings: None, args: PhantomData }
    }
}

impl<F: BlockingFn<Args>, Args: 'static> RunnerFactory for Blocking<F, Args> {
    fn takes_a_thread(&self) -> bool {
        true
    }

    fn make(&self, surroundings: &Surroundings) -> Rc<dyn Runner> {
        let surroundings = Some(surroundings.clone());
        Rc::new(Self { function: self.function.clone(), surroundings, args: PhantomData })
    }

    fn check(&self, data: &DataMap) -> Result<()> {
        F::check(data)
    }
}

impl<F: BlockingFn<Args>, Args: 'static> Runner for Blocking<F, Args> {
    fn admit(&self) -> Option<LocalBoxFuture<'static, OwnedSemaphorePermit>> {
        let threads = self.surroundings.as_ref()?.threads.clone();
        let acquire = async move { threads.acquire_owned().await.expect("it is never closed") };
        Some(acquire.boxed_local())
    }

    fn run(&self, input: Input) -> LocalBoxFuture<'static, Result<Option<Vec<u8>>, TaskError>> {
        let function = self.function.clone();
        let returned = CancellationToken::new();
        if let Some(surroundings) = self.surroundings.clone() {
            let lingering =
                tell_if_it_lingers(input.context.clone(), returned.clone(), surroundings);
            actix_rt::spawn(lingering);
        }
        // Whether it returns or is never called.
        let returned = returned.drop_guard();
        async move {
            let run = move || {
                let _returned = returned;
                let _held = &input.hold;
                function.call(decode(&input)?, &input.context, input.keep)
            };
            // A panic is its text from here on: nobody may be left to take it, and its drop may panic.
            let run = || catch_unwind(AssertUnwindSafe(run)).map_err(panic::text);
            match tokio::task::spawn_blocking(run).await? {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(Box::new(panic)),
            }
        }
        .boxed_local()
    }
}

/// A thread cannot be taken from a blocking `fn`. One that was told to stop and does not is told of, and counted
/// until it returns.
async fn tell_if_it_lingers(
    context: TaskContext,
    returned: CancellationToken,
    surroundings: Surroundings,
) {
    let silent = async {
        context.cancelled().await;
        tokio::time::sleep(surroundings.patience).await;
    };
    if returned.run_until_cancelled(silent).await.is_some() {
        let _counted = surroundings.keeper.lingers(&context, surroundings.patience);
        returned.cancelled().await;
    }
}

/// Reads the task out of the input.
pub(super) fn decode<T: Task>(input: &Input) -> Result<T, TaskError> {
    crate::task::read(input.version, input.codec, &input.body).map_err(TaskError::unread)
}
