//! Batch handlers: an `async fn` that is called with many tasks at once, and what it may take and return. How its tasks
//! find together is [`gather`](super::gather)'s.

use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::task::{GROUP_TASKS_MAX, Task};

use super::function::IntoTaskResult;
use super::gather::Batches;
use super::{
    Data, DataMap, FromContext, Job, Registration, Route, Runner, RunnerFactory, Surroundings,
    TaskError,
};

/// Most tasks of a batch that gathers, unless told otherwise.
pub const BATCH_OF: usize = 100;
/// Most tasks of a batch.
pub const BATCH_OF_MAX: usize = GROUP_TASKS_MAX;
/// How long the first of a batch waits for more, unless told otherwise.
pub const LINGER: Duration = Duration::from_millis(100);
/// Longest wait of the first of a batch.
pub const LINGER_MAX: Duration = Duration::from_secs(60);

/// What one run answers.
pub(super) type Returned = Result<Option<Vec<u8>>, TaskError>;

/// What a batch handler may return: one `Result<(), E>` for all of its tasks, or a `Vec` with one `Result` for each, in
/// their order.
#[diagnostic::on_unimplemented(
    message = "a batch handler cannot return `{Self}`",
    note = "it returns `Result<(), impl Into<TaskError>>` for all of its tasks, or `Vec<Result<impl Serialize, impl Into<TaskError>>>` with one for each, in their order"
)]
pub trait IntoBatchResult {
    /// How each task ended, and its result where that is to be kept.
    #[doc(hidden)]
    fn into_results(self, keep: &[bool]) -> Vec<Result<Option<Vec<u8>>, TaskError>>;
}

impl<E: Into<TaskError>> IntoBatchResult for Result<(), E> {
    fn into_results(self, keep: &[bool]) -> Vec<Returned> {
        let ended = self.map(|()| None).map_err(Into::into);
        keep.iter().map(|_| replicate(&ended)).collect()
    }
}

impl<V: Serialize, E: Into<TaskError>> IntoBatchResult for Vec<Result<V, E>> {
    fn into_results(self, keep: &[bool]) -> Vec<Returned> {
        let (answers, tasks) = (self.len(), keep.len());
        let without = move || {
            let message = format!(
                "the batch handler answered {answers} of {tasks} tasks; it is to answer each, in their order"
            );
            Err(TaskError::new(message).class("batch"))
        };
        let answered = self.into_iter().map(Some).chain(std::iter::repeat_with(|| None));
        let each = keep.iter().zip(answered);
        each.map(|(keep, answer)| answer.map_or_else(without, |a| a.into_task_result(*keep)))
            .collect()
    }
}

/// The same end for another task.
pub(super) fn replicate(ended: &Returned) -> Returned {
    match ended {
        Ok(result) => Ok(result.clone()),
        Err(TaskError { outcome, message }) => {
            Err(TaskError { outcome: outcome.clone(), message: message.clone() })
        }
    }
}

/// What a batch handler can ask for beside its tasks.
#[diagnostic::on_unimplemented(
    message = "a batch handler cannot be given `{Self}`",
    note = "after its tasks it takes `Data<T>`; each of them has a `context` of its own"
)]
pub trait FromData: FromContext {}

impl<T: Send + Sync + 'static> FromData for Data<T> {}

/// An `async fn` that handles many tasks of a kind at once. Its future need not be `Send`.
#[diagnostic::on_unimplemented(
    message = "this is not a batch handler",
    note = "a batch handler is an `async fn(Vec<Job<T>>, ..)` with any `Data<D>` behind the tasks, three at most; it returns `Result<(), E>` or `Vec<Result<V, E>>`"
)]
pub trait BatchFn<Args>: Clone + Send + Sync + 'static {
    /// The kind of task it handles.
    type Task: Task;
    #[doc(hidden)]
    fn check(data: &DataMap) -> Result<()>;
    /// Called with one task or more.
    #[doc(hidden)]
    fn call(
        &self,
        jobs: Vec<Job<Self::Task>>,
        keep: Vec<bool>,
    ) -> LocalBoxFuture<'static, Vec<Result<Option<Vec<u8>>, TaskError>>>;
}

macro_rules! arities {
    ($(($($arg:ident),*))*) => { $(
        impl<F, Fut, T, R, $($arg),*> BatchFn<(T, $($arg,)*)> for F
        where
            F: Fn(Vec<Job<T>>, $($arg),*) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output = R> + 'static,
            T: Task,
            R: IntoBatchResult,
            $($arg: FromData,)*
        {
            type Task = T;

            fn check(_data: &DataMap) -> Result<()> {
                $($arg::check(_data)?;)*
                Ok(())
            }

            fn call(
                &self,
                jobs: Vec<Job<T>>,
                keep: Vec<bool>,
            ) -> LocalBoxFuture<'static, Vec<Returned>> {
                // Data are the same for all.
                let _context = jobs[0].context.clone();
                self(jobs, $($arg::from_context(&_context)),*)
                    .map(move |results| results.into_results(&keep))
                    .boxed_local()
            }
        }
    )* };
}

arities! { () (A) (A, B) (A, B, C) }

/// How batches gather.
#[derive(Clone, Copy)]
pub(crate) struct Batching {
    pub(super) most: usize,
    pub(super) linger: Duration,
}

/// An `async fn` that is called with many tasks of its kind at once, all of one type.
///
/// It answers for all of them with one `Result<(), E>`, or for each with a `Vec<Result<V, E>>` in their order. Each
/// [`Job`] has a context of its own, so each task can be cancelled, tells its own progress and keeps its own result. A
/// task whose time is up, or that is cancelled, leaves; whatever the handler answers for it then is of no account, and
/// once all have left the handler is dropped at its next await. A panic fails every task of the batch.
///
/// The tasks of a [group](crate::Group) that were claimed together are one batch, never mixed with others. All others
/// gather: up to [`batch_of`](Registration::batch_of) of them, for as long as [`linger`](Registration::linger) says. They
/// take a slot each, a group takes one. The time of a task begins when its batch has gathered. Middleware wraps each task
/// by itself; one that lets only one task pass at a time would keep a batch from beginning.
///
/// ```
/// # use oncue::{Data, Job, TaskResult};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Row(String);
/// # impl oncue::Task for Row { const KIND: &'static str = "row"; }
/// # struct Table; impl Table { async fn insert(&self, _: Vec<&str>) -> TaskResult { Ok(()) } }
/// async fn insert(jobs: Vec<Job<Row>>, table: Data<Table>) -> TaskResult {
///     table.insert(jobs.iter().map(|job| &*job.task.0).collect()).await
/// }
/// let handler = oncue::batch(insert).batch_of(200);
/// ```
pub fn batch<F: BatchFn<Args>, Args: 'static>(handler: F) -> Registration {
    let batching = Batching { most: BATCH_OF, linger: LINGER };
    Registration::new(Route::of::<F::Task>(Batched { handler, batching, args: PhantomData }))
}

impl Registration {
    fn batching(self, what: &str, set: impl FnOnce(&mut Batching) -> Result<()>) -> Self {
        self.with(|route| {
            let kind = route.kind.clone();
            let batching = route.factory.batching().ok_or_else(|| {
                Error::invalid(format!(
                    "the handler of {kind} takes its tasks one by one, where {what} means nothing; use `oncue::batch(..)`"
                ))
            })?;
            set(batching)
        })
    }

    /// How many tasks of no group one call of a batch handler has at most: 1 to [`BATCH_OF_MAX`], [`BATCH_OF`] unless told
    /// otherwise. Never more than may be in hand at once: the slots of the lanes, and
    /// [`concurrency`](Self::concurrency).
    #[must_use]
    pub fn batch_of(self, tasks: usize) -> Self {
        self.batching("batch_of", |batching| {
            if !(1..=BATCH_OF_MAX).contains(&tasks) {
                let error = format!("batches of {tasks} tasks; use 1 to {BATCH_OF_MAX}");
                return Err(Error::invalid(error));
            }
            batching.most = tasks;
            Ok(())
        })
    }

    /// How long the first of a batch waits for more, up to [`LINGER_MAX`]; [`LINGER`] unless told otherwise. With
    /// [`Duration::ZERO`] a batch is what was claimed at once.
    #[must_use]
    pub fn linger(self, wait: Duration) -> Self {
        self.batching("linger", |batching| {
            if wait > LINGER_MAX {
                let error =
                    format!("a batch that waits {wait:?} for more; use {LINGER_MAX:?} at most");
                return Err(Error::invalid(error));
            }
            batching.linger = wait;
            Ok(())
        })
    }
}

/// A batch handler, as the runtime sees it.
struct Batched<F, Args> {
    handler: F,
    batching: Batching,
    args: PhantomData<fn(Args)>,
}

impl<F: BatchFn<Args>, Args: 'static> RunnerFactory for Batched<F, Args> {
    fn make(&self, surroundings: &Surroundings) -> Rc<dyn Runner> {
        Rc::new(Batches::new(self.handler.clone(), self.batching, surroundings))
    }

    fn check(&self, data: &DataMap) -> Result<()> {
        F::check(data)
    }

    fn gathers(&self) -> bool {
        true
    }

    fn batching(&mut self) -> Option<&mut Batching> {
        Some(&mut self.batching)
    }
}

#[cfg(test)]
mod tests {
    use super::super::TaskResult;
    use super::*;
    use crate::outcome::{Outcome, Retry};

    fn classes(results: Vec<Returned>) -> Vec<Option<String>> {
        let class = |result: Returned| match result.err()?.outcome {
            Outcome::Failed { class, .. } => Some(class.into_owned()),
            other => Some(format!("{other:?}")),
        };
        results.into_iter().map(class).collect()
    }

    #[test]
    fn all_or_none_is_told_to_each() {
        let failed: Result<(), _> = Err(TaskError::skip_retry("no").class("refused"));
        for result in failed.into_results(&[true, false]) {
            let error = result.expect_err("failed");
            let class = "refused".into();
            assert_eq!(error.outcome, Outcome::Failed { class, retry: Retry::Never });
            assert_eq!(error.message, "no");
        }
        let done: Result<(), TaskError> = Ok(());
        assert!(done.into_results(&[true]).iter().all(|result| matches!(result, Ok(None))));
    }

    #[test]
    fn each_is_told_its_own_and_who_got_no_answer_fails() {
        let answers = vec![Ok(7), Err(TaskError::new("x").class("own")), Ok(8)];
        let mut results = answers.into_results(&[true, true, false, true]);
        assert_eq!(results[0].as_ref().ok(), Some(&Some(b"7".to_vec())));
        assert_eq!(results[2].as_ref().ok(), Some(&None), "it is not kept");
        let message = results[3].as_ref().expect_err("no answer").message.clone();
        assert!(message.contains("answered 3 of 4 tasks"), "{message}");
        assert_eq!(
            classes(results.split_off(0)),
            [None, Some("own".to_owned()), None, Some("batch".to_owned())]
        );
        let more: Vec<TaskResult<()>> = vec![Ok(()), Ok(())];
        assert_eq!(more.into_results(&[false]).len(), 1);
    }
}
