//! The readers: two threads with read-only connections, each query in one snapshot and within a time limit.
//!
//! A query that panics loses its answer; a reader that panics outside of one begins again on a new connection.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::fault::Step;
use super::open::{Use, connect};
use crate::broker::Reply;
use crate::broker::lives::{Fate, Lives};
use crate::error::{Error, Result};
use crate::failpoint::Planned;

const THREAD: &str = "oncue-reader";
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
    fates: Arc<[Arc<Fate>; READERS]>,
    planned: Planned,
}

impl Readers {
    /// Starts the threads.
    pub(super) fn start(path: &Path, name: Arc<str>, planned: Planned) -> Result<Self> {
        let (sender, queries) = mpsc::channel(MAILBOX_MAX);
        let queries = Arc::new(Mutex::new(queries));
        let lives: [Lives; READERS] = std::array::from_fn(|_| Lives::new(THREAD));
        let fates = Arc::new(lives.each_ref().map(Lives::fate));
        for lives in lives {
            let mut first = Some(Reader::open(path, &name)?);
            let (path, name) = (PathBuf::from(path), name.clone());
            let (queries, planned, fate) = (queries.clone(), planned.clone(), lives.fate());
            let live = move || {
                lives.keep(|| {
                    let reader = match first.take() {
                        Some(reader) => reader,
                        None => Reader::open(&path, &name).map_err(|error| error.to_string())?,
                    };
                    reader.serve(&queries, &planned, &fate);
                    Ok(())
                });
            };
            std::thread::Builder::new()
                .name(THREAD.into())
                .spawn(live)
                .map_err(|error| Error::system("no thread for a SQLite reader").because(error))?;
        }
        Ok(Self { queries: sender, name, fates, planned })
    }

    /// Runs a query.
    pub(super) fn call<T: Send + 'static>(
        &self,
        body: impl FnOnce(&Connection) -> Step<T> + Send + 'static,
    ) -> Reply<T> {
        let Self { queries, name, fates, planned } = self.clone();
        Box::pin(async move {
            // One reader is enough.
            let [fate, others @ ..] = &*fates;
            if others.iter().all(|fate| fate.admit().is_err()) {
                fate.admit()?;
            }
            let (reply, answer) = oneshot::channel();
            let query: Query = Box::new(move |conn| {
                planned.pass("sqlite query");
                let answer = in_snapshot(conn, body).map_err(|halt| halt.into_error(&name));
                // Whoever asked may have left.
                let _ = reply.send(answer);
            });
            let sent = queries.send(query).await;
            drop(queries);
            sent.map_err(|_| fate.lost())?;
            answer.await.map_err(|_| fate.lost())?
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

/// One connection and its time limit.
struct Reader {
    conn: Connection,
    limit: Limit,
}

impl Reader {
    fn open(path: &Path, name: &str) -> Result<Self> {
        let mut conn = connect(Some(path), Use::Read, name)?;
        let limit = Limit::set(&mut conn, name)?;
        Ok(Self { conn, limit })
    }

    /// Until nobody can ask anything more.
    fn serve(&self, queries: &Mutex<mpsc::Receiver<Query>>, planned: &Planned, fate: &Fate) {
        loop {
            // The lock is held while waiting: the other reader waits for the lock instead.
            let query = queries.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
            let Some(query) = query else { return };
            planned.pass(THREAD);
            self.limit.start();
            // A query that panics loses its answer; the reader stays.
            let asked = std::panic::AssertUnwindSafe(|| query(&self.conn));
            if let Err(panic) = std::panic::catch_unwind(asked) {
                tracing::error!(
                    why = crate::panic::text(panic),
                    "a query of the SQLite broker panicked"
                );
            }
            fate.answered();
        }
    }
}
