//! The tree: who lives where, who is started again and with whom, and what becomes of a kind or a thread that is
//! given up. It belongs to the control thread, and outlives every Supervisor that works on it.
//!
//! ```text
//! root (Builder::strategy, RestForOne unless told otherwise)
//!   Heartbeater | Handlers (one for one: a Processor, and maybe a replica, a place) | Scheduler | Fetcher
//! ```
//!
//! Started from the left to the right, stopped from the right to the left.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_rt::Arbiter;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::event::Event;
use crate::queue::Kind;
use crate::restart::{Directive, Exit, Record};

use super::assemble::Processors;
use super::config::chance;
use super::fetcher::Fetcher;
use super::heartbeater::Heartbeater;
use super::life::{Exited, Life, Reports, Term, Who, launch, live};
use super::place::Station;
use super::presence::Card;
use super::processor::Processor;
use super::scheduler::Scheduler;
use super::shared::Shared;
use super::threads::Threads;
use super::ward::Ward;
use super::{By, Order};

/// How long a restart waits for those who are stopped first; a thread that is stuck may keep them.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// A child of the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Heartbeater,
    Handlers,
    Scheduler,
    Fetcher,
}

/// From the left to the right.
const MEMBERS: [Member; 4] =
    [Member::Heartbeater, Member::Handlers, Member::Scheduler, Member::Fetcher];

/// Its exits may keep no lease from being extended.
const HEARTBEATER: usize = 0;

/// The Supervisor stands beside them: its exits are counted as of one more child.
const SUPERVISOR: usize = MEMBERS.len();

/// Who lives where.
pub(crate) struct Tree {
    pub(crate) shared: Arc<Shared>,
    pub(crate) beats: RefCell<Arbiter>,
    pub(crate) threads: Arc<Threads>,
    pub(crate) processors: Processors,
    pub(crate) exits: UnboundedSender<Exited>,
    pub(crate) orders: UnboundedSender<Order>,
    pub(crate) life: watch::Sender<Life>,
    pub(crate) card: Arc<Card>,
    /// Who lives.
    pub(crate) terms: RefCell<HashMap<Who, Living>>,
    pub(crate) next_term: Cell<u64>,
    pub(crate) root: RefCell<Record>,
    pub(crate) started: Cell<bool>,
    pub(crate) stop: CancellationToken,
}

/// An actor that lives, as far as is known.
pub(crate) struct Living {
    term: u64,
    stop: CancellationToken,
    over: CancellationToken,
}

impl Tree {
    /// A new term.
    pub(crate) fn term(&self, who: Who) -> Term {
        let number = self.next_term.replace(self.next_term.get() + 1);
        let reports = Reports { exits: self.exits.clone(), term: number };
        let term = Term::new(who, reports, self.stop.child_token());
        let living = Living { term: number, stop: term.stop.clone(), over: term.over.clone() };
        self.terms.borrow_mut().insert(who, living);
        term
    }

    /// Starts one incarnation of a child, if none lives.
    pub(super) fn start(&self, who: Who) {
        if self.stop.is_cancelled() || self.terms.borrow().contains_key(&who) {
            return;
        }
        let shared = self.shared.clone();
        match who {
            Who::Supervisor | Who::Replica(_) => {}
            Who::Heartbeater => {
                let (threads, orders) = (self.threads.clone(), self.orders.clone());
                let card = self.card.clone();
                if !self.beats.borrow().alive() {
                    match Arbiter::try_new() {
                        Ok(fresh) => drop(self.beats.replace(fresh)),
                        Err(error) => return self.no_thread(&error),
                    }
                }
                let place = self.beats.borrow().handle();
                let make = || Heartbeater { shared, threads, orders, card };
                launch(&place, self.term(who), make, |_| ());
            }
            // Here, and by no handle of this thread, which any handler can stop.
            Who::Scheduler => {
                drop(actix_rt::spawn(live(self.term(who), || Scheduler::new(shared), |_| ())));
            }
            Who::Fetcher => {
                drop(actix_rt::spawn(live(self.term(who), || Fetcher(shared), |_| ())));
            }
            Who::Processor(number) => {
                let (index, place) = self.processors[number].clone();
                if place.is_closed() || self.ward(number).is_some_and(|ward| ward.is_stopped()) {
                    return;
                }
                let (arbiter, thread) = match self.threads.at(index) {
                    Ok(at) => at,
                    Err(error) => return self.no_thread(&error),
                };
                let term = self.term(who);
                let (up, reports) = (Arc::default(), term.reports.clone());
                let (known, number) = (place.clone(), term.reports.term);
                place.expect(number);
                let station = Arc::new(Station { shared, place, up: Arc::clone(&up), reports });
                let started = move |address| known.occupy(number, address, up, thread);
                launch(&arbiter, term, move || Processor::new(station), started);
            }
        }
    }

    fn start_member(&self, member: Member) {
        self.actors(member).into_iter().for_each(|who| self.start(who));
    }

    fn actors(&self, member: Member) -> Vec<Who> {
        match member {
            Member::Heartbeater => vec![Who::Heartbeater],
            Member::Handlers => (0..self.processors.len()).map(Who::Processor).collect(),
            Member::Scheduler => vec![Who::Scheduler],
            Member::Fetcher => vec![Who::Fetcher],
        }
    }

    /// Everyone, left to right; once.
    pub(crate) fn start_all(&self) {
        if !self.started.get() {
            MEMBERS.into_iter().for_each(|member| self.start_member(member));
            self.started.set(true);
        }
    }

    /// Ends an actor in order; what tells when it is over, if it lives.
    pub(super) fn end(&self, who: Who) -> Option<CancellationToken> {
        let living = self.terms.borrow_mut().remove(&who)?;
        living.stop.cancel();
        if let Who::Processor(number) = who {
            self.processors[number].1.vacate();
            // What its replica had to tell is not heard any more.
            self.ward(number).inspect(|ward| ward.replaced());
        }
        Some(living.over)
    }

    pub(super) fn ward(&self, number: usize) -> Option<&Arc<Ward>> {
        self.shared.wards.get(&self.processors[number].1.kind)
    }

    /// What an actor is called outside.
    fn name(&self, who: Who) -> String {
        match (who, who.place().and_then(|number| self.ward(number))) {
            (Who::Replica(_), Some(ward)) => format!("handler {}", ward.kind),
            _ => who.to_string(),
        }
    }

    /// Whether the exit is of whoever lives now, and not of one that was replaced.
    fn is_current(&self, exited: &Exited) -> bool {
        let who = match exited.who {
            Who::Replica(number) => Who::Processor(number),
            other => other,
        };
        let terms = self.terms.borrow();
        terms.get(&who).is_some_and(|living| living.term == exited.term)
    }

    /// An actor ended: does what its policy says.
    pub(crate) fn exited(self: &Rc<Self>, exited: &Exited) {
        let Exited { who, exit, why, .. } = exited;
        if self.stop.is_cancelled() || !self.is_current(exited) {
            return;
        }
        match who {
            Who::Processor(number) | Who::Replica(number) => {
                self.handler_exited(*who, *number, *exit, why);
            }
            Who::Heartbeater => self.member_exited(Member::Heartbeater, *who, why),
            Who::Scheduler => self.member_exited(Member::Scheduler, *who, why),
            Who::Fetcher => self.member_exited(Member::Fetcher, *who, why),
            Who::Supervisor => {}
        }
        // A replica's Processor lives on.
        if !matches!(who, Who::Replica(_)) {
            self.terms.borrow_mut().remove(who);
        }
    }

    /// How long to wait before the Supervisor is started again; none: its restarts are used up.
    pub(crate) fn supervisor_exited(&self, why: &str) -> Option<Duration> {
        self.terms.borrow_mut().remove(&Who::Supervisor);
        self.root_exited(SUPERVISOR, Who::Supervisor, why)
    }

    fn root_exited(&self, child: usize, who: Who, why: &str) -> Option<Duration> {
        let policy = &self.shared.config.policy;
        let mut root = self.root.borrow_mut();
        match root.exited(policy, child, Exit::Abnormal, Instant::now(), chance()) {
            // Without beats every lease is lost, so whatever restarts it must be sooner.
            Directive::RestartAfter(wait) if child == HEARTBEATER => {
                Some(wait.min(self.shared.config.beat()))
            }
            Directive::RestartAfter(wait) => Some(wait),
            _ => {
                let name = self.name(who);
                self.shared.vitals.used_up(name.clone());
                self.fail(format!("{name} died too often, the last time: {why}"));
                None
            }
        }
    }

    /// Without threads nobody can be started again: only a fresh process can help.
    pub(super) fn no_thread(&self, error: &std::io::Error) {
        self.fail(format!("no thread could be started: {error}"));
    }

    /// The worker drains and ends with a failure.
    pub(super) fn fail(&self, failure: String) {
        tracing::error!(failure, "the worker shuts down");
        let _ = self.orders.send(Order::Shutdown(By::Failure(failure)));
    }

    fn member_exited(self: &Rc<Self>, member: Member, who: Who, why: &str) {
        let at = MEMBERS.iter().position(|other| *other == member).unwrap_or_default();
        let Some(wait) = self.root_exited(at, who, why) else {
            // Until the worker has ended its runs need their leases.
            if member == Member::Heartbeater {
                self.restart(at..at + 1, self.shared.config.beat(), who, why);
            }
            return;
        };
        let affected = self.shared.config.strategy.affected(at, MEMBERS.len());
        self.restart(affected, wait, who, why);
    }

    /// Restarts some members: the others than `who`, which died, are stopped first, from the right to the left.
    fn restart(self: &Rc<Self>, members: Range<usize>, wait: Duration, who: Who, why: &str) {
        let died = self.name(who);
        self.shared.restarted(died.clone(), why);
        let mut over = Vec::new();
        for other in MEMBERS[members.clone()].iter().rev().flat_map(|member| self.actors(*member)) {
            if other == who {
                continue;
            }
            if let Some(ending) = self.end(other) {
                self.shared.restarted(self.name(other), &format!("restarted with the {died}"));
                over.push(ending);
            }
        }
        let tree = self.clone();
        // A task of its own: it outlives this incarnation of the Supervisor.
        actix_rt::spawn(async move {
            let ended = futures::future::join_all(over.iter().map(|ending| ending.cancelled()));
            let _ = tokio::time::timeout(STOP_PATIENCE, ended).await;
            tokio::time::sleep(wait).await;
            MEMBERS[members].iter().for_each(|member| tree.start_member(*member));
        });
    }

    pub(super) fn handler_exited(self: &Rc<Self>, who: Who, number: usize, exit: Exit, why: &str) {
        let Some(ward) = self.ward(number).cloned() else { return };
        let is_replica = matches!(who, Who::Replica(_));
        let (directive, was_quarantined) = ward.exited(2 * number + usize::from(is_replica), exit);
        let (name, tree) = (self.name(who), self.clone());
        match directive {
            Directive::RestartAfter(wait) => {
                self.shared.restarted(name, why);
                actix_rt::spawn(async move {
                    tokio::time::sleep(wait).await;
                    tree.renew(number);
                });
            }
            Directive::QuarantineUntil(_) if was_quarantined => {}
            Directive::QuarantineUntil(until) => {
                let probe_after = until.saturating_duration_since(Instant::now());
                let (kind, why) = (ward.kind.clone(), why.to_owned());
                self.shared.tell(Event::Quarantined { kind, probe_after, why });
                actix_rt::spawn(async move {
                    tokio::time::sleep_until(until.into()).await;
                    tree.probe(&ward);
                });
            }
            Directive::Escalate => self.member_exited(Member::Handlers, who, why),
            Directive::StopChild => self.serve_no_longer(&ward, why),
            Directive::Shutdown => {
                self.shared.vitals.used_up(name.clone());
                self.fail(format!("{name} died too often, the last time: {why}"));
            }
            Directive::Probe | Directive::Nothing => {
                self.end(Who::Processor(number));
                self.left(&ward, number, why);
                // Another place may have the next probe.
                self.shared.nudge();
            }
        }
    }

    /// Starts what is down at a place.
    fn renew(&self, number: usize) {
        self.start(Who::Processor(number));
        self.processors[number].1.renew();
    }

    /// The places of a kind.
    fn places(&self, ward: &Ward) -> Vec<usize> {
        let kind = ward.kind.hash();
        let places = self.processors.iter().enumerate();
        places.filter(|(_, (_, place))| place.kind == kind).map(|(number, _)| number).collect()
    }

    fn probe(&self, ward: &Ward) {
        if self.stop.is_cancelled() || ward.look() != Directive::Probe {
            return;
        }
        self.shared.tell(Event::Probing { kind: ward.kind.clone() });
        for number in self.places(ward) {
            let who = Who::Processor(number);
            if !self.terms.borrow().contains_key(&who) {
                self.shared.restarted(self.name(who), "a quarantine is over");
                self.start(who);
            } else if self.processors[number].1.renew() {
                self.shared.restarted(self.name(Who::Replica(number)), "a quarantine is over");
            }
        }
        self.shared.nudge();
    }

    fn serve_no_longer(&self, ward: &Ward, why: &str) {
        ward.stop();
        for number in self.places(ward) {
            self.end(Who::Processor(number));
        }
        self.shared.tell(Event::Stopped { kind: ward.kind.clone(), why: why.to_owned() });
    }

    /// A place is left for good: with the last of them the kind is served no longer.
    fn left(&self, ward: &Ward, number: usize, why: &str) {
        self.processors[number].1.close();
        let is_open = |number: &usize| !self.processors[*number].1.is_closed();
        if !self.places(ward).iter().any(is_open) && !ward.is_stopped() {
            self.serve_no_longer(ward, why);
        }
    }

    /// The handler of a kind is made anew, on order: that is no death, and costs no budget.
    pub(crate) fn start_anew(self: &Rc<Self>, kind: &Kind) {
        let Some(ward) = self.shared.wards.get(&kind.hash()) else { return };
        let living = self.places(ward).into_iter().map(Who::Processor);
        let ended: Vec<_> = living.filter_map(|who| Some((who, self.end(who)?))).collect();
        // Of a kind that is served no longer nobody lives, and nobody is started.
        if !ended.is_empty() {
            self.shared.restarted(format!("handler {kind}"), "an operator ordered it");
        }
        // Each by itself: one on a thread that is stuck keeps no other waiting.
        for (who, over) in ended {
            let tree = self.clone();
            actix_rt::spawn(async move {
                let _ = tokio::time::timeout(STOP_PATIENCE, over.cancelled()).await;
                tree.start(who);
            });
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
