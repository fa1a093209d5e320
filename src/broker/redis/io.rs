//! The I/O threads: who owns the connections.
//!
//! A connection of redis-rs lives on the runtime that made it and dies with it. So each link has a thread of
//! its own, which runs no code of users, and any thread or runtime may call through it. A call that panics loses its
//! answer and nothing else; a thread or keeper that panics begins again with a new runtime and connection.

use std::convert::Infallible;
use std::future::Future;
use std::panic::resume_unwind;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::keeper::Keeper;
use super::link::{Greeting, Link, OnEvent};
use super::options::Options;
use super::ready;
use crate::broker::Reply;
use crate::broker::lives::{Fate, Lives};
use crate::error::{Error, Result};
use crate::failpoint::Planned;
use crate::panic;

type Job = BoxFuture<'static, ()>;

/// A thread with a link on it. The thread ends with this.
pub(super) struct Io {
    pub(super) link: Link,
    /// What the thread is to run. Bounded by those who call; what comes between two lives waits for the next.
    jobs: mpsc::UnboundedSender<Job>,
    fate: Arc<Fate>,
    planned: Planned,
}

impl Io {
    /// Starts the thread and begins to connect.
    pub(super) fn start(
        name: &'static str,
        options: Arc<Options>,
        greeting: Greeting,
        on_event: OnEvent,
    ) -> Result<Self> {
        let failed = |error: std::io::Error| Error::system("no thread for Redis").because(error);
        let mut first = Some(runtime().map_err(failed)?);
        let planned = options.planned.clone();
        let (link, keeper) = Link::new(options, greeting, on_event);
        let (jobs, mut waiting) = mpsc::unbounded_channel();
        let lives = Lives::new(name);
        let (fate, ended) = (lives.fate(), lives.fate());
        let passes = planned.clone();
        let life = move || {
            let runtime = match first.take() {
                Some(runtime) => runtime,
                None => runtime().map_err(|error| error.to_string())?,
            };
            keeper.fall();
            let pass = || passes.pass(name);
            let lived = runtime.block_on(panic::catch(|| live(keeper.clone(), &mut waiting, pass)));
            if lived.is_ok() {
                ended.end();
            }
            // Whoever reads a password there may take long, and is not waited for.
            runtime.shutdown_background();
            lived
        };
        std::thread::Builder::new()
            .name(name.into())
            .spawn(move || lives.keep(life))
            .map_err(failed)?;
        Ok(Self { link, jobs, fate, planned })
    }

    /// Runs a call on the thread and answers on whatever runtime asks.
    pub(super) fn run<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Reply<T> {
        if let Err(refused) = self.admit() {
            return ready(Err(refused));
        }
        let (answer, reply) = oneshot::channel();
        let (planned, fate) = (self.planned.clone(), self.fate.clone());
        self.spawn(async move {
            planned.pass("redis call");
            let told = call.await;
            planned.pass("redis answer");
            fate.answered();
            // Nobody may be waiting any more; the call had its effect all the same.
            let _ = answer.send(told);
        });
        self.reply(reply)
    }

    /// The answer to come; an error that says so if it is lost.
    pub(super) fn reply<T: Send + 'static>(&self, reply: oneshot::Receiver<Result<T>>) -> Reply<T> {
        let fate = self.fate.clone();
        Box::pin(async move { reply.await.unwrap_or_else(|_| Err(fate.lost())) })
    }

    /// Refuses a call while the thread is left alone.
    pub(super) fn admit(&self) -> Result<()> {
        self.fate.admit()
    }

    /// The thread did what it was asked.
    pub(super) fn answered(&self) {
        self.fate.answered();
    }

    /// Runs this on the thread. A panic there drops it.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let guarded = async {
            if let Err(why) = panic::catch(|| work).await {
                tracing::error!(why, "a call of the Redis broker panicked");
            }
        };
        // Without a thread it is dropped as well.
        let _ = self.jobs.send(Box::pin(guarded));
    }
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// One life: keeps the link up and runs what is to be run, until nothing more can come. The keeper's panic is its own.
async fn live(keeper: Keeper, jobs: &mut mpsc::UnboundedReceiver<Job>, pass: impl Fn()) {
    let mut keeping = AbortOnDropHandle::<Infallible>::new(tokio::spawn(keeper.run()));
    loop {
        tokio::select! {
            Err(died) = &mut keeping => resume_unwind(died.into_panic()),
            job = jobs.recv() => match job {
                Some(job) => {
                    pass();
                    drop(tokio::spawn(job));
                }
                None => return,
            },
        }
    }
}
