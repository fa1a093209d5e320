//! The Scheduler: time passed. Advances what is due, takes over what was lost, and lets the policy settle it; what the
//! timetable says is in [`ticks`](super::ticks).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, WrapFuture};

use crate::broker::{Cause, Claim, SWEEP_MAX, Session, Settled, Settlement, Sweep, Wake};
use crate::envelope::Header;
use crate::error::Result;
use crate::event::Event;
use crate::outcome::{Decision, Outcome, decide};
use crate::queue::QueueName;
use crate::retry::RetryPolicy;

use super::Shared;
use super::backoff::Backoff;
use super::config::{IDLE_POLL, chance, jittered};
use super::execute::order;
use super::hooks::{Ended, Failed};

/// Most tasks moved by one advance.
const ADVANCE_MAX: usize = 500;

/// How often queues are looked for that a pattern stands for.
const LOOK: Duration = Duration::from_millis(400);

/// First and longest wait for a task that seems due and is not.
const LATE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(1));

/// Advances and reclaims every queue of the worker.
pub(crate) struct Scheduler {
    shared: Arc<Shared>,
    served: HashSet<QueueName>,
}

impl Actor for Scheduler {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.serve(context);
        if self.shared.has_patterns() {
            self.look(context);
        }
        #[cfg(feature = "cron")]
        if self.shared.config.schedules {
            let ticking = super::ticks::tick(self.shared.clone());
            context.spawn(ticking.into_actor(self).map(|(), _, _| ()));
        }
    }
}

impl Scheduler {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, served: HashSet::new() }
    }

    /// Takes care of the queues that came since.
    fn serve(&mut self, context: &mut Context<Self>) {
        for queue in self.shared.queues() {
            if self.served.insert(queue.clone()) {
                let advancing = advance(self.shared.clone(), queue.clone());
                context.spawn(advancing.into_actor(self).map(|(), _, _| ()));
                let reclaiming = reclaim(self.shared.clone(), queue);
                context.spawn(reclaiming.into_actor(self).map(|(), _, _| ()));
            }
        }
    }

    /// Looks for queues, again and again.
    fn look(&self, context: &mut Context<Self>) {
        let shared = self.shared.clone();
        let looking = async move {
            if let Err(error) = shared.look_for_queues().await {
                shared.tell(Event::BrokerFailed { verb: "queues", error: error.to_string() });
            }
            tokio::time::sleep(jittered(LOOK)).await;
        };
        context.spawn(looking.into_actor(self).map(|(), scheduler, context| {
            scheduler.serve(context);
            scheduler.look(context);
        }));
    }
}

/// Moves what is due the moment it is, woken early by what is due earlier.
async fn advance(shared: Arc<Shared>, queue: QueueName) {
    let (mut backoff, mut late) = (Backoff::new(), LATE.0);
    loop {
        shared.fail_point("scheduler");
        // Marked before the call: what becomes due earlier after it is not missed.
        let mark = shared.broker.wait(Wake::Due, None).await.ok();
        let advanced = match shared.broker.advance(queue.clone(), ADVANCE_MAX).await {
            Ok(advanced) => advanced,
            Err(error) => {
                shared.tell(Event::BrokerFailed { verb: "advance", error: error.to_string() });
                backoff.rest(&shared, Wake::Due, mark).await;
                continue;
            }
        };
        backoff.reset();
        if advanced.moved > 0 {
            late = LATE.0;
        }
        if advanced.more {
            continue;
        }
        let ahead = advanced.next.map(|next| next.since(shared.broker.now()));
        let wait = match ahead {
            // Due by our estimate of the broker's time, and not by its own: that is a little behind.
            Some(Duration::ZERO) => {
                let wait = late;
                late = (late * 2).min(LATE.1);
                wait
            }
            _ => {
                late = LATE.0;
                ahead.unwrap_or(IDLE_POLL).min(jittered(IDLE_POLL))
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shared.woken(Wake::Due, mark) => {}
        }
    }
}

/// Takes over what dead sessions held, about once a second, or more often where leases are short.
async fn reclaim(shared: Arc<Shared>, queue: QueueName) {
    loop {
        tokio::time::sleep(jittered(shared.config.sweep())).await;
        // A full sweep is followed by the next at once.
        while match sweep(&shared, &queue).await {
            Ok(swept) => swept == SWEEP_MAX,
            Err(error) => {
                shared.tell(Event::BrokerFailed { verb: "reclaim", error: error.to_string() });
                false
            }
        } {}
    }
}

/// One sweep; answers how many tasks it settled.
pub(crate) async fn sweep(shared: &Shared, queue: &QueueName) -> Result<usize> {
    let session = Session::fresh(queue.clone());
    let claims = shared
        .broker
        .reclaim(Sweep {
            session: session.clone(),
            lease: shared.config.lease,
            max: SWEEP_MAX,
            gap: shared.config.gap(),
            known: shared.routes.kinds(),
            grace: shared.config.unknown_grace,
        })
        .await?;
    if claims.is_empty() {
        return Ok(0);
    }
    let settled: Vec<_> = claims.into_iter().map(|claim| conclude(shared, queue, claim)).collect();
    let settlements = settled.iter().map(|(settlement, ..)| settlement.clone()).collect();
    // If this fails the sweep session expires and the next sweep finds the same tasks, uncounted.
    let replies = shared.broker.settle(session, settlements).await?;
    for ((settlement, decision, failed), reply) in settled.iter().zip(replies) {
        if reply != Settled::Done {
            continue;
        }
        shared.counts.decided(*decision);
        if let Some(failed) = failed {
            shared.hooks.tell(failed);
        }
        shared.tell(Event::Reclaimed { id: settlement.ticket.id, decision: *decision });
    }
    Ok(settled.len())
}

/// What is written for a claim that was taken over, and what hooks are told then.
fn conclude(
    shared: &Shared,
    queue: &QueueName,
    claim: Claim,
) -> (Settlement, Decision, Option<Box<Failed>>) {
    let outcome = match claim.cause {
        Cause::Refused => Outcome::UnknownKind,
        Cause::Lost | Cause::Dequeued => Outcome::Lost,
    };
    let header = claim.stored.header();
    // The trail may be what a newer version wrote and this one cannot read: it stays as it is.
    let is_newer = header.as_ref().is_err_and(crate::Error::is_newer);
    let limits = header.as_ref().map(Header::limits).unwrap_or_default();
    let mut trail = claim.trail;
    let now = shared.broker.now();
    let decision = decide(&outcome, &limits, &mut trail, &RetryPolicy::DEFAULT, now, chance());
    let kind = header.map_or_else(|_| shared.unnamed.clone(), |header| header.kind);
    let (id, class, said, stored) = (claim.ticket.id, None, "", Some(&claim.stored));
    let attempt = trail.attempts.saturating_add(u32::from(outcome == Outcome::Lost));
    let trail_now = &trail;
    let ended = Ended { id, queue, trail: trail_now, attempt, class, decision, said, stored };
    let failed = shared.failed(&ended, &kind);
    let settlement = Settlement {
        trail: Some(trail).filter(|_| !is_newer),
        ..Settlement::new(claim.ticket, order(decision, None, false))
    };
    (settlement, decision, failed)
}
