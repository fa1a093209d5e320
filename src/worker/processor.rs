//! The Processor: one per handler and arbiter. Spawns each run; never runs a handler in its own turn.

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use actix::{Actor, Addr, Context, Handler, Message};

use crate::handler::{Runner, Surroundings};
use crate::queue::KindHash;

use super::Shared;
use super::execute::execute;
use super::job::Job;

/// Jobs for one Processor.
#[derive(Message)]
#[rtype(result = "()")]
#[expect(clippy::vec_box, reason = "a job stays where it is until its end")]
pub(crate) struct Deliver(pub(crate) Vec<Box<Job>>);

/// Where the Processor of a kind lives, as its Fetcher sees it. Outlives the actor's incarnations.
pub(crate) struct Place {
    pub(crate) kind: KindHash,
    address: Mutex<Option<Addr<Processor>>>,
    /// Slots taken by its jobs: until they are settled, or longer if a run that was given up goes on.
    pub(crate) load: Arc<AtomicUsize>,
    /// Whether its runner takes tasks; a handler actor that is being made anew does not.
    pub(crate) up: Arc<AtomicBool>,
}

impl Place {
    pub(crate) fn new(kind: KindHash) -> Self {
        Self { kind, address: Mutex::default(), load: Arc::default(), up: Arc::default() }
    }

    pub(crate) fn set(&self, address: Option<Addr<Processor>>) {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = address;
    }

    /// Whether a job would find a Processor and a runner.
    pub(crate) fn is_up(&self) -> bool {
        let address = self.address.lock().unwrap_or_else(PoisonError::into_inner);
        self.up.load(Ordering::Acquire) && address.as_ref().is_some_and(Addr::connected)
    }

    /// Whether it has nothing to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.load.load(Ordering::Relaxed) == 0
    }

    /// The handler is to be made anew; runs under way end with the old one.
    pub(crate) fn renew(&self) {
        let address = self.address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(address) = address.as_ref() {
            address.do_send(Renew);
        }
    }

    /// Hands jobs over. Those that find nobody go back at no cost.
    #[expect(clippy::vec_box, reason = "a job stays where it is until its end")]
    pub(crate) fn deliver(&self, jobs: Vec<Box<Job>>) {
        let address = self.address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(address) = address.as_ref() {
            address.do_send(Deliver(jobs));
        }
    }
}

/// Make the handler anew.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Renew;

/// Runs the tasks of one kind on one arbiter.
pub(crate) struct Processor {
    shared: Arc<Shared>,
    kind: KindHash,
    runner: Option<Rc<dyn Runner>>,
    place: Arc<Place>,
}

impl Processor {
    pub(crate) fn new(shared: Arc<Shared>, place: Arc<Place>) -> Self {
        Self { shared, kind: place.kind, runner: None, place }
    }

    fn employ(&mut self) {
        if let Some(route) = self.shared.routes.get(self.kind) {
            self.place.up.store(true, Ordering::Release);
            let (shared, lanes) = (self.shared.clone(), self.shared.clone());
            // A Fetcher that found nobody up waits for room, not for tasks.
            let ready = move || {
                lanes.lanes.iter().for_each(|lane| lane.slots.nudge());
                lanes.alone.nudge();
            };
            let surroundings = Surroundings {
                ready: Arc::new(ready),
                threads: self.shared.threads.clone(),
                up: self.place.up.clone(),
                restarted: Arc::new(move |kind, why| {
                    shared.restarted(format!("handler {kind}"), why)
                }),
            };
            self.runner = Some(route.factory.make(&route.kind, &surroundings));
            (surroundings.ready)();
        }
    }
}

impl Actor for Processor {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        self.employ();
    }
}

impl Handler<Renew> for Processor {
    type Result = ();

    fn handle(&mut self, _: Renew, _: &mut Self::Context) {
        self.employ();
    }
}

impl Handler<Deliver> for Processor {
    type Result = ();

    fn handle(&mut self, Deliver(jobs): Deliver, _: &mut Self::Context) {
        self.shared.fail_point("processor");
        let Some(runner) = &self.runner else { return };
        for job in jobs {
            actix_rt::spawn(execute(job, runner.clone(), self.shared.clone()));
        }
    }
}
