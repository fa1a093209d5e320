//! A worker: the company of actors that claims, opens, runs and settles tasks.
//!
//! It lives on threads of its own, so it starts under any runtime: `#[actix_web::main]`, `#[tokio::main]`,
//! [`block_on`](crate::block_on). It knows the contract of a broker and never which one it is.

mod assemble;
mod backoff;
mod builder;
mod config;
mod counter;
mod echo;
mod execute;
mod fetcher;
mod health;
mod heartbeater;
mod hooks;
mod job;
mod lane;
mod life;
mod lookout;
mod memory;
mod notes;
mod place;
mod prepare;
mod presence;
mod processor;
mod scheduler;
mod settle;
mod shared;
mod slots;
mod stuck;
mod supervisor;
mod threads;
#[cfg(feature = "cron")]
mod ticks;
mod tree;
mod turn;
mod ward;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use tokio::sync::{mpsc, watch};

pub use builder::Builder;
pub use config::{
    CONCURRENCY, CONCURRENCY_MAX, LEASE, LEASE_MAX, LEASE_MIN, Lane, SHUTDOWN, STOP_NOTICE,
    STUCK_AFTER, UNKNOWN_GRACE,
};
pub(crate) use config::{chance, jittered};
pub use health::{BROKER_FAILURE_MEMORY, Health, LEASE_LOSS_MEMORY, Reason};
pub use hooks::Failed;
pub use lane::PATTERN_QUEUES_MAX;
pub use life::Life;
pub(crate) use shared::Shared;

use crate::broker::WorkerId;
use crate::error::{Error, Result};
use crate::queue::Kind;
use crate::restart::Backoff;
use echo::Errand;
use health::Vitals;
use life::{Exited, Who, live};
use supervisor::{Supervisor, shut_down};
use threads::Silent;
use tree::Tree;

/// A worker that runs. Dropping it shuts it down without waiting.
#[must_use = "a worker that is dropped shuts down"]
pub struct Worker {
    id: WorkerId,
    orders: mpsc::UnboundedSender<Order>,
    life: watch::Receiver<Life>,
    ended: watch::Receiver<Option<Result<Report, String>>>,
    vitals: Arc<Vitals>,
    #[cfg(feature = "testing")]
    cut: tokio_util::sync::CancellationToken,
}

/// What a worker did, told at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Runs that completed.
    pub completed: u64,
    /// Runs that failed and are to be retried.
    pub retried: u64,
    /// Tasks archived.
    pub archived: u64,
    /// Tasks made pending again: handed back unfinished at no cost, or taken over from a worker that died.
    pub released: u64,
    /// Actors started again.
    pub restarts: u64,
}

/// What a worker is told to do. The channel has no bound, but what is sent has: one per call of the handle, per signal,
/// per actor that gave up, per thread that is stuck, and per beat that fails; and one errand at a time that asks for an
/// echo.
pub(crate) enum Order {
    Quiet,
    Shutdown(By),
    WatchSignals,
    /// The handler of this kind is made anew.
    Restart(Kind),
    GiveUp(Silent),
    /// Is done on the control thread.
    Run(Errand),
}

/// Who has a worker shut down.
pub(crate) enum By {
    /// Its owner, by the handle or a signal. Who asks twice is in a hurry.
    Owner,
    /// An operator from afar, or its handle when it is dropped. It may be told again before it was heard.
    Other,
    /// Itself: it cannot go on.
    Failure(String),
}

impl Worker {
    /// How operators call it: the same for as long as it lives, and no other's.
    pub fn id(&self) -> WorkerId {
        self.id
    }

    /// Where it is in its life.
    pub fn life(&self) -> Life {
        *self.life.borrow()
    }

    /// How it fares, and why: for a health check, and for people.
    ///
    /// ```
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Greet(String);
    /// # impl oncue::Task for Greet { const KIND: &'static str = "greet"; }
    /// # async fn greet(_: Greet) -> oncue::TaskResult { Ok(()) }
    /// # fn main() -> oncue::Result<()> { oncue::block_on(async {
    /// use oncue::worker::Health;
    /// # let client = oncue::connect("sqlite::memory:").await?;
    /// # let worker = client.worker().handle(greet).start().await?;
    /// match worker.health() {
    ///     Health::Ok => {}
    ///     Health::Degraded(reasons) => println!("works, with less: {reasons:?}"),
    ///     Health::Failing(reasons) => println!("restart it: {reasons:?}"),
    /// }
    /// # worker.shutdown().await?; Ok(()) }) }
    /// ```
    pub fn health(&self) -> Health {
        self.vitals.health(self.life() == Life::Stopped || self.ended.borrow().is_some())
    }

    /// Claims nothing more; goes on with what it has.
    pub fn quiet(&self) {
        let _ = self.orders.send(Order::Quiet);
    }

    /// Runs until SIGTERM or SIGINT, then shuts down; a second signal does not wait for runs to end.
    pub async fn run(&self) -> Result<Report> {
        let _ = self.orders.send(Order::WatchSignals);
        self.report().await
    }

    /// Claims nothing more, waits for runs to end (25 s unless told otherwise), hands the rest back at no
    /// cost, and tells what was done. Called again meanwhile, it does not wait.
    pub async fn shutdown(&self) -> Result<Report> {
        let _ = self.orders.send(Order::Shutdown(By::Owner));
        self.report().await
    }

    /// Ends every run at its next await, before anybody else is told anything.
    #[cfg(feature = "testing")]
    pub(crate) fn cut(&self) {
        self.cut.cancel();
    }

    /// Ends with the worker.
    async fn report(&self) -> Result<Report> {
        let mut ended = self.ended.clone();
        let told = ended.wait_for(Option::is_some).await;
        match told.as_deref() {
            Ok(Some(Ok(report))) => Ok(*report),
            Ok(Some(Err(failure))) => Err(Error::system(format!("the worker failed: {failure}"))),
            _ => Err(Error::system("the control thread of the worker died")),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // After a shutdown there is nobody to hear it.
        if self.life() <= Life::Quiet {
            let _ = self.orders.send(Order::Shutdown(By::Other));
        }
    }
}

/// How long the end of a worker waits for its actors to be gone.
const LAST_GOODBYE: Duration = Duration::from_secs(1);

/// The main loop of the control thread.
async fn control(
    tree: Rc<Tree>,
    mut exits: mpsc::UnboundedReceiver<Exited>,
    mut orders: mpsc::UnboundedReceiver<Order>,
) -> Result<Report, String> {
    let address: Rc<RefCell<Option<Addr<Supervisor>>>> = Rc::default();
    let employ = || {
        let (make, address) = (Supervisor(tree.clone()), address.clone());
        let started = move |new| drop(address.replace(Some(new)));
        actix_rt::spawn(live(tree.term(Who::Supervisor), || make, started));
    };
    // When the Supervisor that died is to be started again.
    let mut vacant = None;
    let (mut ending, mut watched) = (None, false);
    let mut failed = None;
    // Should this thread die, nothing goes on to extend leases for runs that nobody settles any more.
    let _all = tree.stop.clone().drop_guard();
    employ();
    let report = loop {
        tokio::select! {
            Some(exited) = exits.recv() => match exited.who {
                Who::Supervisor => {
                    let wait = tree.supervisor_exited(&exited.why);
                    if let Some(wait) = wait {
                        tree.shared.restarted(exited.who.to_string(), &exited.why);
                        vacant = Some(Box::pin(tokio::time::sleep(wait)));
                    }
                }
                _ => {
                    let supervisor = address.borrow().clone();
                    let exits = tree.exits.clone();
                    actix_rt::spawn(async move {
                        let told = match supervisor {
                            Some(supervisor) => supervisor.send(exited.clone()).await.is_ok(),
                            None => false,
                        };
                        // The Supervisor died over it: the next one is told again, a little later.
                        if !told {
                            tokio::time::sleep(Backoff::DEFAULT.min).await;
                            let _ = exits.send(exited);
                        }
                    });
                }
            },
            () = async {
                match &mut vacant {
                    Some(vacant) => vacant.await,
                    None => std::future::pending().await,
                }
            } => {
                vacant = None;
                employ();
            }
            Some(order) = orders.recv() => match order {
                Order::Quiet => {
                    tree.shared.quiet.cancel();
                    tree.go_on(Life::Quiet);
                }
                // Once: each that watches counts a signal.
                Order::WatchSignals if std::mem::replace(&mut watched, true) => {}
                Order::WatchSignals => watch_signals(&tree),
                Order::Restart(kind) => tree.start_anew(&kind),
                Order::GiveUp(stuck) => tree.give_up(stuck),
                Order::Run(errand) => errand(),
                Order::Shutdown(by) => {
                    match by {
                        By::Owner if ending.is_some() => tree.shared.cut.cancel(),
                        By::Failure(failure) => failed = failed.or(Some(failure)),
                        By::Owner | By::Other => {}
                    }
                    if ending.is_none() {
                        let tree = tree.clone();
                        ending = Some(Box::pin(async move { shut_down(&tree).await }));
                    }
                }
            },
            report = async {
                match &mut ending {
                    Some(ending) => ending.await,
                    None => std::future::pending().await,
                }
            } => break failed.map_or(Ok(report), Err),
        }
    };
    // Every actor holds the sender: when they are all gone the broker can be closed.
    drop((address, ending));
    drop(tree);
    let gone = async { while exits.recv().await.is_some() {} };
    if tokio::time::timeout(LAST_GOODBYE, gone).await.is_err() {
        tracing::warn!("a handler blocks its thread; the worker ends without it");
    }
    report
}

/// The first SIGTERM or SIGINT shuts down, the second does not wait.
fn watch_signals(tree: &Tree) {
    use tokio::signal::unix::{SignalKind, signal};
    let orders = tree.orders.clone();
    actix_rt::spawn(async move {
        let (terminate, interrupt) =
            (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
        let (Ok(mut terminate), Ok(mut interrupt)) = (terminate, interrupt) else {
            return tracing::error!("cannot listen for signals; stop the worker by its handle");
        };
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("signal: shutting down; a second one does not wait");
            let _ = orders.send(Order::Shutdown(By::Owner));
        }
    });
}
