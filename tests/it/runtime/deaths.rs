//! Every way an actor can die: each is noticed, the actor is made anew, and the next task is served.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix::{Actor, ActorContext, Arbiter, AsyncContext, Context, Handler, Running, WrapFuture};
use oncue::event::Event;
use oncue::outcome::Decision;
use oncue::restart::{Backoff, Policy};
use oncue::{Job, Output, Task, TaskResult, actor};

use super::company::*;

/// Where the actor dies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Factory,
    Started,
    Handle,
    Spawned,
    StopsItself,
    Stopping,
    Drop,
    Thread,
}

/// An actor that dies in its way; the second of its kind lives.
struct Mortal {
    way: Way,
    first: bool,
}

impl Mortal {
    fn dies(&self, way: Way) {
        assert!(!self.first || self.way != way, "planned, in {way:?}");
    }
}

impl Actor for Mortal {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        self.dies(Way::Started);
    }

    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        self.dies(Way::Stopping);
        Running::Stop
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        self.dies(Way::Drop);
    }
}

impl Handler<Job<Number>> for Mortal {
    type Result = TaskResult<Output>;

    fn handle(&mut self, _: Job<Number>, context: &mut Self::Context) -> Self::Result {
        self.dies(Way::Handle);
        if self.first {
            match self.way {
                Way::Spawned => {
                    let dies = async { panic!("planned, in Spawned") };
                    context.spawn(dies.into_actor(self));
                }
                Way::StopsItself | Way::Stopping | Way::Drop => context.stop(),
                Way::Thread => drop(Arbiter::current().stop()),
                _ => {}
            }
        }
        Ok(Output::none())
    }
}

/// Lets the actor die in this way, and expects it to be told so.
fn die(way: Way, told: &str) {
    let made = Arc::new(AtomicUsize::new(0));
    let count = made.clone();
    let factory = move || {
        let first = count.fetch_add(1, Ordering::SeqCst) == 0;
        assert!(!first || way != Way::Factory, "planned, in Factory");
        Mortal { way, first }
    };
    let backoff = Backoff { min: Duration::from_millis(1), ..Backoff::DEFAULT };
    let company = Company::start(client(), |worker| {
        worker.handle(actor(factory).policy(Policy::DEFAULT.backoff(backoff)))
    });
    let first = company.put(Number(0));
    let (mut seen, mut settled) = (false, None);
    company.until(|event| {
        match event {
            Event::Restarted { why, .. } if why == told => seen = true,
            Event::Settled { id, decision, .. } if *id == first.id() => settled = Some(*decision),
            _ => {}
        }
        (seen && matches!(settled, Some(Decision::Complete(_)))).then_some(())
    });
    let next = company.put(Number(1).draft().max_retry(0));
    assert!(matches!(company.settled(&next).0, Decision::Complete(_)));
    assert_eq!(made.load(Ordering::SeqCst), 2, "made anew once");
    let charged = show(&company.client, &first).expect("kept").trail;
    assert!(charged.crashes.is_empty());
    let is_at_fault = way == Way::Handle;
    assert_eq!(charged.attempts, u32::from(is_at_fault), "{way:?}");
    company.end();
}

#[test]
fn in_its_factory() {
    die(Way::Factory, "planned, in Factory");
}

#[test]
fn in_started() {
    die(Way::Started, "planned, in Started");
}

#[test]
fn in_handle() {
    die(Way::Handle, "planned, in Handle");
}

#[test]
fn in_a_future_of_its_own() {
    die(Way::Spawned, "planned, in Spawned");
}

#[test]
fn by_itself() {
    die(Way::StopsItself, "it stopped by itself");
}

#[test]
fn in_stopping() {
    die(Way::Stopping, "planned, in Stopping");
}

#[test]
fn in_drop() {
    die(Way::Drop, "planned, in Drop");
}

#[test]
fn with_its_thread() {
    die(Way::Thread, "its thread is gone");
}
