//! The life of a worker and of its actors: never backwards (I8), and no death unseen.

use std::fmt;
use std::panic::AssertUnwindSafe;

use actix::{Actor, Addr, AsyncContext, Context};
use actix_rt::ArbiterHandle;
use futures::FutureExt;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use crate::panic;
use crate::restart::Exit;

/// Where a worker is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Life {
    /// Claims and runs.
    Running,
    /// Claims nothing more; runs what it has.
    Quiet,
    /// Waits for its runs to end, within a limit.
    Draining,
    /// Over.
    Stopped,
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Quiet => "quiet",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        })
    }
}

/// An actor of the company; Processors and replicas by the number of their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    Supervisor,
    Heartbeater,
    Processor(usize),
    Replica(usize),
    Scheduler,
    Fetcher,
}

impl Who {
    /// The number of its place, if it has one.
    pub(crate) fn place(self) -> Option<usize> {
        match self {
            Self::Processor(number) | Self::Replica(number) => Some(number),
            _ => None,
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Supervisor => f.write_str("supervisor"),
            Self::Heartbeater => f.write_str("heartbeater"),
            Self::Processor(number) => write!(f, "processor {number}"),
            Self::Replica(number) => write!(f, "replica {number}"),
            Self::Scheduler => f.write_str("scheduler"),
            Self::Fetcher => f.write_str("fetcher"),
        }
    }
}

/// An actor ended, and how. Sent for every end but an ordered one; unbounded on its way, for each actor has at
/// most one on it.
#[derive(Clone, Debug)]
pub(crate) struct Exited {
    pub(crate) who: Who,
    /// Which of its terms; of a replica that of its Processor.
    pub(crate) term: u64,
    pub(crate) exit: Exit,
    pub(crate) why: String,
}

/// Where the ends of one term are reported.
#[derive(Clone)]
pub(crate) struct Reports {
    pub(crate) exits: UnboundedSender<Exited>,
    pub(crate) term: u64,
}

/// One incarnation of an actor, from the order to start it to its end.
///
/// Dropped, it reports the end: whoever drops it, be it a thread that stops with all that is on it.
pub(crate) struct Term {
    pub(crate) who: Who,
    pub(crate) reports: Reports,
    /// Ends it in order: nothing is reported.
    pub(crate) stop: CancellationToken,
    /// Cancelled when it is over, however.
    pub(crate) over: CancellationToken,
    end: Option<(Exit, String)>,
}

impl Term {
    pub(crate) fn new(who: Who, reports: Reports, stop: CancellationToken) -> Self {
        Self { who, reports, stop, over: CancellationToken::new(), end: None }
    }
}

impl Drop for Term {
    fn drop(&mut self) {
        self.over.cancel();
        if self.stop.is_cancelled() {
            return;
        }
        let gone = || (Exit::Abnormal, "its thread is gone".to_owned());
        let (exit, why) = self.end.take().unwrap_or_else(gone);
        let Reports { exits, term } = &self.reports;
        // Without a receiver the worker is over and nobody needs to know.
        let _ = exits.send(Exited { who: self.who, term: *term, exit, why });
    }
}

/// Starts one incarnation of an actor on an arbiter. One that is gone drops the term, which tells.
pub(crate) fn launch<A: Actor<Context = Context<A>>>(
    place: &ArbiterHandle,
    term: Term,
    make: impl FnOnce() -> A + Send + 'static,
    started: impl FnOnce(Addr<A>) + Send + 'static,
) {
    place.spawn_fn(move || drop(actix_rt::spawn(live(term, make, started))));
}

/// Lives one incarnation of an actor on this arbiter; its end is told when the term is dropped.
///
/// actix lets a panic kill an actor silently, so the future is polled under `catch_unwind` here. It is
/// dropped after the unwinding is over, under a guard of its own: dropping an actor's context polls it once
/// more. Only a panic while another unwinds (in a `Drop`, say) is beyond it: Rust aborts the process.
pub(crate) async fn live<A: Actor<Context = Context<A>>>(
    mut term: Term,
    make: impl FnOnce() -> A + 'static,
    started: impl FnOnce(Addr<A>) + 'static,
) {
    let stop = term.stop.clone();
    let lived = panic::catch(|| async move {
        let context = Context::new();
        let address = context.address();
        let mut future = context.into_future(make());
        started(address);
        let ended = tokio::select! {
            ended = AssertUnwindSafe(&mut future).catch_unwind() => Some(ended),
            () = stop.cancelled() => None,
        };
        let dropped = std::panic::catch_unwind(AssertUnwindSafe(move || drop(future)));
        let ended = ended.map(|ended| ended.map_err(panic::text));
        match (ended, dropped.map_err(panic::text)) {
            (Some(Err(why)), _) | (_, Err(why)) => (Exit::Abnormal, why),
            (_, Ok(())) => (Exit::Normal, "it stopped by itself".to_owned()),
        }
    });
    term.end = Some(lived.await.unwrap_or_else(|why| (Exit::Abnormal, why)));
}
