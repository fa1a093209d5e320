//! Routes: which runner takes which kind. Types of tasks end here; above it there are only bytes.

use std::any::Any;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, LocalBoxFuture};
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::queue::{Kind, KindHash, QueueName};
use crate::restart::{Exit, Policy};
use crate::task::Task;

use super::{
    ActorHandler, Asynchronous, Batching, Blocking, BlockingFn, DataMap, Member, Replicated,
    Retries, Roll, TaskContext, TaskError, TaskFn,
};

/// What a runner gets: an opened task, still encoded.
pub(crate) struct Input {
    pub(crate) context: TaskContext,
    pub(crate) codec: Codec,
    /// The version of the payload's shape.
    pub(crate) version: u16,
    pub(crate) body: crate::seal::Plaintext,
    /// Whether a result would be kept.
    pub(crate) keep: bool,
    /// Whether it is the probe that ends a quarantine: it waits for its replica, though its kind is not served.
    pub(crate) probe: bool,
    pub(crate) hold: Hold,
    /// Its part in the piece of work it belongs to, for a runner that gathers.
    pub(crate) member: Option<Member>,
}

/// Held by whatever goes on running after the run was given up: the slot it takes, and its thread.
pub(crate) struct Hold {
    pub(crate) _slot: Option<Arc<dyn std::any::Any + Send + Sync>>,
    pub(crate) _permit: Option<OwnedSemaphorePermit>,
}

/// Runs tasks of one kind on one arbiter: decodes, calls, encodes the result (JSON).
pub(crate) trait Runner {
    /// Waits for what a run needs before its time begins; nothing: it may begin at once.
    fn admit(&self) -> Option<LocalBoxFuture<'static, OwnedSemaphorePermit>> {
        None
    }

    /// Whether it takes the tasks of one piece of work together: each [`Input`] has a member then.
    fn gathers(&self) -> bool {
        false
    }

    /// Waits for those who are to go with a task of no group, if any are; before its time begins.
    fn gather(&self, _alone: bool) -> LocalBoxFuture<'static, Member> {
        std::future::ready(Roll::new().enrol()).boxed_local()
    }

    fn run(&self, input: Input) -> LocalBoxFuture<'static, Result<Option<Vec<u8>>, TaskError>>;
}

/// Who keeps a runner: told how it fares. Called on the thread of the runner, never for long.
pub(crate) trait Keeper: Send + Sync {
    /// Whether the runner takes tasks.
    fn up(&self, up: bool);

    /// A replica is at its end: how is told by [`exited`](Self::exited), a little later.
    fn dying(&self);

    /// A replica ended, and how. It is made anew once the receiver has its message, and never if the sender is dropped.
    fn exited(&self, exit: Exit, why: &str) -> oneshot::Receiver<()>;

    /// A run was told to stop this long ago and goes on, on a thread that cannot be taken from it. It is counted until
    /// the value returned is dropped.
    fn lingers(&self, context: &TaskContext, silent: Duration) -> Box<dyn Any>;
}

/// What a runner needs of its worker.
#[derive(Clone)]
pub(crate) struct Surroundings {
    /// Threads for blocking handlers, bounded.
    pub(crate) threads: Arc<tokio::sync::Semaphore>,
    pub(crate) keeper: Arc<dyn Keeper>,
    /// Whether the kind is served: if not, what has not begun goes back.
    pub(crate) open: watch::Receiver<bool>,
    /// Ends with whoever made the runner: no replica is made anew after it.
    pub(crate) gone: CancellationToken,
    /// How long a run that was told to stop may take to answer.
    pub(crate) patience: Duration,
    /// How many of its tasks may be in hand at once.
    pub(crate) room: usize,
    /// Over once no more tasks will come.
    pub(crate) quiet: CancellationToken,
}

impl Surroundings {
    /// Ends once what has not begun is to go back.
    pub(crate) async fn barred(&self) {
        if self.open.clone().wait_for(|open| !open).await.is_err() {
            std::future::pending().await
        }
    }
}

/// Makes runners, on the arbiter they live on.
pub(crate) trait RunnerFactory: Send + Sync {
    fn make(&self, surroundings: &Surroundings) -> Rc<dyn Runner>;
    /// Fails if something a handler asks for is missing.
    fn check(&self, data: &DataMap) -> Result<()>;
    /// Whether each run takes a thread of the bounded pool.
    fn takes_a_thread(&self) -> bool {
        false
    }
    /// What is to be done before the worker starts, if anything, for at most this many runs at once; its output is
    /// what this system cannot enforce.
    fn prepare<'a>(&'a self, _: &'a Kind, _: usize) -> Option<BoxFuture<'a, Result<Vec<String>>>> {
        None
    }
    /// Whether its runners take the tasks of one piece of work together.
    fn gathers(&self) -> bool {
        false
    }
    /// How its batches gather, if they do.
    fn batching(&mut self) -> Option<&mut Batching> {
        None
    }
    /// How it is isolated, if it is.
    #[cfg(feature = "isolate")]
    fn isolation(&mut self) -> Option<&mut super::isolated::Isolation> {
        None
    }
}

/// One kind and how it is run.
pub struct Route {
    pub(crate) kind: Kind,
    pub(crate) queue: QueueName,
    pub(crate) retries: Retries,
    pub(crate) concurrency: Option<usize>,
    pub(crate) replicas: Option<usize>,
    /// Tasks one replica takes at once.
    pub(crate) concurrent: usize,
    /// How its replicas and Processors are restarted.
    pub(crate) supervision: Policy,
    /// How long what runs it may not turn, or not answer; none: as long as the worker says.
    pub(crate) stuck_after: Option<Duration>,
    pub(crate) factory: Box<dyn RunnerFactory>,
}

impl Route {
    /// The route of the tasks `T`.
    pub(crate) fn of<T: crate::Task>(factory: impl RunnerFactory + 'static) -> Result<Self> {
        let kind = Kind::parse(T::KIND)?;
        if T::TIMEOUT > Duration::from_secs(10 * 365 * 86_400) {
            return Err(Error::invalid(format!("the timeout of kind {kind} is over ten years")));
        }
        Ok(Self {
            kind,
            queue: QueueName::parse(T::QUEUE)?,
            retries: Retries::new(T::RETRY),
            concurrency: None,
            replicas: None,
            concurrent: 1,
            supervision: Policy::DEFAULT,
            stuck_after: None,
            factory: Box::new(factory),
        })
    }
}

/// A handler, ready to be added to a worker, with limits of its own.
pub struct Registration(pub(super) Result<Route>);

impl Registration {
    pub(crate) fn new(route: Result<Route>) -> Self {
        Self(route)
    }

    pub(super) fn with(mut self, set: impl FnOnce(&mut Route) -> Result<()>) -> Self {
        self.0 = self.0.and_then(|mut route| set(&mut route).map(|()| route));
        self
    }

    /// Runs of this kind at once in the worker, 1 or more; without: as many as its lane has slots. Of a
    /// blocking handler never more than the worker has threads for them.
    #[must_use]
    pub fn concurrency(self, runs: usize) -> Self {
        self.with(|route| {
            route.concurrency = Some(at_least_one(runs, "concurrency")?);
            Ok(())
        })
    }

    /// The queue this kind is expected in, in place of the one its type names.
    #[must_use]
    pub fn queue(self, queue: &str) -> Self {
        self.with(|route| {
            route.queue = QueueName::parse(queue)?;
            Ok(())
        })
    }

    /// How many actors share the work of a handler actor, 1 or more. Functions have no replicas.
    #[must_use]
    pub fn replicas(self, replicas: usize) -> Self {
        self.with(|route| {
            if route.replicas.is_none() {
                return Err(Error::invalid(format!(
                    "the handler of {} is a function; replicas are for actors, use `.concurrency(n)`",
                    route.kind
                )));
            }
            route.replicas = Some(at_least_one(replicas, "replicas")?);
            Ok(())
        })
    }

    /// How many tasks one replica of a handler actor takes at once, 1 or more; 1 unless told otherwise.
    ///
    /// They share its fate: when it panics, the task it panicked over fails and the others go back at no cost.
    /// Which one that is shows by its [`TaskContext`]: a future that panics without holding it cannot be told
    /// from its neighbours, and all of them fail. Answers that are futures of their own (`ResponseFuture`) live
    /// on when the actor dies, and count.
    #[must_use]
    pub fn concurrent(self, tasks: usize) -> Self {
        self.with(|route| {
            if route.replicas.is_none() {
                return Err(Error::invalid(format!(
                    "the handler of {} is a function, which shares nothing; use `.concurrency(n)`",
                    route.kind
                )));
            }
            route.concurrent = at_least_one(tasks, "concurrent tasks")?;
            Ok(())
        })
    }

    /// How what runs this kind is restarted: the replicas of a handler actor, and the worker's actors that serve
    /// the kind. Default [`Policy::DEFAULT`]. A task's failure never counts, a panic in a function neither.
    ///
    /// ```
    /// use std::time::Duration;
    /// use oncue::restart::{OnExceeded, Policy};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Greet(String);
    /// # impl oncue::Task for Greet { const KIND: &'static str = "greet"; }
    /// # async fn greet(_: Greet) -> oncue::TaskResult { Ok(()) }
    ///
    /// let policy = Policy::DEFAULT
    ///     .intensity(3, Duration::from_secs(10))
    ///     .on_exceeded(OnExceeded::Quarantine { probe_after: Duration::from_secs(5) });
    /// let handler = oncue::function(greet).policy(policy);
    /// ```
    #[must_use]
    pub fn policy(self, policy: Policy) -> Self {
        self.with(|route| {
            policy.check()?;
            route.supervision = policy;
            Ok(())
        })
    }

    /// How long a thread that runs this kind may not turn before it is given up and replaced, and how long a run that was
    /// told to stop may not answer; 10 ms to a day. Without: as long as the
    /// [worker](crate::worker::Builder::stuck_after) says. Nobody can tell which of the runs on a thread blocks it: the most
    /// patient one counts.
    #[must_use]
    pub fn stuck_after(self, patience: Duration) -> Self {
        self.with(|route| {
            route.stuck_after = Some(patience);
            Ok(())
        })
    }
}

pub(super) fn at_least_one(count: usize, what: &str) -> Result<usize> {
    if count > 0 { Ok(count) } else { Err(Error::invalid(format!("{what} 0; use 1 or more"))) }
}

/// What [`Builder::handle`](crate::worker::Builder::handle) takes.
#[diagnostic::on_unimplemented(
    message = "this is not a handler",
    note = "a handler is an `async fn(task, ..) -> Result<impl Serialize, impl Into<TaskError>>` whose first argument is a `Task` and whose others are `Data<T>` or `TaskContext`, three at most",
    note = "an `async fn` that takes many tasks at once is added by `oncue::batch(..)`",
    note = "a `fn` that blocks is added by `oncue::blocking(..)`, one in a process of its own by `oncue::isolated(..)`, an actor by `oncue::actor(..)`",
    note = "errors that are no `std::error::Error + Send + Sync` (`String`, `Box<dyn Error>`, `anyhow::Error`) become a `TaskError` by `.map_err(TaskError::new)?`"
)]
pub trait IntoRoute<Args> {
    #[doc(hidden)]
    fn into_route(self) -> Result<Route>;
}

impl IntoRoute<()> for Registration {
    fn into_route(self) -> Result<Route> {
        self.0
    }
}

impl<F: TaskFn<Args>, Args: 'static> IntoRoute<Args> for F {
    fn into_route(self) -> Result<Route> {
        Route::of::<F::Task>(Asynchronous::new(self))
    }
}

/// An `async fn` with limits of its own.
///
/// ```
/// # use oncue::TaskResult;
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Greet(String);
/// # impl oncue::Task for Greet { const KIND: &'static str = "greet"; }
/// # async fn greet(_: Greet) -> TaskResult { Ok(()) }
/// let handler = oncue::handler::function(greet).concurrency(4);
/// ```
pub fn function<F: TaskFn<Args>, Args: 'static>(handler: F) -> Registration {
    Registration::new(Route::of::<F::Task>(Asynchronous::new(handler)))
}

/// A blocking `fn`, run on a bounded pool of threads.
///
/// ```
/// # use oncue::TaskResult;
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Double(u64);
/// # impl oncue::Task for Double { const KIND: &'static str = "double"; }
/// fn double(task: Double) -> TaskResult<u64> {
///     Ok(task.0 * 2)
/// }
/// let handler = oncue::blocking(double).concurrency(2);
/// ```
pub fn blocking<F: BlockingFn<Args>, Args: 'static>(handler: F) -> Registration {
    Registration::new(Route::of::<F::Task>(Blocking::new(handler)))
}

/// A handler actor, one replica unless told otherwise, made by `factory` now and after every panic.
///
/// A replica takes one task at a time, unless told otherwise. It cannot be interrupted: when its time is up the
/// task fails, and the replica takes no other until it answers; [`TaskContext::cancelled`] tells it to hurry. One
/// that does not, for as long as [`stuck_after`](crate::worker::Builder::stuck_after) says, is made anew.
///
/// ```
/// use actix::{Actor, Context, Handler};
/// use oncue::{Job, Output, TaskResult};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Greet(String);
/// # impl oncue::Task for Greet { const KIND: &'static str = "greet"; }
///
/// #[derive(Default)]
/// struct Greeter(u32);
///
/// impl Actor for Greeter {
///     type Context = Context<Self>;
/// }
///
/// impl Handler<Job<Greet>> for Greeter {
///     type Result = TaskResult<Output>;
///
///     fn handle(&mut self, job: Job<Greet>, _: &mut Self::Context) -> Self::Result {
///         self.0 += 1;
///         Output::of(&format!("hello {}, you are number {}", job.task.0, self.0))
///     }
/// }
///
/// let handler = oncue::actor(Greeter::default).replicas(2);
/// ```
pub fn actor<T: Task, A: ActorHandler<T>>(
    factory: impl Fn() -> A + Send + Sync + 'static,
) -> Registration {
    let replicated = Replicated { factory: Arc::new(factory), task: PhantomData::<fn(T)> };
    Registration::new(Route::of::<T>(replicated).map(|route| Route { replicas: Some(1), ..route }))
}

/// All routes of a worker, by the hash that stands in tickets.
#[derive(Default)]
pub(crate) struct Routes(HashMap<KindHash, Route>);

impl Routes {
    /// Adds a route; a second one for the same kind is refused.
    pub(crate) fn add(&mut self, route: Route) -> Result<()> {
        match self.0.insert(route.kind.hash(), route) {
            None => Ok(()),
            Some(old) => Err(Error::invalid(format!(
                "kind {} has two handlers, or one whose name hashes alike; register one, or rename it",
                old.kind
            ))),
        }
    }

    pub(crate) fn get(&self, kind: KindHash) -> Option<&Route> {
        self.0.get(&kind)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Route> {
        self.0.values()
    }

    pub(crate) fn kinds(&self) -> Vec<KindHash> {
        let mut kinds: Vec<_> = self.0.keys().copied().collect();
        kinds.sort();
        kinds
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
