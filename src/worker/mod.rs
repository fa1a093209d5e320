//! A worker: the company of actors that claims, opens, runs and settles tasks.
//!
//! It lives on threads of its own, so it starts under any runtime: `#[actix_web::main]`, `#[tokio::main]`,
//! [`block_on`](crate::block_on). It knows the contract of a broker and never which one it is.

mod backoff;
mod builder;
mod config;
mod echo;
mod execute;
#[cfg(feature = "failpoints")]
mod failpoint;
mod fetcher;
mod heartbeater;
mod job;
mod life;
mod prepare;
mod processor;
mod scheduler;
mod settle;
mod shared;
mod slots;
mod supervisor;
mod turn;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use actix::Addr;
use tokio::sync::{mpsc, watch};

pub use builder::Builder;
pub use config::{CONCURRENCY, CONCURRENCY_MAX, LEASE, Lane, SHUTDOWN, STOP_NOTICE, UNKNOWN_GRACE};
#[cfg(feature = "failpoints")]
pub use failpoint::FailPoints;
pub use life::Life;
pub(crate) use shared::Shared;

use crate::error::{Error, Result};
use crate::restart::Intensity;
use life::{Exited, Who, live};
use supervisor::{Supervisor, Tree, shut_down};

/// A worker that runs. Dropping it shuts it down without waiting.
#[must_use = "a worker that is dropped shuts down"]
pub struct Worker {
    orders: mpsc::UnboundedSender<Order>,
    life: watch::Receiver<Life>,
    ended: watch::Receiver<Option<Result<Report, String>>>,
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

/// What a worker is told to do. On its way unbounded: one per call of the handle, per signal, and per actor that
/// gave up.
pub(crate) enum Order {
    Quiet,
    Shutdown { failure: Option<String> },
    WatchSignals,
}

impl Worker {
    /// Where it is in its life.
    pub fn life(&self) -> Life {
        *self.life.borrow()
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
        let _ = self.orders.send(Order::Shutdown { failure: None });
        self.report().await
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
        // Once ordered a shutdown is not hurried by a second order, and after it there is nobody to hear it.
        if self.life() <= Life::Quiet {
            let _ = self.orders.send(Order::Shutdown { failure: None });
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
        let (stop, exits) = (tree.stop.clone(), tree.exits.clone());
        actix_rt::spawn(live(Who::Supervisor, stop, exits, || make, started));
    };
    let mut ending = None;
    let mut failed = None;
    employ();
    let report = loop {
        tokio::select! {
            Some(exited) = exits.recv() => match exited.who {
                Who::Supervisor if tree.wait_for(&Who::Supervisor).is_some() => {
                    tree.shared.restarted(Who::Supervisor.to_string(), &exited.why);
                    employ();
                }
                Who::Supervisor => {
                    let _ = tree.orders.send(Order::Shutdown { failure: Some(exited.why) });
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
                            tokio::time::sleep(Intensity::DEFAULT.backoff_min).await;
                            let _ = exits.send(exited);
                        }
                    });
                }
            },
            Some(order) = orders.recv() => match order {
                Order::Quiet => {
                    tree.shared.quiet.cancel();
                    tree.go_on(Life::Quiet);
                }
                Order::WatchSignals => watch_signals(&tree),
                Order::Shutdown { failure } => {
                    // Who asks twice is in a hurry. An actor that gives up is not: runs may end.
                    if ending.is_some() && failure.is_none() {
                        tree.shared.cut.cancel();
                    }
                    failed = failed.or(failure);
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
            let _ = orders.send(Order::Shutdown { failure: None });
        }
    });
}
