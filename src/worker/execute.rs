//! One run of a task, as a straight pipe: admit, open, handle, conclude. No actor in sight.
//!
//! Whatever happens inside becomes one [`Outcome`]; the policy decides; what is sensitive is sealed. A
//! handler's panic, in the call or in the future, is a value here (I7).

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use tokio::sync::OwnedSemaphorePermit;

use crate::broker::{Lane, Order, Settlement};
use crate::codec::Codec;
use crate::envelope::Header;
use crate::error::Error;
use crate::event::Event;
use crate::handler::{Input, Run, Runner, TaskContext, TaskError, cut};
use crate::outcome::{Decision, Limits, Outcome, Retry, decide};
use crate::panic;
use crate::retry::RetryPolicy;
use crate::seal::{Purpose, Seat};
use crate::task::{Detail, Trail};

use super::Shared;
use super::config::chance;
use super::job::Job;

/// How a run ended: the outcome, a result to keep, a message to seal.
struct End {
    outcome: Outcome,
    result: Option<Vec<u8>>,
    message: String,
}

impl End {
    fn of(outcome: Outcome) -> Self {
        Self { outcome, result: None, message: String::new() }
    }

    fn failed(class: &'static str, message: String) -> Self {
        let outcome = Outcome::Failed { class: Cow::Borrowed(class), retry: Retry::ByPolicy };
        Self { outcome, result: None, message: cut(message) }
    }
}

/// Runs a job to its end and settles it.
pub(crate) async fn execute(job: Job, runner: &dyn Runner, policy: RetryPolicy, shared: &Shared) {
    let permit = match runner.admit() {
        Some(admitted) => tokio::select! {
            permit = admitted => Some(permit),
            () = job.held.cancel.cancelled() => return,
            () = shared.cut.cancelled() => return,
        },
        None => None,
    };
    // Without a good lease somebody else may have the task: dropped, it goes back if it is still ours. So it
    // does at the end of a shutdown.
    if !job.is_good() || shared.cut.is_cancelled() {
        return;
    }
    let began = Instant::now();
    let header = job.claim.stored.header();
    let end = match &header {
        Ok(header) => attempt(&job, header, permit, runner, shared).await,
        Err(error) => End { message: error.to_string(), ..End::of(unopenable(error)) },
    };
    if job.held.lease_lost.load(std::sync::atomic::Ordering::Acquire) {
        return shared.tell(Event::LeaseLost { id: job.claim.id() });
    }
    conclude(job, header.ok(), end, &policy, began, shared);
}

async fn attempt(
    job: &Job,
    header: &Header,
    permit: Option<OwnedSemaphorePermit>,
    runner: &dyn Runner,
    shared: &Shared,
) -> End {
    let opened = match shared.sealer.open_task(&job.claim.stored) {
        Ok(opened) => opened,
        Err(error) => return End { message: error.to_string(), ..End::of(unopenable(&error)) },
    };
    if let Some(message) = misplaced(job, header, shared) {
        return End { message, ..End::of(Outcome::Unopenable) };
    }
    // From here on the header is proven: its times are those it was enqueued with.
    let now = shared.broker.now();
    let first = job.claim.trail.attempts == 0;
    if header.deadline.is_some_and(|deadline| now >= deadline)
        || first && header.expires.is_some_and(|expires| now >= expires)
    {
        return End::of(Outcome::Expired);
    }
    let context = TaskContext::new(Run {
        id: job.claim.id(),
        kind: header.kind.clone(),
        queue: header.queue.clone(),
        attempt: job.claim.trail.attempts.saturating_add(1),
        max_retry: header.max_retry,
        created: header.created,
        deadline: header.deadline,
        headers: opened.headers,
        cancel: job.held.cancel.clone(),
        lease_lost: job.held.lease_lost.clone(),
        data: shared.data.clone(),
    });
    shared.tell(Event::Started {
        id: context.id(),
        kind: header.kind.clone(),
        attempt: context.attempt(),
    });
    let slot: Arc<dyn std::any::Any + Send + Sync> = Arc::new((job.slot(), permit));
    let keep = !header.retention.is_zero();
    let input = Input { context, codec: opened.codec, body: opened.body, keep, slot };
    handle(job, header, input, runner, shared).await
}

/// Whether the task was sealed for another kind or queue than those it came by: the ticket and the queue are
/// the broker's word, the header is proven. Whoever writes to the broker must not choose the handler.
fn misplaced(job: &Job, header: &Header, shared: &Shared) -> Option<String> {
    let route = shared.routes.get(job.claim.ticket.kind);
    if route.is_none_or(|route| route.kind != header.kind) {
        Some(format!("sealed for kind {}, but routed by another", header.kind))
    } else if *job.queue() != header.queue {
        Some(format!("sealed for queue {}, but found in {}", header.queue, job.queue()))
    } else {
        None
    }
}

/// Runs the handler within its time. What is dropped here ends at its next await.
async fn handle(
    job: &Job,
    header: &Header,
    input: Input,
    runner: &dyn Runner,
    shared: &Shared,
) -> End {
    let deadline = header.deadline.map(|deadline| deadline.since(shared.broker.now()));
    let timeout = Some(header.timeout).filter(|timeout| !timeout.is_zero());
    let by_deadline = matches!((deadline, timeout), (Some(d), t) if t.is_none_or(|t| d <= t));
    let limit = match (timeout, deadline) {
        (Some(timeout), Some(deadline)) => Some(timeout.min(deadline)),
        (one, other) => one.or(other),
    };
    let cancel = &job.held.cancel;
    let lost = async {
        cancel.cancelled().await;
        // A shutdown asks first and cuts later; a lost lease ends the run at once.
        if !job.held.lease_lost.load(std::sync::atomic::Ordering::Acquire) {
            std::future::pending::<()>().await;
        }
    };
    let mut run = match catch_unwind(AssertUnwindSafe(|| runner.run(input))) {
        Ok(run) => run,
        Err(panic) => return End::failed("panic", panic::text(panic)),
    };
    let end = tokio::select! {
        biased;
        ended = AssertUnwindSafe(&mut run).catch_unwind() => match ended {
            Ok(Ok(result)) => End { result, ..End::of(Outcome::Completed) },
            // Told to stop, it failed: nobody's fault. What it says on purpose stands.
            Ok(Err(TaskError { outcome: Outcome::Failed { retry: Retry::ByPolicy, .. }, .. }))
                if cancel.is_cancelled() =>
            {
                End::of(Outcome::Interrupted)
            }
            Ok(Err(TaskError { outcome, message })) => End { outcome, result: None, message },
            Err(panic) => End::failed("panic", panic::text(panic)),
        },
        () = lost => End::of(Outcome::Interrupted),
        () = shared.cut.cancelled() => {
            cancel.cancel();
            End::of(Outcome::Interrupted)
        }
        () = sleep(limit) => {
            cancel.cancel();
            if by_deadline {
                End::of(Outcome::Expired)
            } else {
                End::failed("timeout", format!("still running after {:?}", header.timeout))
            }
        }
    };
    // What a handler holds is dropped here, and may panic over it. The run ended all the same.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(move || drop(run))) {
        let (id, panic) = (job.claim.id(), panic::text(panic));
        tracing::error!(%id, panic, "a handler panicked when it was given up");
    }
    end
}

async fn sleep(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

/// A record that does not open: wait for the key or the version that may come, archive what never will.
fn unopenable(error: &Error) -> Outcome {
    let keys = error.is_unknown_key() || error.is_retired_key() || error.is_wrong_key();
    if keys || error.is_newer() { Outcome::KeyMissing } else { Outcome::Unopenable }
}

fn conclude(
    job: Job,
    header: Option<Header>,
    end: End,
    policy: &RetryPolicy,
    began: Instant,
    shared: &Shared,
) {
    let Some(header) = header else {
        let kind = shared.unnamed.clone();
        // Without a header nothing is added to the trail: what it says may be what cannot be read.
        let (mut unused, limits) = (Trail::default(), Limits::default());
        let now = shared.broker.now();
        let decision = decide(&end.outcome, &limits, &mut unused, policy, now, chance());
        let settlement = Settlement::new(job.claim.ticket, order(decision, None));
        return job.finish(settlement, decision, kind, None, began.elapsed());
    };
    let attempt = job.claim.trail.attempts.saturating_add(1);
    let mut trail = job.claim.trail.clone();
    let now = shared.broker.now();
    let decision = decide(&end.outcome, &header.limits(), &mut trail, policy, now, chance());
    let class = match &end.outcome {
        Outcome::Failed { .. } => trail.class.clone(),
        _ => None,
    };
    let seat = |purpose| Seat {
        purpose,
        task: job.claim.id(),
        attempt,
        header: job.claim.stored.header_bytes(),
    };
    if !end.message.is_empty() {
        match shared.sealer.seal(&seat(Purpose::Error), Codec::Json, end.message.as_bytes()) {
            Ok(sealed) => {
                trail.error = Some(Detail { attempt, sealed: sealed.as_bytes().to_vec() });
            }
            Err(error) => tracing::warn!(%error, "the detail of a failure could not be sealed"),
        }
    }
    let result = end.result.and_then(|bytes| {
        let sealed = shared.sealer.seal(&seat(Purpose::Result), Codec::Json, &bytes);
        sealed.inspect_err(|error| tracing::error!(%error, "a result could not be sealed")).ok()
    });
    let result = result.map(|sealed| (attempt, sealed));
    let settlement = settlement(&job, decision, trail, result);
    job.finish(settlement, decision, header.kind, class, began.elapsed());
}

fn settlement(
    job: &Job,
    decision: Decision,
    trail: Trail,
    result: Option<(u32, crate::seal::Sealed)>,
) -> Settlement {
    let trail = Some(trail).filter(|trail| *trail != job.claim.trail);
    let order = order(decision, result);
    Settlement { trail, ..Settlement::new(job.claim.ticket, order) }
}

/// What a broker is to write for a decision.
pub(crate) fn order(decision: Decision, result: Option<(u32, crate::seal::Sealed)>) -> Order {
    match decision {
        Decision::Complete(keep) => Order::Complete { keep, result },
        Decision::Retry(after) => Order::Retry { after },
        Decision::Snooze(after) => Order::Snooze { after },
        Decision::Release { alone } => {
            Order::Release { lane: if alone { Lane::Alone } else { Lane::Shared } }
        }
        Decision::Archive(reason) => Order::Archive { reason },
        Decision::Drop => Order::Drop,
    }
}
