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
    /// The number of its term.
    term: Option<u64>,
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

    /// The Processor of this term is to move in. What its predecessors say is of no account from now on.
    pub(crate) fn expect(&self, term: u64) {
        *self.holder() = Holder { term: Some(term), ..Holder::default() };
    }

    /// The Processor of this term moves in; on a thread that was stuck one may come too late.
    pub(crate) fn occupy(
        &self,
        term: u64,
        address: Addr<Processor>,
        up: Arc<AtomicBool>,
        thread: usize,
    ) {
        let mut holder = self.holder();
        if holder.term == Some(term) {
            self.thread.store(thread, Ordering::Release);
            *holder = Holder { term: Some(term), address: Some(address), up, again: None };
        }
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

impl Station {
    fn holds(&self, holder: &Holder) -> bool {
        holder.term == Some(self.reports.term)
    }
}

impl Keeper for Station {
    fn up(&self, up: bool) {
        self.up.store(up, Ordering::Release);
        if up {
            self.shared.nudge();
        }
    }

    fn dying(&self) {
        let holder = self.place.holder();
        // Of one that is replaced no exit follows, and nobody is to wait for it.
        if self.holds(&holder)
            && let Some(ward) = self.shared.wards.get(&self.place.kind)
        {
            ward.dying();
        }
    }

    fn exited(&self, exit: Exit, why: &str) -> oneshot::Receiver<()> {
        let (again, made) = oneshot::channel();
        let mut holder = self.place.holder();
        // Of one that was replaced nobody needs to know.
        if self.holds(&holder) {
            holder.again = Some(again);
            let Reports { exits, term } = &self.reports;
            let (who, why) = (Who::Replica(self.place.number), why.to_owned());
            let _ = exits.send(Exited { who, term: *term, exit, why });
        }
        made
    }

    fn lingers(&self, context: &TaskContext, silent: Duration) -> Box<dyn Any> {
        let counted = self.shared.vitals.linger();
        // The others that were to follow it in its slot go back: they may wait for ever.
        context.run().piece.iter().for_each(|piece| piece.disband());
        let (id, kind) = (context.id(), context.kind().clone());
        self.shared.tell(Event::Lingering { id, kind, silent });
        Box::new(counted)
    }
}

#[cfg(test)]
mod tests {
    use actix::{AsyncContext, Context};

    use super::*;

    #[test]
    fn who_comes_too_late_does_not_turn_out_who_is_there() {
        let place = Place::new(KindHash::of("a"), 0);
        let contexts = [(); 2].map(|()| Context::<Processor>::new());
        let occupy = |term: u64, context: &Context<Processor>| {
            place.occupy(term, context.address(), Arc::new(true.into()), 7);
        };
        place.expect(1);
        assert!(!place.is_up(), "nobody is there yet");
        place.expect(2);
        occupy(2, &contexts[0]);
        assert!(place.is_up());
        occupy(1, &contexts[1]);
        let [there, late] = contexts;
        drop(late);
        assert!(place.is_up(), "it is the second's");
        drop(there);
        assert!(!place.is_up());
        place.vacate();
        place.expect(3);
        place.vacate();
        let context = Context::<Processor>::new();
        occupy(3, &context);
        assert!(!place.is_up(), "it is expected no more");
    }
}
