//! Places: where the tasks of a kind are handed out. A place outlives the Processors that hold it, one after the
//! other.

use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::Addr;
use tokio::sync::oneshot;

use crate::event::Event;
use crate::handler::{Keeper, TaskContext};
use crate::queue::KindHash;
use crate::restart::Exit;

use super::Shared;
use super::job::Job;
use super::life::{Exited, Reports, Who};
use super::processor::{Deliver, Processor};

/// Where the Processor of a kind lives, as its Fetcher sees it.
pub(crate) struct Place {
    pub(crate) kind: KindHash,
    pub(crate) number: usize,
    /// Slots taken by its jobs: until they are settled, or longer if a run that was given up goes on.
    pub(crate) load: Arc<AtomicUsize>,
    /// The number of the thread it is on.
    thread: AtomicUsize,
    holder: Mutex<Holder>,
    closed: AtomicBool,
}

/// Who holds a place.
#[derive(Default)]
struct Holder {
    address: Option<Addr<Processor>>,
    /// Whether its runner takes tasks; a replica that is being made anew does not.
    up: Arc<AtomicBool>,
    /// Lets its replica be made anew.
    again: Option<oneshot::Sender<()>>,
}

impl Place {
    pub(crate) fn new(kind: KindHash, number: usize) -> Self {
        let (load, thread, holder, closed) = Default::default();
        Self { kind, number, load, thread, holder, closed }
    }

    fn holder(&self) -> MutexGuard<'_, Holder> {
        self.holder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A Processor moves in. What its predecessor says of itself is of no account from now on.
    pub(crate) fn occupy(&self, address: Addr<Processor>, up: Arc<AtomicBool>, thread: usize) {
        self.thread.store(thread, Ordering::Release);
        *self.holder() = Holder { address: Some(address), up, again: None };
    }

    /// Nobody is there.
    pub(crate) fn vacate(&self) {
        *self.holder() = Holder::default();
    }

    /// Nobody will be there any more.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn thread(&self) -> usize {
        self.thread.load(Ordering::Acquire)
    }

    /// Lets the replica that died be made anew; answers whether one waited for it.
    pub(crate) fn renew(&self) -> bool {
        let again = self.holder().again.take();
        again.is_some_and(|again| again.send(()).is_ok())
    }

    /// The replica that died is not made anew.
    pub(crate) fn dismiss(&self) {
        self.holder().again = None;
    }

    /// Whether a job would find a Processor and a runner.
    pub(crate) fn is_up(&self) -> bool {
        let holder = self.holder();
        holder.up.load(Ordering::Acquire) && holder.address.as_ref().is_some_and(Addr::connected)
    }

    /// How many more tasks it takes at once, if it takes so many.
    pub(crate) fn room(&self, most: usize) -> usize {
        if self.is_up() { most.saturating_sub(self.load.load(Ordering::Relaxed)) } else { 0 }
    }

    /// Hands jobs over. Those that find nobody go back at no cost.
    #[expect(clippy::vec_box, reason = "a job stays where it is until its end")]
    pub(crate) fn deliver(&self, jobs: Vec<Box<Job>>) {
        let holder = self.holder();
        if let Some(address) = holder.address.as_ref() {
            address.do_send(Deliver(jobs));
        }
    }
}

/// Keeps the runner of one Processor: what it tells goes to the Fetcher and to the Supervisor.
pub(crate) struct Station {
    pub(crate) shared: Arc<Shared>,
    pub(crate) place: Arc<Place>,
    pub(crate) up: Arc<AtomicBool>,
    pub(crate) reports: Reports,
}

impl Keeper for Station {
    fn up(&self, up: bool) {
        self.up.store(up, Ordering::Release);
        if up {
            self.shared.nudge();
        }
    }

    fn dying(&self) {
        if let Some(ward) = self.shared.wards.get(&self.place.kind) {
            ward.dying();
        }
    }

    fn exited(&self, exit: Exit, why: &str) -> oneshot::Receiver<()> {
        let (again, made) = oneshot::channel();
        let mut holder = self.place.holder();
        // Of one that was replaced nobody needs to know.
        if Arc::ptr_eq(&holder.up, &self.up) {
            holder.again = Some(again);
            let Reports { exits, term } = &self.reports;
            let (who, why) = (Who::Replica(self.place.number), why.to_owned());
            let _ = exits.send(Exited { who, term: *term, exit, why });
        }
        made
    }

    fn lingers(&self, context: &TaskContext, silent: Duration) -> Box<dyn Any> {
        let counted = self.shared.vitals.linger();
        let (id, kind) = (context.id(), context.kind().clone());
        self.shared.tell(Event::Lingering { id, kind, silent });
        Box::new(counted)
    }
}
