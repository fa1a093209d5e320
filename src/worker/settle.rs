//! The settle lane of a turn: while one batch is on its way the next gathers. No timers.
//!
//! A settle that fails is repeated for one lease while the slots stay taken, so that an outage becomes
//! back-pressure; then the session is given up and recovery goes by lease. A refusal of one task settles
//! the rest.

use std::iter::repeat;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::broker::{CLAIMS_MAX, Order, Settled, Settlement, Wake};
use crate::clock::boottime;
use crate::event::Event;
use crate::outcome::Decision;
use crate::panic;
use crate::queue::Kind;

use super::Shared;
use super::backoff::Backoff;
use super::hooks::Failed;
use super::slots::Slot;
use super::turn::Turn;

/// A run that ended, with what is to be written; the slot goes back when this is dropped.
pub(crate) struct Finished {
    pub(crate) turn: Arc<Turn>,
    /// Its seat in the turn.
    pub(crate) seat: usize,
    pub(crate) settlement: Settlement,
    pub(crate) decision: Decision,
    /// None for a task that never started.
    pub(crate) run: Option<(Kind, Option<String>, Duration)>,
    /// What hooks are told once it is written.
    pub(crate) failed: Option<Box<Failed>>,
    pub(crate) slot: Option<Arc<Slot>>,
}

/// What ended and is to be written. Bounded by the slots: whatever goes in holds one. A list that is taken as a
/// whole, since a batch is: a channel would carry each by itself.
#[derive(Default)]
pub(crate) struct Lane {
    gathered: Mutex<Gathered>,
    news: Notify,
}

#[derive(Default)]
struct Gathered {
    finished: Vec<Finished>,
    /// Nothing more comes, or nobody takes it any more.
    closed: bool,
}

impl Lane {
    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one; without anybody to take it, it is dropped.
    pub(crate) fn send(&self, finished: Finished) {
        let mut gathered = self.gathered();
        if gathered.closed {
            drop(gathered);
            return;
        }
        let first = gathered.finished.is_empty();
        gathered.finished.push(finished);
        drop(gathered);
        if first {
            self.news.notify_one();
        }
    }

    /// Nothing more comes.
    pub(crate) fn close(&self) {
        self.gathered().closed = true;
        self.news.notify_one();
    }

    /// Waits for some and takes them; false when nothing more comes.
    async fn take(&self, batch: &mut Vec<Finished>) -> bool {
        loop {
            {
                let Gathered { finished, closed } = &mut *self.gathered();
                if finished.len() > CLAIMS_MAX {
                    batch.extend(finished.drain(..CLAIMS_MAX));
                } else {
                    std::mem::swap(finished, batch);
                }
                if !batch.is_empty() || *closed {
                    return !batch.is_empty();
                }
            }
            self.news.notified().await;
        }
    }
}

/// The receiving end of a lane. Dropping it drops what is left in the lane, and so breaks a cycle: what is left holds
/// the turn, which holds the lane.
pub(crate) struct LaneEnd(pub(crate) Arc<Lane>);

impl Drop for LaneEnd {
    fn drop(&mut self) {
        let mut gathered = self.0.gathered();
        gathered.closed = true;
        let left = std::mem::take(&mut gathered.finished);
        // Not under the lock: the last of them may close the lane.
        drop(gathered);
        drop(left);
    }
}

/// Settles what comes through the lane until nothing more can come.
pub(crate) async fn run(lane: LaneEnd, shared: Arc<Shared>) {
    let mut batch = Vec::new();
    while lane.0.take(&mut batch).await {
        let Some(turn) = batch.first().map(|finished| finished.turn.clone()) else { continue };
        // A broker that panics has answered nothing.
        let replies = panic::catch(|| write(&turn, &batch, &shared)).await;
        let replies = replies.unwrap_or_else(|error| {
            shared.tell(Event::BrokerFailed { verb: "settle", error });
            Vec::new()
        });
        let unanswered = replies.len() < batch.len() || replies.contains(&None);
        turn.forget(batch.iter().map(|finished| finished.seat));
        for (finished, settled) in batch.drain(..).zip(replies.into_iter().chain(repeat(None))) {
            let id = finished.settlement.ticket.id;
            drop(finished.slot);
            match (settled, finished.run) {
                (None | Some(Settled::Gone), Some(_)) => shared.tell(Event::LeaseLost { id }),
                (Some(Settled::Done), Some((kind, class, ran))) => {
                    let decision = finished.decision;
                    shared.counts.decided(decision);
                    if let Some(failed) = &finished.failed {
                        shared.hooks.tell(failed);
                    }
                    shared.tell_if_heard(|| Event::Settled { id, kind, decision, class, ran });
                }
                (Some(Settled::Done), None) => {
                    shared.counts.released.fetch_add(1, Ordering::Relaxed);
                }
                (_, None) => {}
            }
        }
        // What the broker would not settle is not in our hands any more; retired, the session gives it back.
        if unanswered && !turn.is_lost() {
            actix_rt::spawn(turn.retire(shared.broker.clone(), shared.config.lease));
        }
        shared.idle.notify_waiters();
    }
}

/// One batch; an answer per item, none if the turn is lost.
async fn write(turn: &Turn, batch: &[Finished], shared: &Shared) -> Vec<Option<Settled>> {
    let settlements = batch.iter().map(|finished| finished.settlement.clone()).collect();
    send(turn, settlements, shared).await
}

async fn send(
    turn: &Turn,
    mut settlements: Vec<Settlement>,
    shared: &Shared,
) -> Vec<Option<Settled>> {
    let deadline = boottime() + shared.config.lease;
    let (mut backoff, mut mark, mut sent) = (Backoff::new(), None, false);
    // A session that lives is asked again after an answer was lost: what it does not hold any more, it settled then.
    let told = |settled, sent| {
        if sent { Settled::Done } else { settled }
    };
    while !turn.is_lost() {
        match shared.broker.settle(turn.session.clone(), settlements.clone()).await {
            Ok(replies) => {
                return replies.into_iter().map(|settled| Some(told(settled, sent))).collect();
            }
            Err(error) if error.is_fenced() => turn.lose(),
            Err(error) if error.is_invalid() || error.is_too_large() => {
                shared.tell(Event::BrokerFailed { verb: "settle", error: error.to_string() });
                match &mut settlements[..] {
                    [one] if is_bare(one) => return vec![None],
                    [one] => *one = bare(one),
                    // Refused for one of them: halves, until it stands alone.
                    many => {
                        let later = many[many.len() / 2..].to_vec();
                        settlements.truncate(settlements.len() / 2);
                        let mut replies = Box::pin(send(turn, settlements, shared)).await;
                        replies.extend(Box::pin(send(turn, later, shared)).await);
                        return replies;
                    }
                }
            }
            Err(error) => {
                sent |= error.is_unreachable();
                shared.tell(Event::BrokerFailed { verb: "settle", error: error.to_string() });
                if boottime() + backoff.longest() > deadline {
                    tracing::error!(%error, "settle failed for a whole lease; the session is given up");
                    turn.lose();
                } else {
                    backoff.rest(shared, Wake::Ready, mark).await;
                    mark = shared.broker.wait(Wake::Ready, None).await.ok();
                }
            }
        }
    }
    vec![None; settlements.len()]
}

/// What is left of a settlement the broker refuses: the order, without what is written beside it. A result
/// is lost so, or the count of a failure; the task is not.
fn bare(refused: &Settlement) -> Settlement {
    let order = match &refused.order {
        Order::Complete { keep, .. } => Order::Complete { keep: *keep, result: None },
        other => other.clone(),
    };
    Settlement::new(refused.ticket, order)
}

fn is_bare(settlement: &Settlement) -> bool {
    settlement.trail.is_none()
        && !matches!(settlement.order, Order::Complete { result: Some(_), .. })
}
