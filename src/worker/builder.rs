//! Building a worker: handlers, shared data, lanes and limits, checked as a whole before anything starts.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_rt::{Arbiter, System};
use futures::FutureExt;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::broker::{Operate, WorkerId};
use crate::error::{Error, Result};
use crate::event::{Event, Listener};
use crate::failpoint::Planned;
use crate::handler::{Around, Call, Data, DataMap, IntoRoute, Output, Routes, TaskResult};
use crate::panic;
#[cfg(feature = "testing")]
use crate::queue::{KindHash, QueueName};
use crate::restart::{Policy, Shutdown, Strategy};
use crate::seal::Sealer;

use super::config::{Config, Lane};
use super::hooks::{Failed, Hooks};
#[cfg(feature = "testing")]
use super::lane::Served;
use super::prepare::prepare;
use super::presence::Card;
use super::threads::Threads;
use super::tree::Tree;
use super::{Life, Worker, control};

/// A worker to be, which does nothing before [`start`](Self::start). Made by [`Client::worker`](crate::Client::worker).
///
/// ```no_run
/// # use oncue::{Data, Lane, TaskContext, TaskResult};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Greet(String);
/// # impl oncue::Task for Greet { const KIND: &'static str = "greet"; }
/// async fn greet(task: Greet, greeting: Data<String>, context: TaskContext) -> TaskResult<String> {
///     Ok(format!("{} {}, attempt {}", *greeting, task.0, context.attempt()))
/// }
/// # async fn start() -> oncue::Result<()> {
/// let client = oncue::connect("sqlite:app.db").await?;
/// let worker = client
///     .worker()
///     .handle(greet)
///     .data("hello".to_owned())
///     .lane(Lane::weighted([("default", 3), ("mail", 1)]).concurrency(8))
///     .start()
///     .await?;
/// worker.run().await?; // until SIGINT or SIGTERM
/// # Ok(()) }
/// ```
#[must_use = "a worker runs when it is started"]
pub struct Builder {
    pub(super) broker: Arc<dyn Operate>,
    pub(super) sealer: Sealer,
    pub(super) routes: Result<Routes>,
    pub(super) data: DataMap,
    pub(super) lanes: Vec<Lane>,
    pub(super) config: Config,
    pub(super) events: Option<Listener>,
    pub(super) around: Vec<Around>,
    pub(super) hooks: Hooks,
    #[cfg(feature = "cron")]
    entries: Vec<crate::timetable::Entry>,
    pub(super) planned: Planned,
}

impl Builder {
    pub(crate) fn new(broker: Arc<dyn Operate>, sealer: Sealer) -> Self {
        Self {
            broker,
            sealer,
            routes: Ok(Routes::default()),
            data: DataMap::default(),
            lanes: Vec::new(),
            config: Config::default(),
            events: None,
            around: Vec::new(),
            hooks: Hooks::default(),
            #[cfg(feature = "cron")]
            entries: Vec::new(),
            planned: Planned::default(),
        }
    }

    fn with(mut self, set: impl FnOnce(&mut Self)) -> Self {
        set(&mut self);
        self
    }

    /// Adds a handler: an `async fn`, or what [`blocking`](crate::blocking), [`actor`](crate::actor) and
    /// `isolated` make.
    pub fn handle<Args>(mut self, handler: impl IntoRoute<Args>) -> Self {
        self.routes = self.routes.and_then(|mut routes| {
            routes.add(handler.into_route()?)?;
            Ok(routes)
        });
        self
    }

    /// Shares a value with every run, as [`Data<T>`](crate::Data).
    pub fn data<T: Send + Sync + 'static>(self, value: T) -> Self {
        self.with(|b| b.data.insert(Data::new(value)))
    }

    /// Adds a lane. Without any there is one over the queues of all kinds handled; with one, only the queues
    /// that lanes name are served.
    pub fn lane(self, lane: Lane) -> Self {
        self.with(|b| b.lanes.push(lane))
    }

    /// How long a session lives without a beat; 300 ms to a day. Default 15 s.
    pub fn lease(self, lease: Duration) -> Self {
        self.with(|b| b.config.lease = lease)
    }

    /// How long a shutdown waits for runs to end. Default 25 s. The same as the `shutdown` of a
    /// [`policy`](Self::policy).
    pub fn shutdown_timeout(self, limit: Duration) -> Self {
        self.with(|b| b.config.policy.shutdown = Shutdown::Timeout(limit))
    }

    /// How the worker's own actors are restarted, and how long a shutdown waits. Default [`Policy::ROOT`]. What
    /// runs a kind has a policy of its own: [`Registration::policy`](crate::handler::Registration::policy).
    pub fn policy(self, policy: Policy) -> Self {
        self.with(|b| b.config.policy = policy)
    }

    /// Which of the worker's own actors are restarted with one that died, in the order Heartbeater, handlers,
    /// Scheduler, Fetcher. Default [`Strategy::RestForOne`].
    pub fn strategy(self, strategy: Strategy) -> Self {
        self.with(|b| b.config.strategy = strategy)
    }

    /// How long a thread that runs handlers may not turn before it is given up and replaced, and how long a run
    /// that was told to stop may not answer; 10 ms to a day. Default 30 s. A kind may have
    /// [its own](crate::handler::Registration::stuck_after). When the worker's own thread does not turn for so long, as a hook
    /// or a listener that blocks makes it, beats stop, and other workers take its tasks over.
    pub fn stuck_after(self, patience: Duration) -> Self {
        self.with(|b| b.config.stuck_after = patience)
    }

    /// How much memory this process may use, in bytes of its resident set, everything in it counted; without: any amount.
    /// With more the worker drains and ends with a failure, before the system ends the process without asking: only a fresh
    /// process gives back what leaked. Needs Linux.
    pub fn memory_max(self, bytes: u64) -> Self {
        self.with(|b| b.config.memory_max = Some(bytes))
    }

    /// How many threads may linger, taken by runs that were given up, before the worker drains and ends with a
    /// failure. Default: twice the [`threads`](Self::threads).
    pub fn stuck_max(self, threads: usize) -> Self {
        self.with(|b| b.config.stuck_max = Some(threads))
    }

    /// How long a task of a kind nobody handles stays pending before it is archived. Default 24 h.
    pub fn unknown_grace(self, grace: Duration) -> Self {
        self.with(|b| b.config.unknown_grace = grace)
    }

    /// Threads that run async handlers and handler actors. Default: one per core.
    pub fn threads(self, threads: usize) -> Self {
        self.with(|b| b.config.arbiters = threads)
    }

    /// Threads that run blocking handlers. Default: two per core.
    pub fn blocking_threads(self, threads: usize) -> Self {
        self.with(|b| b.config.blocking = threads)
    }

    /// Is told every [`Event`], on the thread where it happens: keep it short.
    pub fn on_event(self, listener: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.with(|b| b.events = Some(Arc::new(listener)))
    }

    /// Wraps every run, of whatever handler: in the order added, the first one outermost. It may measure, set a tracing
    /// span, answer in the handler's place, or change what that answered. It runs on the thread of the run and
    /// within its time. A panic in it fails the run, with the class `panic`.
    ///
    /// ```
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Greet(String);
    /// # impl oncue::Task for Greet { const KIND: &'static str = "greet"; }
    /// # async fn greet(_: Greet) -> oncue::TaskResult { Ok(()) }
    /// # fn main() -> oncue::Result<()> { oncue::block_on(async {
    /// # let client = oncue::connect("sqlite::memory:").await?;
    /// use oncue::{Call, TaskError};
    ///
    /// let worker = client
    ///     .worker()
    ///     .handle(greet)
    ///     .around(|call: Call| async move {
    ///         let (kind, began) = (call.context().kind().clone(), std::time::Instant::now());
    ///         let ended = call.proceed().await;
    ///         println!("{kind}: {} after {:?}", ended.is_ok(), began.elapsed());
    ///         ended
    ///     })
    ///     .around(|call: Call| async move {
    ///         match call.context().header("tenant") {
    ///             Some("suspended") => Err(TaskError::skip_retry("this tenant is suspended")),
    ///             _ => call.proceed().await,
    ///         }
    ///     });
    /// # worker.start().await?.shutdown().await?; Ok(()) }) }
    /// ```
    pub fn around<F, Fut>(self, middleware: F) -> Self
    where
        F: Fn(Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = TaskResult<Output>> + 'static,
    {
        let middleware = Arc::new(move |call| middleware(call).boxed_local());
        self.with(|b| b.around.push(middleware))
    }

    /// Is told of every run that failed, once the broker has written what becomes of its task; of one whose worker
    /// is killed in between, never. Called on the control thread: keep it short. A panic in it is logged.
    ///
    /// ```
    /// # fn watch(worker: oncue::worker::Builder) -> oncue::worker::Builder {
    /// use oncue::worker::Failed;
    ///
    /// worker
    ///     .on_error(|failed: &Failed| eprintln!("{} {:?}: {}", failed.kind, failed.class, failed.message))
    ///     .on_archive(|failed: &Failed| eprintln!("{} is dead: {:?}", failed.id, failed.reason()))
    /// # }
    /// ```
    pub fn on_error(self, hook: impl Fn(&Failed) + Send + Sync + 'static) -> Self {
        self.with(|b| b.hooks.error.push(Arc::new(hook)))
    }

    /// Is told of every task this worker archived, in the same way: after a run, without one, or when it took the task
    /// over from a worker that is gone. What a person archives or cancels while it waits is no worker's doing, and
    /// not told.
    pub fn on_archive(self, hook: impl Fn(&Failed) + Send + Sync + 'static) -> Self {
        self.with(|b| b.hooks.archive.push(Arc::new(hook)))
    }

    /// Adds an entry to the timetable when the worker starts. One that is there and says the same is not written again,
    /// and one that a person paused stays paused. Of two workers whose code differs the one that starts last has its
    /// way. An entry that the code no longer names stays: an older worker may still run it; `oncue cron remove` removes
    /// it.
    ///
    /// ```
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Report;
    /// # impl oncue::Task for Report { const KIND: &'static str = "report"; }
    /// # async fn report(_: Report) -> oncue::TaskResult { Ok(()) }
    /// # fn main() -> oncue::Result<()> { oncue::block_on(async {
    /// # let client = oncue::connect("sqlite::memory:").await?;
    /// use oncue::timetable::Entry;
    ///
    /// let nightly = Entry::new("nightly", "30 2 * * *", Report)?.zone("Europe/Berlin")?;
    /// let worker = client.worker().handle(report).cron(nightly).start().await?;
    /// # worker.shutdown().await?; Ok(()) }) }
    /// ```
    #[cfg(feature = "cron")]
    pub fn cron(self, entry: crate::timetable::Entry) -> Self {
        self.with(|b| b.entries.push(entry))
    }

    /// Whether this worker enqueues what is due by the timetable, of every queue of its namespace. Any number of workers
    /// may; one task comes of a tick. Default true.
    #[cfg(feature = "cron")]
    pub fn schedules(self, schedules: bool) -> Self {
        self.with(|b| b.config.schedules = schedules)
    }

    /// Whether it enqueues what the timetable says.
    #[cfg(all(feature = "testing", feature = "cron"))]
    pub(crate) fn keeps_the_timetable(&self) -> bool {
        self.config.schedules
    }

    /// Plans panics, for tests.
    #[cfg(feature = "failpoints")]
    pub fn failpoints(self, failpoints: Arc<crate::FailPoints>) -> Self {
        self.with(|b| b.planned = Planned(failpoints))
    }

    /// Looks for expired leases this often, whatever their length.
    #[cfg(feature = "testing")]
    pub(crate) fn sweep(self, every: Duration) -> Self {
        self.with(|b| b.config.sweep = Some(every))
    }

    /// The queues and kinds it serves, of those that are there as far as patterns go.
    #[cfg(feature = "testing")]
    pub(crate) fn serves(&self, there: &[QueueName]) -> Result<(Vec<QueueName>, Vec<KindHash>)> {
        let Ok(routes) = &self.routes else { return Ok(Default::default()) };
        let mut queues = Vec::new();
        for lane in &self.lanes {
            for (served, _) in lane.parse()? {
                match served {
                    Served::Queue(queue) => queues.push(queue),
                    Served::Prefix(_) => {
                        let matching = there.iter().filter(|queue| served.serves(queue.as_str()));
                        queues.extend(matching.cloned());
                    }
                }
            }
        }
        if self.lanes.is_empty() {
            queues.extend(routes.iter().map(|route| route.queue.clone()));
        }
        queues.sort();
        queues.dedup();
        Ok((queues, routes.kinds()))
    }

    /// Checks everything and starts the worker.
    ///
    /// # Errors
    /// What is wrong with a handler, a lane or a limit [`is_invalid`](Error::is_invalid); a key that
    /// differs from the one the broker knows under its id [`is_wrong_key`](Error::is_wrong_key).
    pub async fn start(self) -> Result<Worker> {
        if let Some(warning) = panic::warning(cfg!(panic = "abort")) {
            tracing::warn!("{warning}");
        }
        let broker = self.broker.clone();
        broker.check_keys(self.sealer.keyring().key_checks()).await?;
        #[cfg(feature = "cron")]
        let entries = self.entries.clone();
        let (shared, processors) = self.assemble()?;
        prepare(&shared).await?;
        #[cfg(feature = "cron")]
        super::ticks::put(&shared, &entries).await?;
        let (orders, order_inbox) = mpsc::unbounded_channel();
        let (life, life_seen) = watch::channel(Life::Running);
        let (end, ended) = watch::channel(None);
        let (ready, started) = oneshot::channel();
        let vitals = shared.vitals.clone();
        #[cfg(feature = "testing")]
        let cut = shared.cut.clone();
        let orders_out = orders.clone();
        let worker_id = WorkerId::fresh();
        let company = move || {
            let system = System::new();
            let report = system.block_on(async move {
                let (exits, exit_inbox) = mpsc::unbounded_channel();
                let tree = Rc::new(Tree {
                    beats: RefCell::new(Arbiter::new()),
                    threads: Arc::new(
                        Threads::start(shared.config.arbiters).expect("threads for handlers"),
                    ),
                    shared,
                    processors,
                    exits,
                    card: Arc::new(Card::new(worker_id, life.subscribe(), orders_out.clone())),
                    orders: orders_out,
                    life,
                    terms: Default::default(),
                    next_term: Default::default(),
                    root: Default::default(),
                    started: Default::default(),
                    stop: CancellationToken::new(),
                });
                let _ = ready.send(());
                control(tree, exit_inbox, order_inbox).await
            });
            end.send_replace(Some(report));
        };
        std::thread::Builder::new()
            .name("oncue-control".to_owned())
            .spawn(company)
            .map_err(|error| Error::system("cannot start the control thread").because(error))?;
        // Whoever stops waiting here drops the worker, which ends it.
        let worker = Worker {
            id: worker_id,
            orders,
            life: life_seen,
            ended,
            vitals,
            #[cfg(feature = "testing")]
            cut,
        };
        started.await.map_err(|_| Error::system("the control thread died while starting"))?;
        Ok(worker)
    }
}
