//! The Supervisor: starts the company, hears who died, has the tree do what the policy says, and orders the
//! shutdown.
//!
//! It runs no task and holds nothing that its own death could lose: the tree outlives it. At the end the Fetcher
//! goes quiet first; the others end when nothing is in our hands, or is handed back.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::{Actor, Context, Handler, Message};

use super::Report;
use super::config::STOP_NOTICE;
use super::life::{Exited, Life};
use super::shared::Shared;
use super::tree::Tree;
use super::ward::Ward;

/// How long the end of a shutdown waits for the broker.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The actor.
pub(crate) struct Supervisor(pub(crate) Rc<Tree>);

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        self.0.start_all();
    }
}

impl Message for Exited {
    type Result = ();
}

impl Handler<Exited> for Supervisor {
    type Result = ();

    fn handle(&mut self, exited: Exited, _: &mut Self::Context) {
        self.0.shared.fail_point("supervisor");
        self.0.exited(&exited);
    }
}

/// When runs are asked to stop, counted from the start of a shutdown with this limit, and how long they then have.
fn with_notice(limit: Duration) -> (Duration, Duration) {
    let notice = limit.saturating_sub(STOP_NOTICE).max(limit / 2);
    (notice, limit.saturating_sub(notice))
}

/// Cuts the runs of a kind short that gives them less time than the worker does.
async fn cut_short(shared: Arc<Shared>, ward: Arc<Ward>, limit: Duration) {
    let (notice, rest) = with_notice(limit);
    tokio::time::sleep(notice).await;
    shared.turns.current().iter().for_each(|turn| turn.cancel_kind(ward.kind.hash()));
    tokio::time::sleep(rest).await;
    ward.cut.cancel();
}

/// Claims nothing more, waits for the runs within the limit, hands the rest back at no cost.
pub(crate) async fn shut_down(tree: &Tree) -> Report {
    let shared = &tree.shared;
    shared.quiet.cancel();
    tree.go_on(Life::Quiet);
    tree.go_on(Life::Draining);
    let limit = shared.config.policy.shutdown.limit();
    for ward in shared.wards.values() {
        if let Some(own) = ward.policy.shutdown.limit().filter(|own| limit.is_none_or(|l| *own < l))
        {
            actix_rt::spawn(cut_short(shared.clone(), ward.clone(), own));
        }
    }
    tokio::select! {
        () = shared.drained() => {}
        () = shared.cut.cancelled() => {}
        () = async {
            let Some(limit) = limit else { return std::future::pending().await };
            let (notice, rest) = with_notice(limit);
            tokio::time::sleep(notice).await;
            shared.turns.current().iter().for_each(|turn| turn.cancel_all());
            tokio::time::sleep(rest).await;
        } => {}
    }
    shared.cut.cancel();
    let _ = tokio::time::timeout(LAST_WORDS, shared.drained()).await;
    // A run on a thread that does not answer is given up: its task goes back like the others. So does what is
    // claimed in this moment: a turn that is lost starts no run.
    let turns = shared.turns.current();
    let given_up = shared.turns.held();
    turns.iter().for_each(|turn| turn.lose());
    let retire = turns.iter().map(|turn| shared.broker.retire(turn.session.clone(), Vec::new()));
    let retired = futures::future::join_all(retire);
    if tokio::time::timeout(LAST_WORDS, retired).await.is_err() {
        tracing::warn!("the broker did not answer; what is left goes back when the lease is over");
    }
    let _ = tokio::time::timeout(LAST_WORDS, tree.card.remove(shared)).await;
    tree.stop.cancel();
    tree.threads.stop();
    tree.beats.borrow().stop();
    tree.go_on(Life::Stopped);
    let counts = &shared.counts;
    Report {
        completed: counts.completed.load(Ordering::Relaxed),
        retried: counts.retried.load(Ordering::Relaxed),
        archived: counts.archived.load(Ordering::Relaxed),
        released: counts.released.load(Ordering::Relaxed) + given_up as u64,
        restarts: counts.restarts.load(Ordering::Relaxed),
    }
}
