//! Handler actors take one task at a time, whatever becomes of their neighbours and their runs.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix::{Actor, Context, Handler, ResponseFuture};
use oncue::event::Event;
use oncue::outcome::Decision;
use oncue::{Job, Output, Task, TaskResult, actor};
use tokio::sync::Semaphore;

use super::company::*;

/// A task that waits for the gate, one that kills its actor, and one that just ends.
const WAIT: Number = Number(0);
const DIE: Number = Number(1);
const PASS: Number = Number(2);

/// What the replicas of a test share.
#[derive(Clone)]
struct Room {
    gate: Arc<Semaphore>,
    overlaps: Arc<AtomicUsize>,
}

impl Room {
    fn new() -> Self {
        Self { gate: Arc::new(Semaphore::new(0)), overlaps: Arc::default() }
    }

    fn factory(&self) -> impl Fn() -> Solo + Send + Sync + 'static {
        let room = self.clone();
        move || Solo { busy: Rc::default(), room: room.clone() }
    }
}

struct Solo {
    busy: Rc<Cell<bool>>,
    room: Room,
}

impl Actor for Solo {
    type Context = Context<Self>;
}

impl Handler<Job<Number>> for Solo {
    type Result = ResponseFuture<TaskResult<Output>>;

    fn handle(&mut self, job: Job<Number>, _: &mut Self::Context) -> Self::Result {
        assert!(job.task.0 != DIE.0, "planned");
        if self.busy.replace(true) {
            self.room.overlaps.fetch_add(1, Ordering::SeqCst);
        }
        let (busy, gate) = (self.busy.clone(), self.room.gate.clone());
        Box::pin(async move {
            if job.task.0 == WAIT.0 {
                gate.acquire().await?.forget();
            }
            busy.set(false);
            Ok(Output::none())
        })
    }
}

#[test]
fn a_busy_replica_is_given_no_second_task_while_its_neighbour_is_made_anew() {
    let room = Room::new();
    let factory = room.factory();
    let company = Company::start(client(), |worker| worker.handle(actor(factory).replicas(2)));
    let waiting = company.put(WAIT);
    company.started(&waiting);
    let deadly = company.put(DIE.draft().max_retry(0));
    let (mut settled, mut died) = (false, false);
    company.until(|event| {
        settled |= matches!(event, Event::Settled { id, .. } if *id == deadly.id());
        died |= matches!(event, Event::Restarted { .. });
        (settled && died).then_some(())
    });
    let third = company.put(PASS);
    assert!(matches!(company.settled(&third).0, Decision::Complete(_)));
    room.gate.add_permits(1);
    assert!(matches!(company.settled(&waiting).0, Decision::Complete(_)));
    assert_eq!(room.overlaps.load(Ordering::SeqCst), 0);
}

#[test]
fn a_replica_whose_task_ran_out_of_time_takes_no_other_until_it_answers() {
    let room = Room::new();
    let factory = room.factory();
    let company = Company::start(client(), |worker| {
        let beside = |_: Other| async { TaskResult::Ok(()) };
        worker.handle(actor(factory)).handle(beside).threads(1)
    });
    let late = company.put(WAIT.draft().timeout(Duration::from_millis(20)).max_retry(0));
    assert_eq!(company.settled(&late).1.as_deref(), Some("timeout"));
    let next = company.put(PASS);
    // What is enqueued later and ends earlier shows that the Fetcher had the choice.
    for number in 0..3 {
        let beside = company.put(Other(number).draft().queue("default"));
        company.settled(&beside);
    }
    assert_eq!(room.overlaps.load(Ordering::SeqCst), 0);
    room.gate.add_permits(1);
    assert!(matches!(company.settled(&next).0, Decision::Complete(_)));
    assert_eq!(room.overlaps.load(Ordering::SeqCst), 0);
    assert_eq!(company.end().1.restarts, 0, "a timeout is no failure of the actor");
}
