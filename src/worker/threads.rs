//! The threads that run async handlers and handler actors: which there are, and which do not turn.
//!
//! A thread cannot be taken from what blocks it. One that does not answer is given up and replaced; it lingers,
//! counted, until what blocks it returns.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_rt::{Arbiter, ArbiterHandle};

use super::echo::Echo;
use super::health::{Lingering, Vitals};

/// The threads of a worker. Each has a number, never used again.
pub(crate) struct Threads(Mutex<Table>);

struct Table {
    threads: Vec<Thread>,
    next: usize,
}

struct Thread {
    number: usize,
    arbiter: Arbiter,
    echo: Echo,
    /// Whether it was told of since it last turned.
    told: bool,
    /// Filled when it is given up; dropped when it ends.
    lingering: Arc<Mutex<Option<Lingering>>>,
}

impl Thread {
    fn start(number: usize) -> io::Result<Self> {
        let arbiter = Arbiter::try_new()?;
        let lingering = Arc::<Mutex<Option<Lingering>>>::default();
        let ends = Ends(lingering.clone());
        arbiter.spawn(async move {
            let _ends = ends;
            std::future::pending().await
        });
        let handle = arbiter.handle();
        let echo = Echo::new(move |errand| {
            handle.spawn_fn(errand);
        });
        Ok(Self { number, echo, told: false, arbiter, lingering })
    }
}

/// Lives on a thread, and dies with it.
struct Ends(Arc<Mutex<Option<Lingering>>>);

impl Drop for Ends {
    fn drop(&mut self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// A thread that does not answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Silent {
    pub(crate) index: usize,
    pub(crate) number: usize,
    pub(crate) silent: Duration,
}

impl Threads {
    /// Starts so many. Only where an actix system is.
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        let threads = (0..count).map(Thread::start).collect::<io::Result<_>>()?;
        Ok(Self(Mutex::new(Table { threads, next: count })))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread at this index and its number; a fresh one if it is gone.
    pub(crate) fn at(&self, index: usize) -> io::Result<(ArbiterHandle, usize)> {
        let table = &mut *self.table();
        if !table.threads[index].arbiter.alive() {
            table.replace(index)?;
        }
        let thread = &table.threads[index];
        Ok((thread.arbiter.handle(), thread.number))
    }

    /// Asks every thread for an echo; answers which have been silent for longer than they may be, each once. How long
    /// that is, is asked of those that are silent, by their number; a look counts for `look_max` at most.
    pub(crate) fn probe(
        &self,
        now: Duration,
        look_max: Duration,
        may_be: impl Fn(usize) -> Duration,
    ) -> Vec<Silent> {
        let mut table = self.table();
        let threads = table.threads.iter_mut().enumerate();
        let silent = |(index, thread): (usize, &mut Thread)| {
            let silent = thread.echo.probe(now, look_max);
            thread.told &= !silent.is_zero();
            let stuck = !silent.is_zero() && !thread.told && silent >= may_be(thread.number);
            thread.told |= stuck;
            stuck.then_some(Silent { index, number: thread.number, silent })
        };
        threads.filter_map(silent).collect()
    }

    /// Replaces the thread at this index, if it still has this number. The old one stops when it turns again.
    pub(crate) fn give_up(&self, silent: Silent, vitals: &Arc<Vitals>) -> io::Result<bool> {
        let mut table = self.table();
        if table.threads[silent.index].number != silent.number {
            return Ok(false);
        }
        let old = table.replace(silent.index)?;
        *old.lingering.lock().unwrap_or_else(PoisonError::into_inner) = Some(vitals.linger());
        old.arbiter.stop();
        Ok(true)
    }

    /// Stops them all.
    pub(crate) fn stop(&self) {
        self.table().threads.iter().for_each(|thread| {
            thread.arbiter.stop();
        });
    }
}

impl Table {
    fn replace(&mut self, index: usize) -> io::Result<Thread> {
        let fresh = Thread::start(self.next)?;
        self.next += 1;
        Ok(std::mem::replace(&mut self.threads[index], fresh))
    }
}
