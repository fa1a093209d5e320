//! A turn: one session of this worker at one queue, the claims it holds, and its settle lane.
//!
//! A turn ends in one of two ways: retired (it claims nothing more and settles what it holds) or lost (its
//! claims belong to somebody else). Time here counts suspension (`CLOCK_BOOTTIME`): a process that was
//! stopped or a machine that slept must not believe in a lease that ran out meanwhile.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::broker::{Broker, Claim, Session, Ticket};
use crate::clock::boottime;
use crate::handler::Stop;
use crate::panic;
use crate::queue::{KindHash, QueueName};
use crate::task::{TaskId, Trail};

use super::config::BACKOFF;
use super::settle::{Lane, LaneEnd};
use super::slots::Slot;
use super::ward::Pass;

/// One session of this worker.
pub(crate) struct Turn {
    pub(crate) session: Session,
    held: Mutex<Seats>,
    /// Until when the lease is good, in ms of [`boottime`].
    good_until: AtomicU64,
    /// Whether the broker knows the session: it answered a dequeue, with claims or without.
    opened: AtomicBool,
    retired: AtomicBool,
    /// Whether retiring it is over: the broker answered, or was given up.
    closed: AtomicBool,
    lost: AtomicBool,
    pub(super) settle: Arc<Lane>,
}

/// The tasks in our hands, each in a seat of its own: whoever takes it up gives it back by number. As many as
/// there were at once; bounded by the slots.
#[derive(Default)]
struct Seats {
    seats: Vec<Option<InHand>>,
    empty: Vec<usize>,
}

/// What is known of a task in our hands wherever its job is: enough to settle it without.
pub(crate) struct InHand {
    pub(crate) ticket: Ticket,
    /// None if nothing happened to it yet.
    pub(crate) trail: Option<Box<Trail>>,
    /// The number of the thread it is on.
    pub(crate) thread: usize,
    pub(crate) slot: Weak<Slot>,
    /// The number of the probe it is of its kind, if it is one.
    pub(crate) probe: Option<u64>,
    pub(crate) stop: Arc<Stop>,
}

impl InHand {
    pub(crate) fn new(claim: &Claim, thread: usize, slot: &Arc<Slot>, pass: Option<&Pass>) -> Self {
        let trail = Some(&claim.trail).filter(|trail| !trail.is_empty());
        let trail = trail.map(|trail| Box::new(trail.clone()));
        let (slot, stop) = (Arc::downgrade(slot), Arc::default());
        let probe = pass.and_then(Pass::probe);
        Self { ticket: claim.ticket, trail, thread, slot, probe, stop }
    }
}

impl Seats {
    fn taken(&self) -> impl Iterator<Item = &InHand> {
        self.seats.iter().flatten()
    }

    fn len(&self) -> usize {
        self.seats.len() - self.empty.len()
    }
}

/// One task in our hands.
pub(crate) struct Held {
    /// Its seat.
    pub(crate) seat: usize,
    /// What its run is told.
    pub(crate) stop: Arc<Stop>,
}

impl Turn {
    /// A fresh session, and the end of its settle lane.
    pub(crate) fn open(queue: QueueName) -> (Arc<Self>, LaneEnd) {
        let settle = Arc::<Lane>::default();
        let end = LaneEnd(settle.clone());
        let turn = Self {
            session: Session::fresh(queue),
            held: Mutex::default(),
            good_until: AtomicU64::new(0),
            opened: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            settle,
        };
        (Arc::new(turn), end)
    }

    fn held(&self) -> MutexGuard<'_, Seats> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These tasks are in our hands from now on.
    pub(crate) fn hold(&self, tasks: impl IntoIterator<Item = InHand>) -> Vec<Held> {
        let mut held = self.held();
        let hold = |task: InHand| {
            let stop = task.stop.clone();
            let seat = match held.empty.pop() {
                Some(seat) => seat,
                None => {
                    held.seats.push(None);
                    held.seats.len() - 1
                }
            };
            held.seats[seat] = Some(task);
            Held { seat, stop }
        };
        tasks.into_iter().map(hold).collect()
    }

    /// Ends the claims on this thread in place of their runs, which are given up: `conclude` says of each, by its
    /// seat, how it is settled. What ended by itself meanwhile is left as it is.
    pub(crate) fn give_up<V>(
        &self,
        thread: usize,
        mut conclude: impl FnMut(usize, &InHand) -> V,
    ) -> Vec<V> {
        let held = self.held();
        let on_it = |(seat, task): (usize, &Option<InHand>)| {
            let task = task.as_ref().filter(|task| task.thread == thread && task.stop.end())?;
            let concluded = conclude(seat, task);
            task.stop.lose();
            Some(concluded)
        };
        held.seats.iter().enumerate().filter_map(on_it).collect()
    }

    /// The kinds of the runs that began on this thread and were not given up.
    pub(crate) fn running_on(&self, thread: usize) -> Vec<KindHash> {
        let held = self.held();
        let on_it = |task: &&InHand| task.thread == thread && task.stop.is_running();
        held.taken().filter(on_it).map(|task| task.ticket.kind).collect()
    }

    /// The tasks in these seats are no longer in our hands.
    pub(crate) fn forget(&self, seats: impl IntoIterator<Item = usize>) {
        let mut held = self.held();
        for seat in seats {
            held.seats[seat] = None;
            held.empty.push(seat);
        }
    }

    /// What it holds.
    pub(crate) fn known(&self) -> Vec<TaskId> {
        self.held().taken().map(|task| task.ticket.id).collect()
    }

    /// How many tasks it holds.
    pub(crate) fn len(&self) -> usize {
        self.held().len()
    }

    /// Asks every run to stop.
    pub(crate) fn cancel_all(&self) {
        self.held().taken().for_each(|task| task.stop.ask());
    }

    /// Asks every run of this kind to stop.
    pub(crate) fn cancel_kind(&self, kind: KindHash) {
        let held = self.held();
        held.taken().filter(|task| task.ticket.kind == kind).for_each(|task| task.stop.ask());
    }

    /// This task is cancelled; answers whether it is in its hands.
    pub(crate) fn cancel(&self, id: TaskId) -> bool {
        let held = self.held();
        let found = held.taken().find(|held| held.ticket.id == id);
        found.inspect(|held| held.stop.cancel()).is_some()
    }

    /// The broker extended the lease by a call that was made at `asked`.
    pub(crate) fn extend(&self, asked: Duration, lease: Duration) {
        self.opened.store(true, Ordering::Release);
        let until = u64::try_from((asked + lease).as_millis()).unwrap_or(u64::MAX);
        self.good_until.fetch_max(until, Ordering::AcqRel);
    }

    /// Whether the lease is good, as far as is known here.
    pub(crate) fn is_good(&self) -> bool {
        let until = Duration::from_millis(self.good_until.load(Ordering::Acquire));
        !self.is_lost() && boottime() < until
    }

    pub(crate) fn is_open(&self) -> bool {
        self.opened.load(Ordering::Acquire)
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Its claims belong to somebody else: every run is told, nothing is settled any more.
    pub(crate) fn lose(&self) {
        self.lost.store(true, Ordering::Release);
        self.retired.store(true, Ordering::Release);
        self.held().taken().for_each(|task| task.stop.lose());
    }

    /// Closes the session to claims; what the broker holds for it and nobody here knows of goes back at no
    /// cost. Repeats until the broker answers, or the lease is over and reclaim does the same.
    pub(crate) async fn retire(self: Arc<Self>, broker: Arc<dyn Broker>, lease: Duration) {
        if self.retired.swap(true, Ordering::AcqRel) {
            return;
        }
        let (deadline, mut wait) = (boottime() + lease, BACKOFF.0);
        while boottime() < deadline && !self.is_lost() {
            match panic::catch(|| broker.retire(self.session.clone(), self.known())).await {
                Ok(Ok(_)) => break,
                Ok(Err(error)) if error.is_fenced() => return self.lose(),
                Ok(Err(error)) => tracing::warn!(%error, "retire failed, repeated"),
                Err(panic) => tracing::error!(panic, "retire panicked, repeated"),
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(BACKOFF.1);
        }
        self.closed.store(true, Ordering::Release);
    }

    /// Whether nothing more is to be done for it. One that is still being retired may hold claims nobody here
    /// knows of: without beats they would count as crashed.
    fn is_over(&self) -> bool {
        (self.is_lost() || self.closed.load(Ordering::Acquire)) && self.len() == 0
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.settle.close();
    }
}

/// The turns of a worker.
#[derive(Default)]
pub(crate) struct Turns(Mutex<Vec<Arc<Turn>>>);

impl Turns {
    fn list(&self) -> MutexGuard<'_, Vec<Arc<Turn>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, turn: Arc<Turn>) {
        self.list().push(turn);
    }

    /// Those that are not over, be they lost; those that are get dropped.
    pub(crate) fn all(&self) -> Vec<Arc<Turn>> {
        let mut list = self.list();
        list.retain(|turn| !turn.is_over());
        list.clone()
    }

    /// Those that are neither over nor lost.
    pub(crate) fn current(&self) -> Vec<Arc<Turn>> {
        let mut turns = self.all();
        turns.retain(|turn| !turn.is_lost());
        turns
    }

    /// How many tasks are in our hands.
    pub(crate) fn held(&self) -> usize {
        self.list().iter().filter(|turn| !turn.is_lost()).map(|turn| turn.len()).sum()
    }
}
