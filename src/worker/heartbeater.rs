//! The Heartbeater: extends leases, and keeps watch. It has a thread of its own, on which no code of users runs: no
//! handler, hook or listener can stop it.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, WrapFuture};
use futures::FutureExt;
use tokio::sync::mpsc::UnboundedSender;

use crate::broker::{Beat, Wake};
use crate::clock::boottime;
use crate::event::Event;

use super::config::jittered;
use super::lookout::Lookout;
use super::presence::{Bell, Card};
use super::threads::Threads;
use super::turn::Turn;
use super::{Order, Shared};

/// Extends the lease of every turn, a third of a lease apart, and tells those that are lost.
pub(crate) struct Heartbeater {
    pub(crate) shared: Arc<Shared>,
    /// The threads that run handlers.
    pub(crate) threads: Arc<Threads>,
    /// Where it is told of a thread that is stuck, and where events are told: a listener may block.
    pub(crate) orders: UnboundedSender<Order>,
    pub(crate) card: Arc<Card>,
}

impl Actor for Heartbeater {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let (shared, mut bell) = (self.shared.clone(), Bell::new(self.card.clone()));
        let orders = self.orders.clone();
        let beats = async move {
            loop {
                // Marked before the beat: what is ordered during it ends the wait after it.
                let heard = shared.broker.wait(Wake::Ordered, None).now_or_never();
                let heard = heard.and_then(Result::ok);
                let wait = beat(&shared, &mut bell, &orders).await;
                shared.fail_point("heartbeater");
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = ordered(&shared, heard) => bell.ring(),
                    () = bell.stale(&shared) => {}
                }
            }
        };
        context.spawn(beats.into_actor(self).map(|(), _, _| ()));
        let (threads, orders) = (self.threads.clone(), self.orders.clone());
        let lookout = Lookout::new(self.shared.clone(), threads, orders);
        context.spawn(lookout.keep().into_actor(self).map(|(), _, _| ()));
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
async fn beat(shared: &Arc<Shared>, bell: &mut Bell, orders: &UnboundedSender<Order>) -> Duration {
    let interval = shared.config.beat();
    let mut turns = shared.turns.current();
    turns.retain(|turn| turn.is_open());
    // What is not settled any more is better left to others.
    if shared.vitals.lets_leases_go() {
        lose_what_ran_out(&turns);
        return interval / 5;
    }
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
    let teller = shared.clone();
    let tell = move || teller.tell(Event::BrokerFailed { verb: "beat", error });
    let _ = orders.send(Order::Run(Box::new(tell)));
    lose_what_ran_out(&turns);
    jittered(interval / 5)
}

/// A lease that ran out unextended is over, whatever the broker thinks: told, not assumed.
fn lose_what_ran_out(turns: &[Arc<Turn>]) {
    turns.iter().filter(|turn| !turn.is_good()).for_each(|turn| turn.lose());
}
