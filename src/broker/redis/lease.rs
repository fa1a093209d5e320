//! Sessions and leases: retire, beat, reclaim; and advance, the other thing time does.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::dequeue::claims;
use super::operate::report;
use super::{Inner, held, ms, reply};
use crate::broker::{
    Advanced, Beat, Beaten, Cause, Claim, Orders, Session, SessionId, Sweep, Wake,
};
use crate::error::Result;
use crate::queue::QueueName;
use crate::task::TaskId;

/// A task that is due within this time is worth a wake-up by the tick.
const SOON: Duration = Duration::from_secs(1);

/// What a sweep answers of a queue, as bits: tasks of a known kind are pending; no sweep was there before.
const READY: i64 = 1;
const FIRST_SWEEP: i64 = 2;

/// Closes a session to claims.
pub(super) async fn retire(
    broker: Arc<Inner>,
    session: Session,
    known: Vec<TaskId>,
) -> Result<usize> {
    let mut call = broker.library.call("retire", &broker.keys(&session.queue).records());
    call.arg(&session.id.0[..]);
    for id in &known {
        call.arg(&id.as_bytes()[..]);
    }
    broker.stamp(&mut call);
    let count = reply::count(&broker.io.link.call(&call).await?)?;
    broker.eras.forget(session.id);
    // What is of a group joined it, which may close before all others.
    broker.marks.bump([count > 0, count > 0, false]);
    Ok(count as usize)
}

/// Extends leases, queue by queue, and says that the worker is there.
pub(super) async fn beat(broker: Arc<Inner>, beat: Beat) -> Result<Beaten> {
    let mut queues: HashMap<QueueName, Vec<SessionId>> = HashMap::new();
    for session in &beat.sessions {
        queues.entry(session.queue.clone()).or_default().push(session.id);
    }
    let calls = queues.into_iter().map(|(queue, sessions)| {
        let broker = broker.clone();
        async move {
            let answer = beat_queue(&broker, &queue, &sessions, beat.lease).await;
            (queue, sessions, answer)
        }
    });
    let told = async {
        match &beat.presence {
            Some(presence) => report(&broker, presence).await,
            None => Ok(Orders::default()),
        }
    };
    let (answers, told) = futures::join!(futures::future::join_all(calls), told);
    // One queue that cannot be extended does not take the sessions at others with it.
    let (mut lost, mut unsure, mut fault) = (HashSet::new(), HashSet::new(), None);
    let mut extended = false;
    let mut cancelled = Vec::new();
    for (queue, sessions, answer) in answers {
        match answer {
            Ok((gone, doomed)) => {
                extended = true;
                lost.extend(gone);
                cancelled.extend(doomed);
            }
            Err(error) => {
                tracing::warn!(%queue, %error, "the leases at this queue are not extended");
                unsure.extend(sessions);
                fault = Some(error);
            }
        }
    }
    if let Some(error) = fault.filter(|_| !extended) {
        return Err(error);
    }
    // Leases are what a beat is for; of orders the next one hears.
    let mut orders = told.unwrap_or_else(|error| {
        tracing::warn!(%error, "this worker cannot be seen or reached by operators");
        Orders::default()
    });
    orders.cancel = cancelled;
    let named = |among: HashSet<SessionId>| {
        let ids = beat.sessions.iter().map(|session| session.id);
        ids.filter(|id| among.contains(id)).collect()
    };
    Ok(Beaten { lost: named(lost), unsure: named(unsure), orders })
}

async fn beat_queue(
    broker: &Inner,
    queue: &QueueName,
    sessions: &[SessionId],
    lease: Duration,
) -> Result<(Vec<SessionId>, Vec<TaskId>)> {
    let mut call = broker.library.call("beat", &broker.keys(queue).records());
    call.arg(ms(lease));
    for session in sessions {
        call.arg(&session.0[..]);
    }
    broker.stamp(&mut call);
    broker.interest.follow(&broker.beats.link, &broker.keys(queue), Wake::Ordered);
    let [gone, cancelled] = reply::parts(broker.beats.link.call(&call).await?)?;
    let (gone, cancelled) = (reply::ids(gone)?, reply::ids(cancelled)?);
    Ok((
        gone.into_iter().map(SessionId).collect(),
        cancelled.into_iter().map(TaskId::from_bytes).collect(),
    ))
}

/// Moves what is due.
pub(super) async fn advance(
    broker: Arc<Inner>,
    queue: QueueName,
    limit: usize,
) -> Result<Advanced> {
    let keys = broker.keys(&queue);
    broker.interest.follow(&broker.beats.link, &keys, Wake::Due);
    let mut call = broker.library.call("advance", &keys.records());
    call.arg(limit);
    broker.stamp(&mut call);
    let [moved, expired, next, more, now] = reply::parts(broker.io.link.call(&call).await?)?;
    broker.learn_time(&now)?;
    let (moved, expired) = (reply::count(&moved)? as usize, reply::count(&expired)? as usize);
    broker.marks.bump([moved > 0, false, expired > 0]);
    Ok(Advanced::new(moved, expired, reply::time(&next)?, reply::integer(&more)? == 1))
}

/// Takes over what was lost, and what nobody takes.
pub(super) async fn reclaim(broker: Arc<Inner>, sweep: Sweep) -> Result<Vec<Claim>> {
    let keys = broker.keys(&sweep.session.queue);
    let mut call = broker.library.call("reclaim", &keys.records());
    call.arg(&sweep.session.id.0[..]).arg(ms(sweep.lease)).arg(sweep.max);
    let number = broker.numbers.take(sweep.max);
    call.arg(ms(sweep.gap)).arg(ms(sweep.grace)).arg(number);
    for kind in &sweep.known {
        call.arg(&kind.0[..]);
    }
    broker.stamp(&mut call);
    let [told, trails, lost, ready, next, now] = reply::parts(broker.io.link.call(&call).await?)?;
    let now = broker.learn_time(&now)?;
    let soon = reply::time(&next)?.is_some_and(|next| next <= now.plus(SOON));
    let ready = reply::integer(&ready)?;
    broker.note_sweep(&sweep.session.queue, ready & FIRST_SWEEP != 0);
    broker.marks.bump([ready & READY != 0, soon, false]);
    let (tickets, lost) = (held::tickets(told, number)?, reply::count(&lost)? as usize);
    let cause = |at| if at < lost { Cause::Lost } else { Cause::Refused };
    claims(&broker, &keys, &tickets, trails, Vec::new(), cause).await
}
