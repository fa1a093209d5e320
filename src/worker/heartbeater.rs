//! The Heartbeater: extends leases and finds blocked threads. On a thread of its own, so that no handler can stop it.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, WrapFuture};
use tokio::sync::mpsc::UnboundedSender;

use crate::broker::Beat;
use crate::clock::boottime;
use crate::event::Event;

use super::config::{POLL, jittered};
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
}

impl Actor for Heartbeater {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let shared = self.shared.clone();
        let beats = async move {
            loop {
                let wait = beat(&shared).await;
                shared.fail_point("heartbeater");
                tokio::time::sleep(wait).await;
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
    loop {
        for stuck in threads.probe(boottime(), patience) {
            shared.tell(Event::Stuck { thread: stuck.index, silent: stuck.silent });
            let _ = orders.send(Order::GiveUp(stuck));
        }
        tokio::time::sleep(interval).await;
    }
}

/// One beat; answers how long to wait for the next.
pub(crate) async fn beat(shared: &Shared) -> Duration {
    let interval = shared.config.beat();
    let mut turns = shared.turns.current();
    turns.retain(|turn| turn.is_open());
    if turns.is_empty() {
        return interval / 5;
    }
    let (asked, lease) = (boottime(), shared.config.lease);
    let sessions = turns.iter().map(|turn| turn.session.clone()).collect();
    let reply = shared.broker.beat(Beat { sessions, lease });
    let error = match tokio::time::timeout(interval, reply).await {
        Ok(Ok(beaten)) => {
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
            return jittered(interval);
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer".to_owned(),
    };
    shared.tell(Event::BrokerFailed { verb: "beat", error });
    // A lease that ran out unextended is over, whatever the broker thinks: told, not assumed.
    turns.iter().filter(|turn| !turn.is_good()).for_each(|turn| turn.lose());
    jittered(interval / 5)
}
