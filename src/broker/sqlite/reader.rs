//! The readers: two threads with read-only connections, each query in one snapshot and within a time limit.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::fault::Step;
use super::open::{Use, connect};
use crate::broker::Reply;
use crate::error::{Error, Result};

/// How many queries run at once.
const READERS: usize = 2;
/// Queries that wait for a reader; more wait in their callers.
const MAILBOX_MAX: usize = 256;
/// How long one query may take.
const QUERY_MAX: Duration = Duration::from_secs(5);
/// SQLite looks at the time after this many of its steps.
const STEPS: i32 = 10_000;

type Query = Box<dyn FnOnce(&Connection) + Send>;

/// Sends queries to the readers, which end when the last of these is dropped.
#[derive(Clone)]
pub(super) struct Readers {
    queries: mpsc::Sender<Query>,
    name: Arc<str>,
}

impl Readers {
    /// Starts the threads.
    pub(super) fn start(path: &Path, name: Arc<str>) -> Result<Self> {
        let (sender, queries) = mpsc::channel(MAILBOX_MAX);
        let queries = Arc::new(Mutex::new(queries));
        for _ in 0..READERS {
            let mut conn = connect(Some(path), Use::Read, &name)?;
            let limit = Limit::set(&mut conn, &name)?;
            let queries = queries.clone();
            std::thread::Builder::new()
                .name("oncue-reader".into())
                .spawn(move || serve(&conn, &limit, &queries))
                .map_err(|error| Error::system("no thread for a SQLite reader").because(error))?;
        }
        Ok(Self { queries: sender, name })
    }

    /// Runs a query.
    pub(super) fn call<T: Send + 'static>(
        &self,
        body: impl FnOnce(&Connection) -> Step<T> + Send + 'static,
    ) -> Reply<T> {
        let Self { queries, name } = self.clone();
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            let query: Query = Box::new(move |conn| {
                let answer = in_snapshot(conn, body).map_err(|halt| halt.into_error(&name));
                // Whoever asked may have left.
                let _ = reply.send(answer);
            });
            let sent = queries.send(query).await;
            drop(queries);
            sent.map_err(|_| Error::closed("the SQLite broker was closed"))?;
            answer.await.map_err(|_| Error::system("a query panicked"))?
        })
    }
}

fn in_snapshot<T>(conn: &Connection, body: impl FnOnce(&Connection) -> Step<T>) -> Step<T> {
    let snapshot = conn.unchecked_transaction()?;
    let answer = body(conn);
    // Nothing was written; dropping it would do, but for an error nobody sees.
    snapshot.rollback()?;
    answer
}

/// The time limit of one connection: when the running query must end, in ms since it was set.
struct Limit {
    epoch: Instant,
    end: Arc<AtomicU64>,
}

impl Limit {
    fn set(conn: &mut Connection, name: &str) -> Result<Self> {
        let limit = Self { epoch: Instant::now(), end: Arc::new(AtomicU64::new(u64::MAX)) };
        let (epoch, end) = (limit.epoch, limit.end.clone());
        conn.progress_handler(STEPS, Some(move || elapsed(epoch) > end.load(Ordering::Relaxed)))
            .map_err(|error| super::fault::explain(error, name))?;
        Ok(limit)
    }

    fn start(&self) {
        let end = elapsed(self.epoch) + QUERY_MAX.as_millis() as u64;
        self.end.store(end, Ordering::Relaxed);
    }
}

fn elapsed(epoch: Instant) -> u64 {
    u64::try_from(epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn serve(conn: &Connection, limit: &Limit, queries: &Mutex<mpsc::Receiver<Query>>) {
    loop {
        // The lock is held while waiting: the other reader waits for the lock instead.
        let query = queries.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(query) = query else { return };
        limit.start();
        // A query that panics loses its answer; the reader stays.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| query(conn)));
    }
}
