//! The Heartbeater: extends leases and finds blocked threads. On a thread of its own, so that no handler can stop it.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, WrapFuture};
use actix_rt::ArbiterHandle;

use crate::broker::Beat;
use crate::clock::boottime;
use crate::event::Event;

use super::Shared;
use super::config::jittered;
use super::echo::Echo;

/// Extends the lease of every turn, a third of a lease apart, and tells those that are lost.
pub(crate) struct Heartbeater {
    pub(crate) shared: Arc<Shared>,
    /// The threads that run handlers.
    pub(crate) threads: Vec<ArbiterHandle>,
}

impl Actor for Heartbeater {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let shared = self.shared.clone();
        let mut echoes: Vec<_> = self.threads.iter().cloned().map(Echo::new).collect();
        let beats = async move {
            loop {
                let wait = beat(&shared).await;
                shared.fail_point("heartbeater");
                for (thread, echo) in echoes.iter_mut().enumerate() {
                    if let Some(silent) = echo.probe(boottime()) {
                        shared.tell(Event::Stuck { thread, silent });
                    }
                }
                tokio::time::sleep(wait).await;
            }
        };
        context.spawn(beats.into_actor(self).map(|(), _, _| ()));
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
