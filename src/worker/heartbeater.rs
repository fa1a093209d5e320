//! The Heartbeater: extends leases and finds blocked threads. On a thread of its own, so that no handler can stop it.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, WrapFuture};
use futures::FutureExt;
use tokio::sync::mpsc::UnboundedSender;

use crate::broker::{Beat, Wake};
use crate::clock::boottime;
use crate::event::Event;

use super::config::{POLL, jittered};
use super::presence::{Bell, Card};
use super::threads::Threads;
use super::{Order, Shared};

/// How often a thread is asked for an echo while patience with it lasts.
const PROBES: u32 = 8;

/// Extends the lease of every turn, a third of a lease apart, and tells those that are lost.
pub(crate) struct Heartbeater {
    pub(crate) shared: Arc<Shared>,
    /// The threads that run handlers.
    pub(crate) threads: Arc<Threads>,
    /// Where a thread that is stuck is told of.
    pub(crate) orders: UnboundedSender<Order>,
    pub(crate) card: Arc<Card>,
}

impl Actor for Heartbeater {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let (shared, mut bell) = (self.shared.clone(), Bell::new(self.card.clone()));
        let beats = async move {
            loop {
                // Marked before the beat: what is ordered during it ends the wait after it.
                let heard = shared.broker.wait(Wake::Ordered, None).now_or_never();
                let heard = heard.and_then(Result::ok);
                let wait = beat(&shared, &mut bell).await;
                shared.fail_point("heartbeater");
                if tokio::time::timeout(wait, ordered(&shared, heard)).await.is_ok() {
                    bell.ring();
                }
            }
        };
        context.spawn(beats.into_actor(self).map(|(), _, _| ()));
        let probes = probe(self.shared.clone(), self.threads.clone(), self.orders.clone());
        context.spawn(probes.into_actor(self).map(|(), _, _| ()));
    }
}

/// Asks the threads that run handlers for an echo, some times within the patience with them.
async fn probe(shared: Arc<Shared>, threads: Arc<Threads>, orders: UnboundedSender<Order>) {
    let patience = shared.config.stuck_after;
    let interval = (patience / PROBES).min(POLL);
    let mut told = false;
    loop {
        for stuck in threads.probe(boottime(), patience) {
            shared.tell(Event::Stuck { thread: stuck.index, silent: stuck.silent });
            let _ = orders.send(Order::GiveUp(stuck));
        }
        // Those of blocking handlers linger without anybody's order.
        if let Some(failure) = shared.vitals.too_many_linger().filter(|_| !told) {
            told = true;
            tracing::error!(failure, "the worker shuts down");
            let _ = orders.send(Order::Shutdown { failure: Some(failure) });
        }
        tokio::time::sleep(interval).await;
    }
}

/// Ends when something was ordered; where that cannot be waited for, orders come with the beats.
async fn ordered(shared: &Shared, heard: Option<u64>) {
    if heard.is_none() || shared.broker.wait(Wake::Ordered, heard).await.is_err() {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(CALLS_APART).await;
}

/// How soon a worker asks again for what it could not do yet.
const AGAIN: Duration = Duration::from_millis(200);

/// Orders that come one after the other are heard together.
const CALLS_APART: Duration = Duration::from_millis(50);

/// One beat; answers how long to wait for the next.
async fn beat(shared: &Shared, bell: &mut Bell) -> Duration {
    let interval = shared.config.beat();
    let mut turns = shared.turns.current();
    turns.retain(|turn| turn.is_open());
    let presence = bell.due(shared);
    if turns.is_empty() && presence.is_none() {
        return interval / 5;
    }
    let (asked, lease) = (boottime(), shared.config.lease);
    let sessions = turns.iter().map(|turn| turn.session.clone()).collect();
    let reply = shared.broker.beat(Beat { sessions, lease, presence });
    let error = match tokio::time::timeout(interval, reply).await {
        Ok(Ok(beaten)) => {
            let obeyed = bell.obey(&beaten.orders, shared);
            for turn in &turns {
                if beaten.lost.contains(&turn.session.id) {
                    tracing::warn!(session = ?turn.session.id, "session lost");
                    turn.lose();
                } else if !beaten.unsure.contains(&turn.session.id) {
                    turn.extend(asked, lease);
                } else if !turn.is_good() {
                    turn.lose();
                }
            }
            return if obeyed { jittered(interval) } else { AGAIN.min(interval) };
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer".to_owned(),
    };
    shared.tell(Event::BrokerFailed { verb: "beat", error });
    // A lease that ran out unextended is over, whatever the broker thinks: told, not assumed.
    turns.iter().filter(|turn| !turn.is_good()).for_each(|turn| turn.lose());
    jittered(interval / 5)
}
