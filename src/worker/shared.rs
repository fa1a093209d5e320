//! What the actors of one worker share. It outlives every incarnation of every actor.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, RwLock, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::broker::{Operate, Wake};
use crate::error::Result;
use crate::event::{Event, Listener};
use crate::failpoint::Planned;
use crate::handler::{Around, DataMap, Route, Routes};
use crate::outcome::Decision;
use crate::queue::{Kind, KindHash, QueueName};
use crate::seal::Sealer;

use super::config::{Config, POLL};
use super::health::Vitals;
use super::hooks::Hooks;
use super::lane::LaneState;
use super::place::Place;
use super::slots::Slots;
use super::turn::Turns;
use super::ward::Ward;

/// What was done so far.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) completed: AtomicU64,
    pub(crate) retried: AtomicU64,
    pub(crate) archived: AtomicU64,
    pub(crate) released: AtomicU64,
    pub(crate) restarts: AtomicU64,
}

impl Counts {
    /// So it was decided, and so it is written.
    pub(crate) fn decided(&self, decision: Decision) {
        let counter = match decision {
            Decision::Complete(_) => &self.completed,
            Decision::Retry(_) => &self.retried,
            Decision::Archive(_) => &self.archived,
            Decision::Release { .. } => &self.released,
            Decision::Snooze(_) | Decision::Drop => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// The common ground of a worker's actors.
pub(crate) struct Shared {
    pub(crate) broker: Arc<dyn Operate>,
    pub(crate) sealer: Sealer,
    pub(crate) config: Config,
    pub(crate) routes: Routes,
    pub(crate) data: Arc<DataMap>,
    pub(crate) lanes: Vec<LaneState>,
    /// The one slot for tasks that must run alone.
    pub(crate) alone: Arc<Slots>,
    /// Whoever claims for others holds it shared, whoever runs alone holds it alone.
    pub(crate) company: Arc<RwLock<()>>,
    pub(crate) places: HashMap<KindHash, Vec<Arc<Place>>>,
    /// How each kind stands.
    pub(crate) wards: HashMap<KindHash, Arc<Ward>>,
    pub(crate) vitals: Arc<Vitals>,
    pub(crate) turns: Turns,
    pub(crate) threads: Arc<Semaphore>,
    /// Claim nothing more.
    pub(crate) quiet: CancellationToken,
    /// End every run now; its task goes back.
    pub(crate) cut: CancellationToken,
    /// Told after every batch of settlements.
    pub(crate) idle: Notify,
    pub(crate) events: Option<Listener>,
    /// What every run is wrapped in, outermost first.
    pub(crate) around: Arc<[Around]>,
    pub(crate) hooks: Hooks,
    /// Stands in for the kind of a record whose header does not decode.
    pub(crate) unnamed: Kind,
    pub(crate) planned: Planned,
    pub(crate) counts: Counts,
}

impl Shared {
    /// Whether somebody listens to what comes once per task.
    pub(crate) fn is_heard(&self) -> bool {
        self.events.is_some() || tracing::enabled!(tracing::Level::TRACE)
    }

    /// Tells what comes once per task: it is not even made if nobody listens.
    pub(crate) fn tell_if_heard(&self, event: impl FnOnce() -> Event) {
        if self.is_heard() {
            self.tell(event());
        }
    }

    /// Tells the world. A panic in a listener is the listener's own.
    pub(crate) fn tell(&self, event: Event) {
        self.vitals.note(&event);
        match &event {
            Event::BrokerFailed { verb, error } => tracing::warn!(verb, error, "broker failed"),
            Event::Restarted { who, why } => tracing::error!(who, why, "actor restarted"),
            Event::Stuck { thread, silent } => {
                tracing::error!(thread, ?silent, "a handler blocks its thread; use `blocking`");
            }
            Event::Replaced { thread, lost, released, lingering } => {
                tracing::error!(thread, lost, released, lingering, "stuck thread replaced");
            }
            Event::MemoryExceeded { bytes, most } => {
                tracing::error!(bytes, most, "more memory is in use than may be");
            }
            Event::Lingering { id, kind, silent } => {
                tracing::error!(%id, %kind, ?silent, "a run that was told to stop goes on");
            }
            Event::LeaseLost { id } => {
                tracing::warn!(%id, "a run ended without its lease: what it did is not settled");
            }
            Event::Reclaimed { id, decision } => {
                tracing::warn!(%id, ?decision, "taken over from a worker that is gone");
            }
            Event::Quarantined { kind, probe_after, why } => {
                tracing::error!(%kind, ?probe_after, why, "quarantined");
            }
            Event::Stopped { kind, why } => tracing::error!(%kind, why, "no longer served"),
            Event::EntryRefused { queue, entry, why } => {
                tracing::error!(%queue, entry, why, "an entry of the timetable cannot be used");
            }
            Event::EntryChanged { queue, entry } => {
                tracing::info!(%queue, entry, "an entry of the timetable was changed");
            }
            Event::TickSkipped { queue, entry, at, why } => {
                tracing::warn!(%queue, entry, %at, ?why, "ticks were passed over");
            }
            Event::Probing { kind } => tracing::info!(%kind, "probing"),
            Event::Recovered { kind } => tracing::info!(%kind, "recovered"),
            Event::LimitsLacking { kind, lacks } => {
                tracing::warn!(%kind, ?lacks, "this system cannot enforce all limits of a handler");
            }
            other => tracing::trace!(event = ?other, "event"),
        }
        if let Some(listener) = &self.events {
            let told = std::panic::AssertUnwindSafe(|| listener(&event));
            if let Err(panic) = std::panic::catch_unwind(told) {
                // Taken apart before the macro, which looks at nothing where nobody listens.
                let panic = crate::panic::text(panic);
                tracing::error!(panic, "an event listener panicked");
            }
        }
    }

    pub(crate) fn restarted(&self, who: String, why: &str) {
        self.counts.restarts.fetch_add(1, Ordering::Relaxed);
        self.tell(Event::Restarted { who, why: why.to_owned() });
    }

    /// The task of a probe was answered: its kind is served again.
    pub(crate) fn recovered(&self, kind: KindHash) {
        if let Some(ward) = self.wards.get(&kind) {
            self.tell(Event::Recovered { kind: ward.kind.clone() });
            self.nudge();
        }
    }

    /// There may be room where there was none: a Fetcher that found nobody up waits for room, not for tasks.
    pub(crate) fn nudge(&self) {
        self.lanes.iter().for_each(|lane| lane.slots.nudge());
        self.alone.nudge();
    }

    /// Every queue of every lane, once.
    pub(crate) fn queues(&self) -> Vec<QueueName> {
        let lanes = self.lanes.iter().map(LaneState::queues);
        let mut queues: Vec<_> = lanes
            .flat_map(|lane| lane.iter().map(|(queue, _)| queue.clone()).collect::<Vec<_>>())
            .collect();
        queues.sort();
        queues.dedup();
        queues
    }

    /// How many runs of a kind there may be at once.
    pub(crate) fn room(&self, route: &Route) -> usize {
        let lanes = self.lanes.iter().filter(|lane| lane.serves(route.queue.as_str()));
        let slots = lanes.map(|lane| lane.slots.total()).sum();
        route.concurrency.map_or(slots, |most| most.min(slots))
    }

    /// How long what runs this kind may not turn, or not answer.
    pub(crate) fn patience(&self, kind: KindHash) -> Duration {
        let own = self.routes.get(kind).and_then(|route| route.stuck_after);
        own.unwrap_or(self.config.stuck_after)
    }

    /// Whether queues are to be looked for.
    pub(crate) fn has_patterns(&self) -> bool {
        self.lanes.iter().any(LaneState::has_patterns)
    }

    /// Takes up the queues that came since; each belongs to the first lane that serves it.
    pub(crate) async fn look_for_queues(&self) -> Result<()> {
        let mut there = self.broker.queues().await?;
        for lane in &self.lanes {
            lane.look(&there);
            there.retain(|queue| !lane.serves(queue.as_str()));
        }
        Ok(())
    }

    /// Ends when something of this sort happened since the mark; a second later if the broker cannot say.
    pub(crate) async fn woken(&self, wake: Wake, mark: Option<u64>) {
        let woken = match mark {
            Some(mark) => self.broker.wait(wake, Some(mark)).await.is_ok(),
            None => false,
        };
        if !woken {
            tokio::time::sleep(POLL).await;
        }
    }

    /// Ends when no task is in our hands.
    pub(crate) async fn drained(&self) {
        while self.turns.held() > 0 {
            // The poll covers a turn that is lost, which settles nothing.
            let _ = tokio::time::timeout(Duration::from_millis(50), self.idle.notified()).await;
        }
    }

    /// A place where tests plan a panic.
    pub(crate) fn fail_point(&self, place: &'static str) {
        self.planned.pass(place);
    }
}
