//! The Processor: one per handler and arbiter, or per replica. Spawns each run; never runs a handler in its own turn.

use std::rc::Rc;
use std::sync::Arc;

use actix::{Actor, Context, Handler, Message};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::handler::{Keeper, Runner, Surroundings};

use super::Shared;
use super::execute::execute;
use super::job::Job;
use super::place::Station;

/// Jobs for one Processor.
#[derive(Message)]
#[rtype(result = "()")]
#[expect(clippy::vec_box, reason = "a job stays where it is until its end")]
pub(crate) struct Deliver(pub(crate) Vec<Box<Job>>);

/// Runs the tasks of one kind on one arbiter.
pub(crate) struct Processor {
    shared: Arc<Shared>,
    station: Arc<Station>,
    runner: Option<Rc<dyn Runner>>,
    /// Its runner is made anew no more once this is dropped.
    gone: DropGuard,
}

impl Processor {
    pub(crate) fn new(station: Arc<Station>) -> Self {
        let (shared, gone) = (station.shared.clone(), CancellationToken::new().drop_guard());
        Self { shared, station, runner: None, gone }
    }
}

impl Actor for Processor {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        let kind = self.station.place.kind;
        let (Some(route), Some(ward)) =
            (self.shared.routes.get(kind), self.shared.wards.get(&kind))
        else {
            return;
        };
        let surroundings = Surroundings {
            threads: self.shared.threads.clone(),
            keeper: self.station.clone(),
            open: ward.opening(),
            gone: self.gone.token().clone(),
            patience: self.shared.patience(kind),
            room: self.shared.room(route),
            quiet: self.shared.quiet.clone(),
        };
        self.runner = Some(route.factory.make(&surroundings));
        // A handler actor says itself when it is there.
        if route.replicas.is_none() {
            self.station.up(true);
        }
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
