//! A thread that does not turn: what was on it is settled in its place, and it is replaced.
//!
//! The slots go back with the claims: what lingers is one thread, not all that waited for it. So the threads that
//! linger have a bound of their own, `stuck_max`; beyond it the worker drains and ends with a failure, so that
//! whoever keeps it running starts a fresh process.

use std::sync::Arc;

use crate::broker::{Order as Write, Settlement};
use crate::event::Event;
use crate::outcome::{Limits, Outcome, decide};
use crate::queue::KindHash;
use crate::restart::{Exit, Standing};
use crate::retry::RetryPolicy;

use super::config::chance;
use super::execute::order;
use super::hooks::Ended;
use super::life::Who;
use super::settle::Finished;
use super::shared::Shared;
use super::threads::Silent;
use super::tree::Tree;
use super::turn::{InHand, Turn};

impl Tree {
    /// Replaces a thread that is stuck, with all who lived on it.
    pub(crate) fn give_up(self: &std::rc::Rc<Self>, stuck: Silent) {
        let shared = &self.shared;
        if self.stop.is_cancelled() {
            return;
        }
        match self.threads.give_up(stuck, &shared.vitals) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return self.no_thread(&error),
        }
        shared.tell(Event::Stuck { thread: stuck.index, silent: stuck.silent });
        let moved = self.processors.iter().enumerate();
        let moved = moved.filter(|(_, (index, _))| *index == stuck.index);
        // First they leave: what is claimed from now on finds the new thread or nobody. Who is down comes back when its
        // policy says so.
        let moved = moved.filter(|(number, _)| self.end(Who::Processor(*number)).is_some());
        let moved: Vec<usize> = moved.map(|(number, _)| number).collect();
        let (mut lost, mut released) = (Vec::new(), 0);
        for turn in shared.turns.all() {
            for GivenUp { kind, began, probe } in settle(&turn, stuck.number, shared) {
                match (began, probe) {
                    (true, _) => lost.push((kind, probe.is_some())),
                    // Its pass lies on a thread that may never turn again.
                    (false, Some(probe)) => {
                        shared.wards.get(&kind).inspect(|ward| ward.give_back(probe));
                    }
                    (false, None) => {}
                }
                released += usize::from(!began);
            }
        }
        for number in moved {
            let kind = self.processors[number].1.kind;
            let probing = self.ward(number).is_some_and(|ward| {
                matches!(ward.standing(), Standing::Probing { taken: true })
                    && lost.contains(&(kind, true))
            });
            let (who, why) = (Who::Processor(number), "its thread is stuck");
            if probing {
                self.handler_exited(who, number, Exit::Abnormal, why);
            }
            shared.restarted(who.to_string(), why);
            self.start(who);
        }
        let (thread, lingering) = (stuck.index, shared.vitals.lingering());
        shared.tell(Event::Replaced { thread, lost: lost.len(), released, lingering });
        if let Some(failure) = shared.vitals.too_many_linger() {
            self.fail(failure);
        }
    }
}

/// A task that was given up.
struct GivenUp {
    kind: KindHash,
    /// Whether it ran.
    began: bool,
    /// The probe of its kind that it was, if it was one.
    probe: Option<u64>,
}

/// Settles what a turn has on this thread: what ran counts as crashed, the rest goes back at no cost.
fn settle(turn: &Arc<Turn>, thread: usize, shared: &Shared) -> Vec<GivenUp> {
    let given_up = turn.give_up(thread, |seat, task| {
        if let Some(slot) = task.slot.upgrade() {
            slot.give_back();
        }
        let (kind, began, probe) = (task.ticket.kind, task.stop.has_begun(), task.probe);
        (GivenUp { kind, began, probe }, seat, conclude(turn, seat, task, shared))
    });
    let mut settled = Vec::new();
    for (task, seat, finished) in given_up {
        // Of a turn that is lost nothing is settled any more.
        if turn.is_lost() {
            turn.forget([seat]);
        } else {
            turn.settle.send(finished);
        }
        settled.push(task);
    }
    settled
}

fn conclude(turn: &Arc<Turn>, seat: usize, task: &InHand, shared: &Shared) -> Finished {
    let mut trail = task.trail.as_deref().cloned().unwrap_or_default();
    let outcome = if task.stop.has_begun() { Outcome::Lost } else { Outcome::Interrupted };
    let (now, limits) = (shared.broker.now(), Limits::default());
    let decision = decide(&outcome, &limits, &mut trail, &RetryPolicy::DEFAULT, now, chance());
    let write: Write = order(decision, None, false);
    let (mut settlement, mut run) = (Settlement::new(task.ticket, write), None);
    let mut failed = None;
    if outcome == Outcome::Lost {
        let kind = shared.routes.get(task.ticket.kind).map(|route| route.kind.clone());
        let kind = kind.unwrap_or_else(|| shared.unnamed.clone());
        let (id, queue, attempt) =
            (task.ticket.id, &turn.session.queue, trail.attempts.saturating_add(1));
        let (trail_now, class, said, stored) = (&trail, None, "", None);
        let ended = Ended { id, queue, trail: trail_now, attempt, class, decision, said, stored };
        failed = shared.failed(&ended, &kind);
        run = Some((kind, None, Default::default()));
        settlement.trail = Some(trail);
    }
    Finished { turn: turn.clone(), seat, settlement, decision, run, failed, slot: None }
}
