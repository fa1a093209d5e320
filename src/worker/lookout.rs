//! The lookout: finds threads that do not turn, and memory beyond its limit. It lives with the Heartbeater.
//!
//! It reports what it finds, and stops the beats when the control thread is silent: what cannot be settled any more is
//! better left to other workers. What else follows is the tree's business.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use crate::clock::boottime;
use crate::event::Event;

use super::config::POLL;
use super::echo::Echo;
use super::memory;
use super::threads::Threads;
use super::{By, Order, Shared};

/// How often threads are asked for an echo within the shortest patience with one.
const LOOKS: u32 = 8;
/// One look adds at most this part of that patience to a silence, however long ago the look before it was.
const LOOKS_MIN: u32 = 4;

pub(super) struct Lookout {
    shared: Arc<Shared>,
    threads: Arc<Threads>,
    orders: UnboundedSender<Order>,
    /// The shortest patience with a thread.
    shortest: Duration,
    /// Whether the worker was told to end for what was found.
    ending: bool,
}

impl Lookout {
    pub(super) fn new(
        shared: Arc<Shared>,
        threads: Arc<Threads>,
        orders: UnboundedSender<Order>,
    ) -> Self {
        let own = shared.routes.iter().filter_map(|route| route.stuck_after);
        let shortest = own.fold(shared.config.stuck_after, Duration::min);
        Self { shared, threads, orders, shortest, ending: false }
    }

    /// Looks again and again, for as long as it lives.
    pub(super) async fn keep(mut self) {
        let orders = self.orders.clone();
        let mut control = Echo::new(move |errand| drop(orders.send(Order::Run(errand))));
        loop {
            let (now, look_max) = (boottime(), self.shortest / LOOKS_MIN);
            for stuck in self.threads.probe(now, look_max, |number| self.patience_with(number)) {
                let _ = self.orders.send(Order::GiveUp(stuck));
            }
            self.listen(control.probe(now, look_max));
            self.count();
            self.weigh();
            tokio::time::sleep((self.shortest / LOOKS).min(POLL)).await;
        }
    }

    /// For how long the thread of this number may be silent: nobody can tell which of the runs on it blocks it.
    fn patience_with(&self, number: usize) -> Duration {
        let turns = self.shared.turns.all();
        let kinds = turns.iter().flat_map(|turn| turn.running_on(number));
        let patience = kinds.map(|kind| self.shared.patience(kind)).max();
        patience.unwrap_or(self.shared.config.stuck_after)
    }

    /// The control thread has been silent for so long.
    fn listen(&self, silent: Duration) {
        let is_silent = silent >= self.shared.config.stuck_after;
        match (self.shared.vitals.is_silent(is_silent), is_silent) {
            (false, _) => {}
            (true, true) => tracing::error!(
                ?silent,
                "the worker's own thread does not turn: a hook or a listener blocks; beats stop, and its tasks are left to \
                 other workers"
            ),
            (true, false) => tracing::warn!("the worker's own thread turns again; beats go on"),
        }
    }

    /// Looks at how many threads are taken by runs that were given up: of blocking handlers nobody else is told.
    fn count(&mut self) {
        if let Some(failure) = self.shared.vitals.too_many_linger().filter(|_| !self.ending) {
            self.end(failure);
        }
    }

    /// Looks at the memory in use, if there is a limit.
    fn weigh(&mut self) {
        let Some(most) = self.shared.config.memory_max.filter(|_| !self.ending) else { return };
        let Some(bytes) = memory::resident().filter(|bytes| *bytes > most) else { return };
        let shared = self.shared.clone();
        let tell = move || shared.tell(Event::MemoryExceeded { bytes, most });
        let _ = self.orders.send(Order::Run(Box::new(tell)));
        self.end(format!("{bytes} bytes of memory are in use, {most} may be"));
    }

    /// The worker drains and ends with a failure.
    fn end(&mut self, failure: String) {
        self.ending = true;
        tracing::error!(failure, "the worker shuts down");
        let _ = self.orders.send(Order::Shutdown(By::Failure(failure)));
    }
}
