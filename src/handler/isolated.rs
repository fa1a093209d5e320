//! A `fn` in a process of its own: registered in the worker, called in a child of it.
//!
//! The child knows its handlers by kind, from the same list the worker was given. It gets the opened task and
//! nothing else: no key, no `Data`, no way to the broker.

use std::any::type_name;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use futures::FutureExt;
use futures::future::{BoxFuture, LocalBoxFuture};

use crate::clock::Timestamp;
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::isolate::{self, Answer, Call, Ending, Entry, Limits, Pool, Tell, Word};
use crate::outcome::{Outcome, Retry};
use crate::panic;
use crate::queue::{Kind, QueueName};
use crate::task::{LINE_BYTES_MAX, TaskId};

use super::context::Run;
use super::route::at_least_one;
use super::{
    BlockingFn, DataMap, Input, Notes, Registration, Route, Runner, RunnerFactory, Stop,
    Surroundings, TaskContext, TaskError, Wanted, text,
};

/// Children of one kind at once, per core, unless told otherwise.
const RUNS_PER_CORE: usize = 2;

/// How a handler is isolated.
pub(crate) struct Isolation {
    pub(super) limits: Limits,
    /// Tasks a child runs; none: it cannot be used twice.
    pub(super) recycle: Option<u32>,
    /// The handler, as a child calls it; none: it is a program.
    pub(super) called: Option<Called>,
}

/// A handler as a child calls it, and its name in the program.
pub(super) type Called = (Arc<dyn Fn(Call, Tell) -> Answer + Send + Sync>, &'static str);

/// A plain `fn` that runs in a process of its own, a fresh one for each task: it may crash, hang or be hostile, and
/// costs its task alone.
///
/// The process is this program again: [`child`] must be the first line of `main`. The first argument is the task, a
/// [`TaskContext`] may follow; there is no `Data`, since nothing is shared. Limits are [`Limits::default`] unless
/// told; what it may use is set by [`limits`](Registration::limits), and how many tasks a process may run one after
/// the other by [`recycle`](Registration::recycle). Needs Linux.
///
/// ```no_run
/// use oncue::{Limits, TaskResult};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Double(u64);
/// # impl oncue::Task for Double { const KIND: &'static str = "double"; }
///
/// fn double(task: Double) -> TaskResult<u64> {
///     Ok(task.0 * 2)
/// }
///
/// fn main() -> oncue::Result<()> {
///     let limits = Limits { memory: 256 << 20, ..Limits::default() };
///     let [double] = oncue::child([oncue::isolated(double).limits(limits)]);
///     oncue::block_on(async {
///         let client = oncue::connect("sqlite:app.db").await?;
///         client.worker().handle(double).start().await?.run().await.map(drop)
///     })
/// }
/// ```
pub fn isolated<F: BlockingFn<Args>, Args: 'static>(handler: F) -> Registration {
    let called = handler.clone();
    let called = Arc::new(move |call, tell| answer(&called, call, tell));
    let isolation = Isolation {
        limits: Limits::default(),
        recycle: Some(1),
        called: Some((called, type_name::<F>())),
    };
    let factory = Isolated::<F, Args> { isolation, pool: OnceLock::new(), args: PhantomData };
    let route = Route::of::<F::Task>(factory);
    Registration::new(route.map(|route| Route { concurrency: Some(default_runs()), ..route }))
}

/// Runs at once unless told otherwise.
pub(super) fn default_runs() -> usize {
    RUNS_PER_CORE * std::thread::available_parallelism().map_or(1, usize::from)
}

/// Gives way to children: the first line of a plain `fn main`, before any runtime or thread.
///
/// In a child of this program it runs tasks and never returns. Anywhere else it returns at once, with the handlers it
/// was given, for the worker. `oncue::child([])` is enough for programs.
pub fn child<const N: usize>(handlers: [Registration; N]) -> [Registration; N] {
    if !isolate::is_child() {
        isolate::give_way();
        return handlers;
    }
    // A handler that is wrong is told of by the worker, which has it too.
    let routes = handlers.into_iter().filter_map(|registration| registration.0.ok());
    let entries = routes.filter_map(|mut route| {
        let (run, name) = route.factory.isolation()?.called.clone()?;
        let kind = route.kind.as_str().to_owned();
        Some(Entry { kind, name, run: Box::new(move |call, tell| run(call, tell)) })
    });
    isolate::serve(&entries.collect::<Vec<_>>())
}

impl Registration {
    /// What a handler in a process of its own may use.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        self.with(|route| {
            isolation(route, "limits")?.limits = limits;
            Ok(())
        })
    }

    /// How many tasks of a handler a process runs, one after the other, 1 or more; 1 unless told. They share its
    /// fate and its memory: what one leaves behind the next finds.
    #[must_use]
    pub fn recycle(self, tasks: u32) -> Self {
        self.with(|route| {
            at_least_one(usize::try_from(tasks).unwrap_or(usize::MAX), "recycle")?;
            match &mut isolation(route, "recycle")?.recycle {
                Some(recycle) => *recycle = tasks,
                None => return Err(Error::invalid("a program runs one task; leave `recycle` out")),
            }
            Ok(())
        })
    }
}

fn isolation<'r>(route: &'r mut Route, what: &str) -> Result<&'r mut Isolation> {
    let kind = route.kind.clone();
    route.factory.isolation().ok_or_else(|| {
        Error::invalid(format!(
            "the handler of {kind} runs in the worker's own process, where {what} mean nothing; use \
             `oncue::isolated(..)`"
        ))
    })
}

/// An isolated `fn`, as the runtime sees it.
struct Isolated<F, Args> {
    isolation: Isolation,
    /// Set once the worker is about to start.
    pool: OnceLock<Arc<Pool>>,
    args: PhantomData<fn(F, Args)>,
}

impl<F: BlockingFn<Args>, Args: 'static> RunnerFactory for Isolated<F, Args> {
    fn make(&self, _: &Surroundings) -> Rc<dyn Runner> {
        Rc::new(Children(self.pool.get().expect("prepared before the worker started").clone()))
    }

    fn check(&self, _: &DataMap) -> Result<()> {
        F::check(&DataMap::default()).map_err(|error| {
            Error::invalid("an isolated handler shares no `Data`: it runs in a process of its own")
                .because(error)
        })
    }

    fn prepare<'a>(
        &'a self,
        kind: &'a Kind,
        runs: usize,
    ) -> Option<BoxFuture<'a, Result<Vec<String>>>> {
        let Isolation { limits, recycle, .. } = &self.isolation;
        let (limits, recycle) = (limits.clone(), recycle.unwrap_or(1));
        let started = Pool::of_handler(kind.as_str(), type_name::<F>(), limits, recycle, runs);
        Some(started.map(|started| Ok(keep(&self.pool, started?))).boxed())
    }

    fn isolation(&mut self) -> Option<&mut Isolation> {
        Some(&mut self.isolation)
    }
}

/// Keeps a pool that was started; answers what this system lacks for it.
pub(super) fn keep(pool: &OnceLock<Arc<Pool>>, started: isolate::Started) -> Vec<String> {
    // A factory belongs to one worker, which prepares it once.
    let _ = pool.set(started.pool);
    started.lacks
}

/// Runs tasks in children.
struct Children(Arc<Pool>);

impl Runner for Children {
    fn run(&self, input: Input) -> LocalBoxFuture<'static, Result<Option<Vec<u8>>, TaskError>> {
        let pool = self.0.clone();
        async move {
            let (call, context) = (call(&input), input.context);
            let hear = |word| note(&context, word);
            match pool.run(&call, Box::new(input.hold), &hear).await {
                Ok((answer, stderr)) => said(answer, &stderr, input.keep),
                Err(ending) => Err(ended(ending)),
            }
        }
        .boxed_local()
    }
}

/// Notes what a child said as if it had been said here.
///
/// # Errors
/// For what no [`TaskContext`] of a child says: then it is not the handler of oncue's that speaks.
fn note(context: &TaskContext, word: Word) -> Result<()> {
    match word {
        Word::Line(line) if line.len() > LINE_BYTES_MAX || line.contains('\n') => {
            Err(Error::invalid(format!("a line of {} bytes that is no line", line.len())))
        }
        Word::Line(line) => {
            context.log(line);
            Ok(())
        }
        Word::Progress(json) => context.progress_json(json),
    }
}

/// What a handler in a child wants noted goes to its worker. Effects cannot: see [`TaskContext::once`].
fn pass_on(tell: &Tell, wanted: Wanted) {
    if let Some(progress) = wanted.progress {
        tell(Word::Progress(progress));
    }
    for line in wanted.log.into_iter().flat_map(|log| log.lines) {
        tell(Word::Line(line.text));
    }
}

fn call(input: &Input) -> Call {
    let run = input.context.run();
    Call {
        kind: run.kind.as_str().to_owned(),
        codec: input.codec as u8,
        version: input.version,
        body: input.body.to_vec(),
        keep: input.keep,
        id: *run.id.as_bytes(),
        queue: run.queue.as_str().to_owned(),
        attempt: run.attempt,
        max_retry: run.max_retry,
        created: run.created.0,
        deadline: run.deadline.map(|deadline| deadline.0),
        headers: run.headers.clone(),
    }
}

/// What a child does with a call.
fn answer<F: BlockingFn<Args>, Args>(handler: &F, call: Call, tell: Tell) -> Answer {
    let called = AssertUnwindSafe(|| handle(handler, call, tell));
    let result = catch_unwind(called)
        .unwrap_or_else(|panic| Err(TaskError::new(panic::text(panic)).class("panic")));
    match result {
        Ok(result) => Answer::Done(result),
        Err(TaskError { outcome, message }) => match outcome {
            Outcome::Snoozed(delay) => Answer::Snoozed(delay),
            Outcome::Revoked => Answer::Revoked,
            Outcome::KeyMissing => Answer::Newer { message },
            Outcome::Failed { class, retry } => failed(class.into_owned(), message, retry, true),
            Outcome::Uncounted { class, retry } => {
                failed(class.into_owned(), message, retry, false)
            }
            // No constructor of a `TaskError` makes another.
            other => failed("handler".to_owned(), format!("{other:?}"), Retry::ByPolicy, true),
        },
    }
}

fn failed(class: String, message: String, retry: Retry, counts: bool) -> Answer {
    let after = match retry {
        Retry::ByPolicy => None,
        Retry::In(delay) => Some(delay),
        Retry::Never => return Answer::Never { class, message },
    };
    Answer::Failed { class, message, after, counts }
}

fn handle<F: BlockingFn<Args>, Args>(
    handler: &F,
    mut call: Call,
    tell: Tell,
) -> Result<Option<Vec<u8>>, TaskError> {
    let context = TaskContext::new(Run {
        id: TaskId::from_bytes(call.id),
        kind: Kind::parse(&call.kind)?,
        queue: QueueName::parse(&call.queue)?,
        attempt: call.attempt,
        max_retry: call.max_retry,
        created: Timestamp(call.created),
        deadline: call.deadline.map(Timestamp),
        headers: std::mem::take(&mut call.headers),
        // Nobody tells a child to stop: it is killed.
        stop: Arc::new(Stop::default()),
        data: Arc::new(DataMap::default()),
        notes: Notes::told_to(Box::new(move |wanted| pass_on(&tell, wanted))),
        piece: None,
    });
    let codec = Codec::from_byte(call.codec)?;
    let task = crate::task::read(call.version, codec, &call.body).map_err(TaskError::unread)?;
    handler.call(task, &context, call.keep)
}

/// What a handler in a child said, as if it had said it here; it may have said anything.
fn said(answer: Answer, stderr: &str, keep: bool) -> Result<Option<Vec<u8>>, TaskError> {
    let full = |message| detail(message, stderr);
    Err(match answer {
        Answer::Done(None) => return Ok(None),
        Answer::Done(Some(result)) if keep && text::is_result(&result) => return Ok(Some(result)),
        Answer::Done(Some(_)) => {
            TaskError::new(full("what the child answered is no result".to_owned()))
                .class("protocol")
        }
        Answer::Failed { class, message, after, counts } => {
            let said = if counts { TaskError::new } else { TaskError::uncounted };
            let error = said(full(message)).class(class);
            match after {
                Some(delay) => error.after(delay),
                None => error,
            }
        }
        Answer::Never { class, message } => TaskError::skip_retry(full(message)).class(class),
        Answer::Snoozed(delay) => TaskError::snooze(delay),
        Answer::Revoked => TaskError::revoke(),
        Answer::Newer { message } => TaskError::unread(crate::Error::newer(message)),
    })
}

/// A child that ended without an answer, as a failure.
pub(super) fn ended(Ending { class, message, stderr }: Ending) -> TaskError {
    TaskError::new(detail(message, &stderr)).class(class)
}

/// A message with what was printed on standard error below it.
pub(super) fn detail(mut message: String, stderr: &str) -> String {
    if !stderr.is_empty() {
        message.push_str("\n--- standard error ---\n");
        message.push_str(stderr);
    }
    message
}
