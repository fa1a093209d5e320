//! The life of a worker and of its actors: never backwards (I8), and no death unseen.

use std::fmt;
use std::panic::AssertUnwindSafe;

use actix::{Actor, Addr, AsyncContext, Context};
use actix_rt::ArbiterHandle;
use futures::FutureExt;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use crate::panic;

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

/// An actor of the company.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    Supervisor,
    Heartbeater,
    Processor(usize),
    Scheduler,
    Fetcher,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Supervisor => f.write_str("supervisor"),
            Self::Heartbeater => f.write_str("heartbeater"),
            Self::Processor(number) => write!(f, "processor {number}"),
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
    pub(crate) why: String,
}

/// Starts one incarnation of an actor on an arbiter; answers whether the arbiter took it.
pub(crate) fn launch<A: Actor<Context = Context<A>>>(
    place: &ArbiterHandle,
    who: Who,
    stop: CancellationToken,
    reports: UnboundedSender<Exited>,
    make: impl FnOnce() -> A + Send + 'static,
    started: impl FnOnce(Addr<A>) + Send + 'static,
) -> bool {
    place.spawn_fn(move || drop(actix_rt::spawn(live(who, stop, reports, make, started))))
}

/// Lives one incarnation of an actor on this arbiter and reports its end.
///
/// actix lets a panic kill an actor silently, so the future is polled under `catch_unwind` here. It is
/// dropped after the unwinding is over, under a guard of its own: dropping an actor's context polls it once
/// more.
pub(crate) async fn live<A: Actor<Context = Context<A>>>(
    who: Who,
    stop: CancellationToken,
    reports: UnboundedSender<Exited>,
    make: impl FnOnce() -> A + 'static,
    started: impl FnOnce(Addr<A>) + 'static,
) {
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
        match (ended, dropped) {
            (None, _) => None,
            (Some(Err(panic)), _) | (_, Err(panic)) => Some(panic::text(panic)),
            (Some(Ok(())), Ok(())) => Some("it stopped by itself".to_owned()),
        }
    });
    if let Some(why) = lived.await.unwrap_or_else(Some) {
        // Without a receiver the worker is over and nobody needs to know.
        let _ = reports.send(Exited { who, why });
    }
}
