//! What time does in a history: a broker may take several calls, the model does all at once.

use std::collections::BTreeSet;

use oncue::broker::*;
use oncue::clock::Timestamp;
use oncue::state::State;
use oncue::task::TaskId;

use super::census::gatherings;
use super::run::{Run, Verdict, agree, coded, ensure};
use crate::fixture::*;
use crate::model::{Book, First};

/// Most calls until nothing is due: more than there are tasks in any history.
const CALLS_MAX: usize = 1_000;

impl Run {
    /// `next` may or may not heed the ends of retentions.
    pub fn advance(&mut self, limit: usize) -> Verdict {
        // Where due tasks join groups whose time has come, what a call does first is open: so all is done by one.
        let (joins, closes) = self.book(|book| (joins(book), book.closing()));
        let limit = if joins { BATCH_TASKS_MAX } else { limit };
        let closes = closes.first().is_some_and(|(at, _)| *at <= self.bench.now());
        let (mut sum, mut calls) = ((0, 0), 0);
        let last = loop {
            calls += 1;
            ensure(calls <= CALLS_MAX, || format!("more is due after {CALLS_MAX} calls"))?;
            let reply = run(self.bench.broker.advance(self.bench.queue.clone(), limit));
            let step = coded(reply)?;
            let count = step.moved + step.expired;
            let more = step.more && count < limit;
            let right = count <= limit && (!more || joins || closes);
            ensure(right, || format!("advance by {limit} answers {step:?}"))?;
            sum = (sum.0 + step.moved, sum.1 + step.expired);
            if !step.more {
                break step;
            }
        };
        self.ended += sum.1;
        let ours = self.advance_model()?;
        agree("advance", &sum, &(ours.moved, ours.expired))?;
        let kept =
            self.book(|book| book.sorted(State::Completed).first().map(|(at, _)| Timestamp(*at)));
        let heeding = ours.next.into_iter().chain(kept).min();
        let right = last.next == ours.next || last.next == heeding;
        ensure(right, || format!("next is {:?}, not {:?} or {heeding:?}", last.next, ours.next))
    }

    /// The model does what the broker did: as far as the groups tell, in the order in which it did.
    fn advance_model(&mut self) -> Verdict<Advanced> {
        let kept = [State::Completed, State::Archived].map(|state| self.bench.list(state));
        let kept: BTreeSet<TaskId> = kept.iter().flatten().map(|view| view.stored.id()).collect();
        let theirs = gatherings(&self.bench);
        let before = self.book(|book| book.clone());
        for first in First::ALL {
            let reply = self.book(|book| {
                *book = before.clone();
                book.advance_as(usize::MAX, first, Some(&kept))
            });
            let ours =
                reply.map_err(|breach| format!("advance is against the contract: {breach}"))?;
            if gatherings(&self.twin) == theirs {
                return Ok(ours);
            }
        }
        let ours = gatherings(&self.twin);
        Err(format!("advance left the groups {theirs:?}; by the model, for example, {ours:?}"))
    }
}

/// Whether any task is about to join its group.
fn joins(book: &Book) -> bool {
    book.tasks.values().any(|row| row.gathers() && row.place.due().is_some_and(|at| at <= book.now))
}
