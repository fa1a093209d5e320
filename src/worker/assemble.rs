//! What a worker was told, checked as a whole and put together: places, slots, wards, and what its actors share.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::handler::Route;
use crate::queue::Kind;

use super::builder::Builder;
use super::config::{LEASE_MAX, LEASE_MIN, Lane};
use super::health::Vitals;
use super::lane::LaneState;
use super::memory;
use super::place::Place;
use super::shared::Shared;
use super::slots::{Limits, Slots};
use super::ward::Ward;

/// Shortest patience with a thread: a busy machine may keep one waiting so long.
const STUCK_AFTER_MIN: Duration = Duration::from_millis(10);

/// The Processors of a worker: on which arbiter, for which place.
pub(super) type Processors = Vec<(usize, Arc<Place>)>;

impl Builder {
    pub(super) fn assemble(self) -> Result<(Arc<Shared>, Processors)> {
        let routes = self.routes?;
        if routes.is_empty() {
            return Err(Error::invalid("the worker has no handlers; add one with `.handle(..)`"));
        }
        let config = self.config;
        if !(LEASE_MIN..=LEASE_MAX).contains(&config.lease) {
            let lease = config.lease;
            return Err(Error::invalid(format!(
                "a lease of {lease:?}; use {LEASE_MIN:?} to {LEASE_MAX:?}"
            )));
        }
        config.policy.check_root()?;
        let own = routes.iter().filter_map(|route| route.stuck_after);
        for after in own.chain([config.stuck_after]) {
            if !(STUCK_AFTER_MIN..=LEASE_MAX).contains(&after) {
                return Err(Error::invalid(format!(
                    "stuck after {after:?}; use {STUCK_AFTER_MIN:?} to {LEASE_MAX:?}"
                )));
            }
        }
        if config.memory_max.is_some() && memory::resident().is_none() {
            return Err(Error::invalid(
                "this system does not say how much memory is in use; leave `memory_max` out",
            ));
        }
        for (count, what) in [(config.arbiters, "threads"), (config.blocking, "blocking threads")] {
            if !(1..=1024).contains(&count) {
                return Err(Error::invalid(format!("{count} {what}; use 1 to 1024")));
            }
        }
        let mut places: HashMap<_, Vec<Arc<Place>>> = HashMap::new();
        let mut processors = Vec::new();
        let mut next = 0;
        for route in routes.iter() {
            route.factory.check(&self.data)?;
            for _ in 0..route.replicas.unwrap_or(config.arbiters) {
                let place = Arc::new(Place::new(route.kind.hash(), next));
                places.entry(route.kind.hash()).or_default().push(place.clone());
                processors.push((next % config.arbiters, place));
                next += 1;
            }
        }
        let limits = routes.iter().filter_map(|route| {
            let replicas = route.replicas.map(|replicas| replicas.saturating_mul(route.concurrent));
            // A task that is claimed and waits for a thread would count as crashed when the worker is killed.
            let threads = route.factory.takes_a_thread().then_some(config.blocking);
            let limit = [route.concurrency, replicas, threads].into_iter().flatten().min();
            Some((route.kind.hash(), limit?))
        });
        let limits = Limits::new(limits);
        let mut lanes = self.lanes;
        if lanes.is_empty() {
            let mut queues: Vec<_> = routes.iter().map(|r| (r.queue.as_str(), 1)).collect();
            queues.sort();
            queues.dedup();
            lanes.push(Lane::weighted(queues));
        }
        let lanes = lanes.iter().map(|lane| {
            let slots = Slots::new(lane.concurrency, limits.clone());
            Ok(LaneState::new(lane.parse()?, lane.strict, slots))
        });
        let lanes: Vec<_> = lanes.collect::<Result<_>>()?;
        for route in routes.iter() {
            if !lanes.iter().any(|lane: &LaneState| lane.serves(route.queue.as_str())) {
                let (kind, queue) = (&route.kind, &route.queue);
                tracing::warn!(%kind, %queue, "no lane names the queue of this kind: what is enqueued there waits");
            }
        }
        let cut = CancellationToken::new();
        let ward = |route: &Route| {
            let ward = Ward::new(route.kind.clone(), route.supervision, cut.child_token());
            (route.kind.hash(), ward)
        };
        let wards: HashMap<_, _> = routes.iter().map(ward).collect();
        let stuck_max = config.stuck_max.unwrap_or(2 * config.arbiters);
        let shared = Shared {
            broker: self.broker,
            sealer: self.sealer,
            lanes,
            alone: Slots::new(1, limits.clone()),
            company: Arc::default(),
            places,
            vitals: Vitals::new(wards.clone(), stuck_max),
            wards,
            turns: Default::default(),
            threads: Arc::new(Semaphore::new(config.blocking)),
            config,
            routes,
            data: Arc::new(self.data),
            quiet: CancellationToken::new(),
            cut,
            idle: Notify::new(),
            events: self.events,
            around: self.around.into(),
            hooks: self.hooks,
            unnamed: Kind::parse("unreadable")?,
            planned: self.planned,
            counts: Default::default(),
        };
        Ok((Arc::new(shared), processors))
    }
}
