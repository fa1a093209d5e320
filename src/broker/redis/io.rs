//! The I/O threads: who owns the connections.
//!
//! A connection of redis-rs lives on the runtime that made it and dies with it. So each link has a thread of
//! its own, which runs no code of users, and any thread or runtime may call through it.

use std::future::Future;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::link::{Greeting, Link, OnEvent};
use super::options::Options;
use crate::broker::Reply;
use crate::error::{Error, Result};

/// A thread with a link on it. The thread ends with this.
pub(super) struct Io {
    pub(super) link: Link,
    runtime: Handle,
    /// Dropped: the thread ends.
    _stop: oneshot::Sender<()>,
}

impl Io {
    /// Starts the thread and begins to connect.
    pub(super) fn start(
        name: &str,
        options: Arc<Options>,
        greeting: Greeting,
        on_event: OnEvent,
    ) -> Result<Self> {
        let failed = |error: std::io::Error| Error::system("no thread for Redis").because(error);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let (set, link) = std::sync::mpsc::channel();
        std::thread::Builder::new()
            .name(name.into())
            .spawn(move || {
                runtime.block_on(async move {
                    // The receiver waits below.
                    let _ = set.send(Link::open(options, greeting, on_event));
                    let _ = stopped.await;
                });
            })
            .map_err(failed)?;
        let link = link.recv().map_err(|_| Error::system("the thread for Redis ended"))?;
        Ok(Self { link, runtime: handle, _stop: stop })
    }

    /// Runs a call on the thread and answers on whatever runtime asks.
    pub(super) fn run<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Reply<T> {
        let (answer, reply) = oneshot::channel();
        self.spawn(async move {
            // Nobody may be waiting any more; the call had its effect all the same.
            let _ = answer.send(call.await);
        });
        Box::pin(async move {
            reply.await.unwrap_or_else(|_| Err(Error::closed("the Redis broker was closed")))
        })
    }

    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime.spawn(work));
    }
}
