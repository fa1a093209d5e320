//! Wake-up: marks that only grow, and a watchman for the commits of other processes.
//!
//! Own commits bump their mark at once. Commits of others are noticed by the writer, whose
//! `PRAGMA data_version` changes by them alone: whenever it begins a transaction, and whenever the
//! watchman, which runs only while somebody waits, asks it to look.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use super::writer::Knocker;
use crate::broker::lives::Lives;
use crate::broker::marks::Marks;
use crate::broker::{Reply, Wake};
use crate::error::{Error, Result};
use crate::failpoint::Planned;

const THREAD: &str = "oncue-watchman";
/// Between two looks while things happen.
const LOOK_BUSY: Duration = Duration::from_millis(5);
/// Between two looks while nothing does.
const LOOK_IDLE: Duration = Duration::from_millis(50);

/// How many wait.
#[derive(Clone, Default)]
struct Waiters(Arc<AtomicUsize>);

/// One who waits.
struct Waiter(Waiters);

impl Waiters {
    fn enter(&self) -> Waiter {
        self.0.fetch_add(1, Ordering::SeqCst);
        Waiter(self.clone())
    }

    fn any(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The handle of the watchman's thread, which ends when this is dropped.
pub(super) struct Watchman {
    nudge: SyncSender<()>,
    waiters: Waiters,
}

impl Watchman {
    /// Starts the thread.
    pub(super) fn start(marks: &Arc<Marks>, knocker: Knocker, planned: Planned) -> Result<Self> {
        // Room for one: a nudge that is not yet heeded stands for all.
        let (nudge, nudges) = sync_channel(1);
        let waiters = Waiters::default();
        let (present, weak) = (waiters.clone(), Arc::downgrade(marks));
        let total = move || weak.upgrade().map_or(0, |marks| marks.total());
        let lives = Lives::new(THREAD);
        let fate = lives.fate();
        let live = move || {
            lives.keep(|| {
                let look = || {
                    planned.pass(THREAD);
                    fate.answered();
                    knocker.knock()
                };
                watch_others(&nudges, &present, look, &total);
                Ok(())
            });
        };
        std::thread::Builder::new()
            .name(THREAD.into())
            .spawn(live)
            .map_err(|error| Error::system("no thread for the watchman").because(error))?;
        Ok(Self { nudge, waiters })
    }

    fn enter(&self) -> Waiter {
        let waiter = self.waiters.enter();
        // Full: it is about to look anyway. Disconnected: the writer is gone, and so are the marks.
        let _ = self.nudge.try_send(());
        waiter
    }
}

fn watch_others(
    nudges: &Receiver<()>,
    waiters: &Waiters,
    look: impl Fn() -> bool,
    total: impl Fn() -> u64,
) {
    let (mut pause, mut seen) = (LOOK_BUSY, 0);
    loop {
        let nudged = if waiters.any() {
            match nudges.recv_timeout(pause) {
                Ok(()) => true,
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        } else {
            match nudges.recv() {
                Ok(()) => true,
                Err(_) => return,
            }
        };
        if !look() {
            return;
        }
        let happened = total();
        pause = if nudged || happened != seen { LOOK_BUSY } else { (pause * 2).min(LOOK_IDLE) };
        seen = happened;
    }
}

/// Waits until the mark is not `seen` any more.
pub(super) fn wait(
    marks: &Marks,
    watchman: Option<&Watchman>,
    wake: Wake,
    seen: Option<u64>,
) -> Reply<u64> {
    let mut watch = marks.watch(wake);
    let present = *watch.borrow_and_update();
    if seen != Some(present) {
        return Box::pin(std::future::ready(Ok(present)));
    }
    let waiter = watchman.map(Watchman::enter);
    Box::pin(async move {
        let _waiter = waiter;
        match watch.wait_for(|mark| *mark != present).await {
            Ok(mark) => Ok(*mark),
            Err(_) => Err(Error::closed("the SQLite broker was closed")),
        }
    })
}
