//! How a worker makes itself known to operators, and does what they order.
//!
//! Nothing hangs on it: a broker that forgets a presence is told again by the next beat, and an order stands until
//! the worker is gone.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::broker::{About, Beat, Orders, Presence, WorkerId};
use crate::clock::{Clock, SystemClock, Timestamp, boottime};
use crate::queue::Kind;
use crate::task::TaskId;

use super::config::jittered;
use super::{By, Life, Order, Shared};

/// Most reasons told of what ails it.
const REASONS_MAX: usize = 20;
/// How often it is looked whether its life or health changed.
const CHANGES_APART: Duration = Duration::from_millis(250);
/// A worker counts as there for so many beats after its last one.
const BEATS_MISSED: u32 = 4;

/// What an operator sees of a worker.
pub(crate) struct Card {
    pub(crate) worker: WorkerId,
    started: Timestamp,
    life: watch::Receiver<Life>,
    orders: mpsc::UnboundedSender<Order>,
    /// Whether it took its leave: a beat that comes later does not bring it back.
    gone: AtomicBool,
    /// How often each handler was to be started anew when last heard; at most as many as a worker is told.
    restarts: Mutex<HashMap<Kind, u64>>,
}

impl Card {
    pub(crate) fn new(
        worker: WorkerId,
        life: watch::Receiver<Life>,
        orders: mpsc::UnboundedSender<Order>,
    ) -> Self {
        let started = SystemClock.now();
        let (gone, restarts) = Default::default();
        Self { worker, started, life, orders, gone, restarts }
    }

    /// As it is now.
    fn presence(&self, shared: &Shared) -> Presence {
        let names = |kind: &Kind| kind.to_string();
        let mut kinds: Vec<_> = shared.routes.iter().map(|route| names(&route.kind)).collect();
        kinds.sort();
        let health = shared.vitals.health(false);
        let about = About {
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: self.started.0,
            life: self.life.borrow().to_string(),
            queues: shared.queues().iter().map(ToString::to_string).collect(),
            kinds,
            slots: shared.lanes.iter().map(|lane| lane.slots.total()).sum(),
            running: shared.turns.held(),
            health: health.as_str().to_owned(),
            reasons: health.reasons().iter().take(REASONS_MAX).map(ToString::to_string).collect(),
        };
        Presence { worker: self.worker, about, lasts: shared.config.beat() * BEATS_MISSED }
    }

    /// It is gone.
    pub(crate) async fn remove(&self, shared: &Shared) {
        self.gone.store(true, Ordering::Release);
        let presence = Presence { lasts: Duration::from_millis(1), ..self.presence(shared) };
        let beat =
            Beat { sessions: Vec::new(), lease: shared.config.lease, presence: Some(presence) };
        if let Err(error) = shared.broker.beat(beat).await {
            tracing::debug!(%error, "the presence of this worker ends by itself");
        }
    }
}

/// What one incarnation of the Heartbeater knows of presence and orders.
pub(crate) struct Bell {
    card: Arc<Card>,
    shown: Option<Duration>,
    apart: Duration,
    /// What it said of itself then.
    said: Option<(Life, &'static str)>,
}

impl Bell {
    pub(crate) fn new(card: Arc<Card>) -> Self {
        Self { card, shown: None, apart: Duration::ZERO, said: None }
    }

    /// The presence, if it is time to show it.
    pub(crate) fn due(&mut self, shared: &Shared) -> Option<Presence> {
        let now = boottime();
        if self.card.gone.load(Ordering::Acquire) {
            return None;
        }
        if self.shown.is_some_and(|shown| now < shown + self.apart) && !self.is_stale(shared) {
            return None;
        }
        (self.shown, self.apart) = (Some(now), jittered(shared.config.beat()));
        self.said = Some(self.says(shared));
        Some(self.card.presence(shared))
    }

    fn says(&self, shared: &Shared) -> (Life, &'static str) {
        (*self.card.life.borrow(), shared.vitals.health(false).as_str())
    }

    /// Whether operators see what is no longer so.
    fn is_stale(&self, shared: &Shared) -> bool {
        self.said.is_some_and(|said| said != self.says(shared))
    }

    /// Ends once they do, a little later: what changes together is told together.
    pub(crate) async fn stale(&self, shared: &Shared) {
        loop {
            tokio::time::sleep(CHANGES_APART).await;
            if self.is_stale(shared) {
                return;
            }
        }
    }

    /// There may be orders.
    pub(crate) fn ring(&mut self) {
        self.shown = None;
    }

    /// Does what it is told; answers whether all of it could be done.
    pub(crate) fn obey(&self, orders: &Orders, shared: &Shared) -> bool {
        let turns = shared.turns.current();
        // A claim may still be on its way here.
        let missing = |id: &&TaskId| !turns.iter().any(|turn| turn.cancel(**id));
        let missing = orders.cancel.iter().filter(missing).count();
        if orders.stop {
            self.tell(Life::Draining, Order::Shutdown(By::Other));
        } else if orders.quiet {
            self.tell(Life::Quiet, Order::Quiet);
        }
        let mut known = self.card.restarts.lock().unwrap_or_else(PoisonError::into_inner);
        for (kind, times) in &orders.restart {
            if known.insert(kind.clone(), *times).unwrap_or(0) < *times {
                let _ = self.card.orders.send(Order::Restart(kind.clone()));
            }
        }
        missing == 0
    }

    /// Orders the next step of its life, unless it was done; maybe again before it is.
    fn tell(&self, life: Life, order: Order) {
        if *self.card.life.borrow() < life {
            tracing::info!(%life, "an operator ordered it");
            // Without a receiver the worker is over.
            let _ = self.card.orders.send(order);
        }
    }
}
