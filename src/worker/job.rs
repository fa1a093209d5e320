//! A job: a claim on its way through the worker, with the slot it takes.
//!
//! However it ends, it says so: a job that is dropped unfinished (its mailbox closed, its arbiter gone)
//! hands its task back at no cost.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use crate::broker::{Claim, Lane, Order, Session, Settlement};
use crate::handler::{Member, Piece};
use crate::outcome::{Decision, runs_alone};
use crate::queue::{Kind, QueueName};
use crate::task::Trail;

use super::config::chance;
use super::hooks::Failed;
use super::settle::Finished;
use super::slots::Slot;
use super::turn::{Held, Turn};
use super::ward::Pass;

/// A claimed task, ours to run.
pub(crate) struct Job {
    pub(crate) claim: Claim,
    pub(crate) held: Held,
    /// None if it was not let through: it goes back. One for all that were claimed together.
    pub(crate) pass: Option<Pass>,
    turn: Arc<Turn>,
    slot: Option<Arc<Slot>>,
    member: Option<Member>,
    piece: Option<Arc<Piece>>,
    /// Keeps all others of its piece waiting.
    in_turn: Option<Arc<OwnedSemaphorePermit>>,
}

impl Job {
    /// A claim in our hands.
    pub(crate) fn new(
        claim: Claim,
        held: Held,
        pass: Option<Pass>,
        turn: Arc<Turn>,
        slot: Arc<Slot>,
    ) -> Self {
        let (member, piece, in_turn) = Default::default();
        Self { claim, held, pass, turn, slot: Some(slot), member, piece, in_turn }
    }

    /// It is one piece of work with others; under a handler that takes them one by one it is its turn.
    pub(crate) fn join(&mut self, member: Option<Member>, in_turn: Option<OwnedSemaphorePermit>) {
        if let Some(member) = member {
            self.piece = Some(member.piece().clone());
            self.member = Some(member);
        }
        self.in_turn = in_turn.map(Arc::new);
    }

    /// The piece of work it is part of, if it is.
    pub(crate) fn piece(&self) -> Option<&Arc<Piece>> {
        self.piece.as_ref()
    }

    /// Its part in it, until its handler has it.
    pub(crate) fn member(&self) -> Option<&Member> {
        self.member.as_ref()
    }

    pub(crate) fn take_member(&mut self) -> Option<Member> {
        self.member.take()
    }

    /// Whether its piece of work is that of this group, by a proven header. By itself it is of any.
    pub(crate) fn is_of(&self, group: Option<&str>) -> bool {
        self.piece.as_ref().is_none_or(|piece| piece.is_of(group))
    }

    /// For the jitter of its retry.
    pub(crate) fn chance(&self) -> f64 {
        self.piece.as_ref().map_or_else(chance, |piece| piece.chance(chance))
    }

    /// The slot, and its turn, for whatever goes on running after the run is given up.
    pub(crate) fn slot(&self) -> Option<Arc<dyn std::any::Any + Send + Sync>> {
        let slot = self.slot.clone()?;
        Some(match self.in_turn.clone() {
            Some(in_turn) => Arc::new((slot, in_turn)),
            None => slot,
        })
    }

    /// The session that holds it.
    pub(crate) fn session(&self) -> &Session {
        &self.turn.session
    }

    /// The queue it was claimed from.
    pub(crate) fn queue(&self) -> &QueueName {
        &self.turn.session.queue
    }

    /// Whether its run may begin: our lease is good, it was not given up with its thread, its kind is served, and runs
    /// are not being cut short.
    pub(crate) fn is_good(&self) -> bool {
        let passes = |pass: &Pass| pass.is_good() && !pass.ward.cut.is_cancelled();
        self.is_ours() && self.pass.as_ref().is_some_and(passes)
    }

    /// Whether our lease is good, and it was not given up with its thread.
    pub(crate) fn is_ours(&self) -> bool {
        self.turn.is_good() && !self.held.stop.is_lost()
    }

    /// Ends once its run is to end at once: a shutdown is over, or in a hurry.
    pub(crate) async fn cut(&self) {
        match &self.pass {
            Some(pass) => pass.ward.cut.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// Ends once its run is not to begin: its kind is served no longer.
    pub(crate) async fn barred(&self) {
        match &self.pass {
            Some(pass) => pass.barred().await,
            None => std::future::pending().await,
        }
    }

    /// The run ended: settle it so.
    pub(crate) fn finish(
        mut self: Box<Self>,
        settlement: Settlement,
        decision: Decision,
        kind: Kind,
        class: Option<String>,
        ran: Duration,
        failed: Option<Box<Failed>>,
    ) {
        self.end(settlement, decision, Some((kind, class, ran)), failed);
    }

    /// Its task goes back unbegun, at no cost: to a lane, and with a word on whether its next run is alone.
    pub(crate) fn put_back(mut self, lane: Lane, alone: bool) {
        let trail = Some(Trail { alone, ..self.claim.trail.clone() });
        let order = Order::Release { lane };
        let settlement = Settlement { trail, ..Settlement::new(self.claim.ticket, order) };
        self.end(settlement, Decision::Release { alone: lane == Lane::Alone }, None, None);
    }

    fn end(
        &mut self,
        settlement: Settlement,
        decision: Decision,
        run: Option<(Kind, Option<String>, Duration)>,
        failed: Option<Box<Failed>>,
    ) {
        let Some(slot) = self.slot.take() else { return };
        // A run that was given up has been settled, and its seat may be another's.
        if !self.held.stop.end() {
            return;
        }
        let (turn, seat) = (self.turn.clone(), self.held.seat);
        let finished = Finished { turn, seat, settlement, decision, run, failed, slot: Some(slot) };
        self.turn.settle.send(finished);
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if self.slot.is_none() {
            return;
        }
        let alone = runs_alone(&self.claim.trail);
        let lane = if alone { Lane::Alone } else { Lane::Shared };
        let release = Settlement::new(self.claim.ticket, Order::Release { lane });
        self.end(release, Decision::Release { alone }, None, None);
    }
}
