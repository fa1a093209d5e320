//! A job: a claim on its way through the worker, with the slot it takes.
//!
//! However it ends, it says so: a job that is dropped unfinished (its mailbox closed, its arbiter gone)
//! hands its task back at no cost.

use std::sync::Arc;
use std::time::Duration;

use crate::broker::{Claim, Lane, Order, Settlement};
use crate::outcome::Decision;
use crate::queue::{Kind, QueueName};

use super::settle::Finished;
use super::slots::Slot;
use super::turn::{Held, Turn};

/// A claimed task, ours to run.
pub(crate) struct Job {
    pub(crate) claim: Claim,
    pub(crate) held: Held,
    turn: Arc<Turn>,
    slot: Option<Arc<Slot>>,
}

impl Job {
    /// A claim in our hands.
    pub(crate) fn new(claim: Claim, held: Held, turn: Arc<Turn>, slot: Slot) -> Self {
        Self { claim, held, turn, slot: Some(Arc::new(slot)) }
    }

    /// The slot, for whatever goes on running after the run is given up.
    pub(crate) fn slot(&self) -> Option<Arc<dyn std::any::Any + Send + Sync>> {
        self.slot.clone().map(|slot| slot as _)
    }

    /// The queue it was claimed from.
    pub(crate) fn queue(&self) -> &QueueName {
        &self.turn.session.queue
    }

    /// Whether our lease is good: no run starts without.
    pub(crate) fn is_good(&self) -> bool {
        self.turn.is_good()
    }

    /// The run ended: settle it so.
    pub(crate) fn finish(
        mut self: Box<Self>,
        settlement: Settlement,
        decision: Decision,
        kind: Kind,
        class: Option<String>,
        ran: Duration,
    ) {
        self.end(settlement, decision, Some((kind, class, ran)));
    }

    fn end(
        &mut self,
        settlement: Settlement,
        decision: Decision,
        run: Option<(Kind, Option<String>, Duration)>,
    ) {
        let Some(slot) = self.slot.take() else { return };
        let (turn, seat) = (self.turn.clone(), self.held.seat);
        let finished = Finished { turn, seat, settlement, decision, run, _slot: slot };
        self.turn.settle.send(finished);
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if self.slot.is_none() {
            return;
        }
        let alone = self.claim.trail.alone;
        let lane = if alone { Lane::Alone } else { Lane::Shared };
        let release = Settlement::new(self.claim.ticket, Order::Release { lane });
        self.end(release, Decision::Release { alone }, None);
    }
}
