//! The Supervisor: starts the company, starts again who died, within a budget, and orders the shutdown.
//!
//! It runs no task and holds nothing that its own death could lose: the tree outlives it. Start goes left to
//! right (Heartbeater, Processors, Scheduler, Fetcher). At the end the Fetcher goes quiet first; the others end
//! when nothing is in our hands, or is handed back.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use actix::{Actor, Context, Handler, Message};
use actix_rt::{Arbiter, ArbiterHandle};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::event::Event;
use crate::restart::{Directive, Exit, Policy, Record};

use super::builder::Processors;
use super::config::{STOP_NOTICE, chance};
use super::fetcher::Fetcher;
use super::heartbeater::Heartbeater;
use super::life::{Exited, Life, Who, launch};
use super::processor::Processor;
use super::scheduler::Scheduler;
use super::shared::Shared;
use super::{Order, Report};

/// How long the end of a shutdown waits for the broker.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Who lives where, and how often each died. Belongs to the control thread, not to the Supervisor.
pub(crate) struct Tree {
    pub(crate) shared: Arc<Shared>,
    pub(crate) control: ArbiterHandle,
    pub(crate) beats: Arbiter,
    pub(crate) arbiters: Vec<Arbiter>,
    pub(crate) processors: Processors,
    pub(crate) exits: UnboundedSender<Exited>,
    pub(crate) orders: UnboundedSender<Order>,
    pub(crate) life: watch::Sender<Life>,
    pub(crate) windows: RefCell<HashMap<Who, Record>>,
    pub(crate) started: Cell<bool>,
    pub(crate) stop: CancellationToken,
}

impl Tree {
    /// Starts one incarnation of a child.
    fn start(&self, who: &Who) {
        let shared = self.shared.clone();
        let (stop, exits) = (self.stop.clone(), self.exits.clone());
        let at_home = &self.control;
        let taken = match who {
            Who::Supervisor => true,
            Who::Heartbeater => {
                let threads = self.arbiters.iter().map(Arbiter::handle).collect();
                let make = || Heartbeater { shared, threads };
                launch(&self.beats.handle(), who.clone(), stop, exits, make, |_| ())
            }
            Who::Scheduler => {
                launch(at_home, who.clone(), stop, exits, || Scheduler(shared), |_| ())
            }
            Who::Fetcher => launch(at_home, who.clone(), stop, exits, || Fetcher(shared), |_| ()),
            Who::Processor(number) => {
                let (arbiter, place) = &self.processors[*number];
                let (place, known) = (place.clone(), place.clone());
                let make = move || Processor::new(shared, place);
                let started = move |address| known.set(Some(address));
                let arbiter = self.arbiters[*arbiter].handle();
                launch(&arbiter, who.clone(), stop, exits, make, started)
            }
        };
        if !taken {
            let why = "its arbiter is gone".to_owned();
            // The receiver lives as long as the control thread.
            let _ = self.exits.send(Exited { who: who.clone(), why });
        }
    }

    /// Everyone, left to right; once.
    fn start_all(&self) {
        if self.started.replace(true) {
            return;
        }
        self.start(&Who::Heartbeater);
        (0..self.processors.len()).for_each(|number| self.start(&Who::Processor(number)));
        self.start(&Who::Scheduler);
        self.start(&Who::Fetcher);
    }

    /// How long to wait before `who` is started again; none: the budget is used up.
    pub(crate) fn wait_for(&self, who: &Who) -> Option<Duration> {
        let mut windows = self.windows.borrow_mut();
        let record = windows.entry(who.clone()).or_default();
        match record.exited(&Policy::ROOT, 0, Exit::Abnormal, Instant::now(), chance()) {
            Directive::RestartAfter(wait) => Some(wait),
            _ => None,
        }
    }

    /// Goes on in life; never back.
    pub(crate) fn go_on(&self, to: Life) {
        let moved = self.life.send_if_modified(|life| {
            let onward = to > *life;
            *life = (*life).max(to);
            onward
        });
        if moved {
            self.shared.tell(Event::LifeChanged { queues: self.shared.queues(), life: to });
        }
    }
}

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

    fn handle(&mut self, Exited { who, why }: Exited, _: &mut Self::Context) {
        self.0.shared.fail_point("supervisor");
        if self.0.stop.is_cancelled() {
            return;
        }
        self.0.shared.restarted(who.to_string(), &why);
        let tree = self.0.clone();
        match tree.wait_for(&who) {
            // A task of its own: it outlives this incarnation of the Supervisor.
            Some(wait) => drop(actix_rt::spawn(async move {
                tokio::time::sleep(wait).await;
                tree.start(&who);
            })),
            None => {
                tracing::error!(%who, "restarts used up; the worker shuts down");
                let failure = format!("{who} died too often, the last time: {why}");
                let _ = tree.orders.send(Order::Shutdown { failure: Some(failure) });
            }
        }
    }
}

/// Claims nothing more, waits for the runs within the limit, hands the rest back at no cost.
pub(crate) async fn shut_down(tree: &Tree) -> Report {
    let shared = &tree.shared;
    shared.quiet.cancel();
    tree.go_on(Life::Quiet);
    tree.go_on(Life::Draining);
    let limit = shared.config.shutdown;
    let notice = limit.saturating_sub(STOP_NOTICE).max(limit / 2);
    tokio::select! {
        () = shared.drained() => {}
        () = shared.cut.cancelled() => {}
        () = async {
            tokio::time::sleep(notice).await;
            shared.turns.current().iter().for_each(|turn| turn.cancel_all());
            tokio::time::sleep(limit.saturating_sub(notice)).await;
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
    tree.stop.cancel();
    for arbiter in &tree.arbiters {
        arbiter.stop();
    }
    tree.beats.stop();
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
