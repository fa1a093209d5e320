//! One run of a task, as a straight pipe: admit, open, handle, conclude. No actor in sight.
//!
//! Whatever happens inside becomes one [`Outcome`]; the policy decides; what is sensitive is sealed. A
//! handler's panic, in the call or in the future, is a value here (I7).

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::future::{CatchUnwind, LocalBoxFuture};
use futures::{FutureExt, poll};
use tokio::sync::OwnedSemaphorePermit;

use crate::broker::{Lane, Order, Settlement};
use crate::codec::Codec;
use crate::envelope::Header;
use crate::error::Error;
use crate::event::Event;
use crate::handler::{self, Hold, Input, Notes, Run, Runner, Stop, TaskContext, TaskError, cut};
use crate::outcome::{Decision, Limits, Outcome, Retry, decide};
use crate::panic;
use crate::retry::RetryPolicy;
use crate::seal::{Purpose, Seat};
use crate::task::{Detail, Trail};

use super::Shared;
use super::config::chance;
use super::hooks::Ended;
use super::job::Job;
use super::notes;
use super::ward::Pass;

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

    /// A record that does not open.
    fn unopened(error: &Error) -> Self {
        Self { message: error.to_string(), ..Self::of(unopenable(error)) }
    }

    fn failed(class: &'static str, message: String) -> Self {
        let outcome = Outcome::Failed { class: Cow::Borrowed(class), retry: Retry::ByPolicy };
        Self { outcome, result: None, message: cut(message) }
    }
}

/// Runs a job to its end and settles it.
pub(crate) async fn execute(mut job: Box<Job>, runner: Rc<dyn Runner>, shared: Arc<Shared>) {
    let permit = match runner.admit() {
        None if job.member().is_none() && !runner.gathers() => None,
        thread => match Box::pin(admit(&mut job, &*runner, thread)).await {
            Some(permit) => permit,
            None => return,
        },
    };
    // Without a good lease somebody else may have the task: dropped, it goes back if it is still ours. So it
    // does at the end of a shutdown, and in a quarantine.
    if !job.is_good() {
        return;
    }
    let began = shared.is_heard().then(Instant::now);
    let header = match job.claim.stored.header() {
        Ok(header) => header,
        Err(error) => return conclude(job, None, End::unopened(&error), began, &shared),
    };
    let mut begun = Begun { it: Some((job, header)), began, shared };
    let (mut run, context) = match begun.begin(permit, &runner) {
        Ok(run) => run,
        Err(end) => return begun.end(end),
    };
    // A run that ends at its first poll needs nobody to watch it; all others pay for a watch.
    let end = match poll!(&mut run) {
        Poll::Ready(ended) => {
            let end = ended_as(ended, &begun.job().held.stop);
            give_up(run, begun.job());
            if context.run().notes.close() {
                Box::pin(last_notes(end, begun.job(), &context, &begun.shared)).await
            } else {
                end
            }
        }
        Poll::Pending => Box::pin(watch(run, &begun, &context)).await,
    };
    begun.end(end);
}

/// A run. Dropped once it began and before its end, it counts as crashed: its thread ended under it.
struct Begun {
    /// None once it has ended.
    it: Option<(Box<Job>, Header)>,
    began: Option<Instant>,
    shared: Arc<Shared>,
}

impl Begun {
    fn it(&self) -> &(Box<Job>, Header) {
        self.it.as_ref().expect("it has not ended")
    }

    fn job(&self) -> &Job {
        &self.it().0
    }

    fn begin(
        &mut self,
        permit: Option<OwnedSemaphorePermit>,
        runner: &Rc<dyn Runner>,
    ) -> Result<(Running, TaskContext), End> {
        let (job, header) = self.it.as_mut().expect("it has not ended");
        begin(job, header, permit, runner, &self.shared)
    }

    fn end(&mut self, end: End) {
        if let Some((job, header)) = self.it.take() {
            conclude(job, Some(header), end, self.began, &self.shared);
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if self.it.as_ref().is_some_and(|(job, _)| job.held.stop.has_begun()) {
            self.end(End::of(Outcome::Lost));
        }
    }
}

/// Waits for what a run needs before its time begins: the others of its batch, or its turn among those it was claimed
/// with, and a thread. None if it is to stop before it began.
async fn admit(
    job: &mut Job,
    runner: &dyn Runner,
    thread: Option<LocalBoxFuture<'static, OwnedSemaphorePermit>>,
) -> Option<Option<OwnedSemaphorePermit>> {
    let ready = async {
        let (mut member, mut turn) = (None, None);
        match job.member() {
            None if runner.gathers() => member = Some(runner.gather(is_by_itself(job)).await),
            Some(member) if !runner.gathers() => turn = Some(member.turn().await?),
            _ => {}
        }
        let permit = match thread {
            Some(thread) => Some(thread.await),
            None => None,
        };
        Some((member, turn, permit))
    };
    let (member, turn, permit) = tokio::select! {
        ready = ready => ready?,
        () = job.held.stop.asked() => return None,
        () = job.cut() => return None,
        () = job.barred() => return None,
    };
    job.join(member, turn);
    Some(permit)
}

/// Whether a task that was claimed by itself must not share a batch with others: it must run alone, or it belongs to a
/// group, which they do not.
fn is_by_itself(job: &Job) -> bool {
    let is_of_a_group = |header: Header| header.group.is_some();
    job.claim.trail.alone || job.claim.stored.header().is_ok_and(is_of_a_group)
}

/// A run under way, its panics values.
type Running = CatchUnwind<AssertUnwindSafe<LocalBoxFuture<'static, Returned>>>;
type Returned = Result<Option<Vec<u8>>, TaskError>;

/// Opens the task and calls its handler, or says why not.
fn begin(
    job: &mut Job,
    header: &Header,
    permit: Option<OwnedSemaphorePermit>,
    runner: &Rc<dyn Runner>,
    shared: &Shared,
) -> Result<(Running, TaskContext), End> {
    let opened = shared.sealer.open_task(&job.claim.stored).map_err(|e| End::unopened(&e))?;
    if let Some(message) = misplaced(job, header, shared) {
        return Err(End { message, ..End::of(Outcome::Unopenable) });
    }
    // From here on the header is proven: its times are those it was enqueued with.
    let first = job.claim.trail.attempts == 0;
    let ends = header.deadline.into_iter().chain(header.expires.filter(|_| first)).min();
    if ends.is_some_and(|end| shared.broker.now() >= end) {
        return Err(End::of(Outcome::Expired));
    }
    if job.held.stop.is_cancelled() {
        return Err(End::of(Outcome::Cancelled));
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
        stop: job.held.stop.clone(),
        data: shared.data.clone(),
        notes: Notes::default(),
        piece: job.piece().cloned(),
    });
    // Its thread may be given up at this very moment.
    if !job.held.stop.begin() {
        return Err(End::of(Outcome::Interrupted));
    }
    shared.tell_if_heard(|| Event::Started {
        id: context.id(),
        kind: header.kind.clone(),
        attempt: context.attempt(),
    });
    let hold = Hold { _slot: job.slot(), _permit: permit };
    let keep = !header.retention.is_zero();
    let probe = job.pass.as_ref().is_some_and(Pass::is_probe);
    let (codec, version) = (opened.codec, header.schema);
    let context_kept = context.clone();
    let (body, member) = (opened.body, job.take_member());
    let input = Input { context, codec, version, body, keep, probe, hold, member };
    match catch_unwind(AssertUnwindSafe(|| handler::run(runner, input, &shared.around))) {
        Ok(run) => Ok((AssertUnwindSafe(run).catch_unwind(), context_kept)),
        Err(panic) => Err(End::failed("panic", panic::text(panic))),
    }
}

/// Whether the task was sealed for another kind or queue than those it came by: the ticket and the queue are
/// the broker's word, the header is proven. Whoever writes to the broker must not choose the handler.
fn misplaced(job: &Job, header: &Header, shared: &Shared) -> Option<String> {
    let route = shared.routes.get(job.claim.ticket.kind);
    if route.is_none_or(|route| route.kind != header.kind) {
        Some(format!("sealed for kind {}, but routed by another", header.kind))
    } else if *job.queue() != header.queue {
        Some(format!("sealed for queue {}, but found in {}", header.queue, job.queue()))
    } else if !job.is_of(header.group.as_deref()) {
        Some("sealed for one group, but claimed with another".to_owned())
    } else {
        None
    }
}

/// What a handler holds is dropped here, and may panic over it. The run ended all the same.
fn give_up(run: Running, job: &Job) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(move || drop(run))) {
        let (id, panic) = (job.claim.id(), panic::text(panic));
        tracing::error!(%id, panic, "a handler panicked when it was given up");
    }
}

/// What became of a run that ended by itself.
fn ended_as(ended: std::thread::Result<Returned>, stop: &Stop) -> End {
    match ended {
        Ok(Ok(result)) => End { result, ..End::of(Outcome::Completed) },
        // Told to stop, it failed: nobody's fault. What it says on purpose stands.
        Ok(Err(TaskError {
            outcome:
                Outcome::Failed { retry: Retry::ByPolicy, .. }
                | Outcome::Uncounted { retry: Retry::ByPolicy, .. },
            ..
        })) if stop.is_asked() => End::of(stopped(stop)),
        Ok(Err(TaskError { outcome, message })) => End { outcome, result: None, message },
        Err(panic) => End::failed("panic", panic::text(panic)),
    }
}

/// What a run is that ended because it was told to.
fn stopped(stop: &Stop) -> Outcome {
    if stop.is_cancelled() { Outcome::Cancelled } else { Outcome::Interrupted }
}

/// Waits for the end of a run, within its time. One that is given up ends at its next await, when it is dropped.
async fn watch(mut run: Running, begun: &Begun, context: &TaskContext) -> End {
    let ((job, header), shared) = (begun.it(), &begun.shared);
    let deadline = header.deadline.map(|deadline| deadline.since(shared.broker.now()));
    let timeout = Some(header.timeout).filter(|timeout| !timeout.is_zero());
    let by_deadline = matches!((deadline, timeout), (Some(d), t) if t.is_none_or(|t| d <= t));
    let limit = match (timeout, deadline) {
        (Some(timeout), Some(deadline)) => Some(timeout.min(deadline)),
        (one, other) => one.or(other),
    };
    let stop = &job.held.stop;
    let mut notes = pin!(notes::write(job, context, shared));
    let end = tokio::select! {
        biased;
        ended = &mut run => ended_as(ended, stop),
        // A shutdown asks first and cuts later; a cancelled task or a lost lease ends the run at once.
        () = stop.voided() => End::of(stopped(stop)),
        () = job.cut() => {
            stop.ask();
            End::of(Outcome::Interrupted)
        }
        () = sleep(limit) => {
            stop.ask();
            if by_deadline {
                End::of(Outcome::Expired)
            } else {
                End::failed("timeout", format!("still running after {:?}", header.timeout))
            }
        }
        // Not before the run has ended.
        () = &mut notes => End::of(Outcome::Interrupted),
    };
    // It ends here, whatever its last words wait for.
    give_up(run, job);
    context.run().notes.close();
    // What is on its way arrives: whoever is told that a run has ended finds all it said.
    if job.is_ours() {
        let _ = tokio::time::timeout(notes::LAST_NOTES, notes).await;
    }
    end
}

/// Writes what a run wanted that ended at once.
async fn last_notes(end: End, job: &Job, context: &TaskContext, shared: &Shared) -> End {
    let _ = tokio::time::timeout(notes::LAST_NOTES, notes::write(job, context, shared)).await;
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

/// Whether a handler said something of its own, be it that it failed: whoever runs it is alive.
fn is_answer(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Completed | Outcome::Snoozed(_) | Outcome::Revoked => true,
        Outcome::Uncounted { .. } => true,
        Outcome::Failed { class, .. } => !matches!(&**class, "panic" | "timeout" | "payload"),
        _ => false,
    }
}

fn conclude(
    job: Box<Job>,
    header: Option<Header>,
    end: End,
    began: Option<Instant>,
    shared: &Shared,
) {
    if job.held.stop.is_lost() {
        return shared.tell(Event::LeaseLost { id: job.claim.id() });
    }
    if is_answer(&end.outcome) && job.pass.as_ref().is_some_and(Pass::answered) {
        shared.recovered(job.claim.ticket.kind);
    }
    let route = shared.routes.get(job.claim.ticket.kind);
    let policy = match route {
        Some(route) => route.retries.after(&end.outcome, header.as_ref()),
        None => RetryPolicy::DEFAULT,
    };
    let ran = began.map(|began| began.elapsed()).unwrap_or_default();
    let Some(header) = header else {
        let kind = shared.unnamed.clone();
        // Without a header nothing is added to the trail: what it says may be what cannot be read.
        let (mut unused, limits) = (Trail::default(), Limits::default());
        let now = shared.broker.now();
        let decision = decide(&end.outcome, &limits, &mut unused, &policy, now, chance());
        let settlement = Settlement::new(job.claim.ticket, order(decision, None, false));
        let ended = ended(&job, &unused, None, decision, &end.message);
        let failed = shared.failed(&ended, &kind);
        return job.finish(settlement, decision, kind, None, ran, failed);
    };
    let attempt = job.claim.trail.attempts.saturating_add(1);
    let mut trail = job.claim.trail.clone();
    let now = shared.broker.now();
    let chance = job.chance();
    let decision = decide(&end.outcome, &header.limits(), &mut trail, &policy, now, chance);
    let class = match &end.outcome {
        Outcome::Failed { .. } | Outcome::Uncounted { .. } => trail.class.clone(),
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
    let ended = ended(&job, &trail, class.as_ref(), decision, &end.message);
    let failed = shared.failed(&ended, &header.kind);
    let result = end.result.and_then(|bytes| {
        let sealed = shared.sealer.seal(&seat(Purpose::Result), Codec::Json, &bytes);
        sealed.inspect_err(|error| tracing::error!(%error, "a result could not be sealed")).ok()
    });
    let result = result.map(|sealed| (attempt, sealed));
    let order = order(decision, result, policy.front);
    let settlement = settlement(&job, order, trail);
    job.finish(settlement, decision, header.kind, class, ran, failed);
}

/// What hooks may be told of the end of a run.
fn ended<'a>(
    job: &'a Job,
    trail: &'a Trail,
    class: Option<&'a String>,
    decision: Decision,
    said: &'a str,
) -> Ended<'a> {
    let attempt = job.claim.trail.attempts.saturating_add(1);
    let (id, queue, stored) = (job.claim.id(), job.queue(), Some(&job.claim.stored));
    Ended { id, queue, trail, attempt, class, decision, said, stored }
}

fn settlement(job: &Job, order: Order, trail: Trail) -> Settlement {
    let trail = Some(trail).filter(|trail| *trail != job.claim.trail);
    Settlement { trail, ..Settlement::new(job.claim.ticket, order) }
}

/// What a broker is to write for a decision. `front`: where a retry goes.
pub(crate) fn order(
    decision: Decision,
    result: Option<(u32, crate::seal::Sealed)>,
    front: bool,
) -> Order {
    match decision {
        Decision::Complete(keep) => Order::Complete { keep, result },
        Decision::Retry(after) => Order::Retry { after, front },
        Decision::Snooze(after) => Order::Snooze { after },
        Decision::Release { alone } => {
            Order::Release { lane: if alone { Lane::Alone } else { Lane::Shared } }
        }
        Decision::Archive(reason) => Order::Archive { reason },
        Decision::Drop => Order::Drop,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_run<A, B, C, F>(_: impl Fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_run_is_small() {
        // It is copied when it is spawned, and there may be 10,000 of them.
        assert!(size_of_run(execute) <= 400, "{} bytes", size_of_run(execute));
    }
}
