//! A task that took workers down runs alone: nothing else is in the hands of its worker meanwhile.

use std::sync::Arc;
use std::time::Duration;

use oncue::broker::{Ask, Lane, Order, Session, Settlement};
use oncue::clock::{Clock, SystemClock};
use oncue::event::Event;
use oncue::queue::{KindHash, QueueName};
use oncue::state::State;
use oncue::task::{Crash, Trail};
use oncue::{Client, Data, Draft, Handle, Task, TaskResult, blocking};
use tokio::sync::Semaphore;

use super::company::*;

/// Where runs wait to be let go: one gate a number.
struct Gates([Semaphore; 3]);

async fn wait(task: Number, gates: Data<Arc<Gates>>) -> TaskResult {
    let gate = &gates.0[task.0 as usize];
    gate.acquire().await.expect("never closed").forget();
    Ok(())
}

/// A task that was in two crashes, in the hands of one who will say that it is to run alone.
struct Suspect {
    task: Handle,
    session: Session,
    release: Settlement,
}

impl Suspect {
    fn of(client: &Client, task: impl Into<Draft<Number>>) -> Self {
        let task = oncue::block_on(client.enqueue(task)).expect("enqueued");
        let session = Session::fresh(QueueName::parse("default").expect("a name"));
        let ask = Ask {
            session: session.clone(),
            lease: Duration::from_secs(60),
            max: 1,
            lane: Lane::Shared,
            accept: vec![(KindHash::of("number"), 1)],
        };
        let claims = oncue::block_on(client.broker().dequeue(ask)).expect("claimed");
        let mut trail = Trail::default();
        trail.crashes = vec![Crash { at: SystemClock.now(), alone: false }; 2];
        let order = Order::Release { lane: Lane::Alone };
        let release = Settlement { trail: Some(trail), ..Settlement::new(claims[0].ticket, order) };
        Self { task, session, release }
    }

    /// Says it, and answers which task it is.
    fn release(self, client: &Client) -> Handle {
        let settled = client.broker().settle(self.session, vec![self.release]);
        oncue::block_on(settled).expect("released");
        self.task
    }
}

fn state(company: &Company, task: &Handle) -> State {
    show(&company.client, task).expect("there").state
}

#[test]
fn nothing_runs_beside_a_task_that_runs_alone() {
    let client = client();
    let suspect = Suspect::of(&client, Number(1));
    let gates = Arc::new(Gates([0, 0, 0].map(Semaphore::new)));
    let neighbour = oncue::block_on(client.enqueue(Number(0))).expect("enqueued");
    let company = Company::start(client, |worker| worker.handle(wait).data(gates.clone()));
    company.started(&neighbour);
    let suspect = suspect.release(&company.client);
    // Claimed, and not begun while its neighbour runs.
    while state(&company, &suspect) != State::Active {
        std::thread::yield_now();
    }
    let late = company.put(Number(2));
    gates.0[0].add_permits(1);
    let first = company.until(|event| match event {
        Event::Started { id, .. } => Some(*id),
        _ => None,
    });
    assert_eq!(first, suspect.id(), "it has its turn before what came later");
    assert_eq!(state(&company, &late), State::Pending);
    gates.0[2].add_permits(1);
    gates.0[1].add_permits(1);
    company.settled(&late);
    company.end();
}

#[test]
fn it_runs_alone_however_long_the_others_took_to_end() {
    // More than it takes to come upon the task and the turn of those that run alone, less than the patience with others.
    const LONG: Duration = Duration::from_millis(2_500);
    let client = client();
    let suspect = Suspect::of(&client, Number(1));
    let neighbour = oncue::block_on(client.enqueue(Number(0))).expect("enqueued");
    let company = Company::start(client, |worker| {
        worker.handle(async |task: Number| -> TaskResult {
            if task.0 == 0 {
                tokio::time::sleep(LONG).await;
            }
            Ok(())
        })
    });
    company.started(&neighbour);
    let suspect = suspect.release(&company.client);
    company.settled(&suspect);
    let (_, report) = company.end();
    assert_eq!(report.released, 1, "it went back once, and began when it came again");
}

#[test]
fn a_task_that_cannot_run_alone_soon_runs_beside_others_and_is_not_held_to_have_been_alone() {
    let client = client();
    let suspect = Suspect::of(&client, Number(1));
    let neighbour = oncue::block_on(client.enqueue(Number(0))).expect("enqueued");
    let gates = Arc::new(Gates([0, 0, 0].map(Semaphore::new)));
    let company = Company::start(client, |worker| {
        worker
            .handle(wait)
            .data(gates)
            .lease(Duration::from_millis(600))
            .shutdown_timeout(Duration::ZERO)
    });
    company.started(&neighbour);
    let suspect = suspect.release(&company.client);
    company.started(&suspect);
    let view = show(&company.client, &suspect).expect("there");
    assert_eq!((view.trail.alone, view.trail.crashes.len()), (false, 2));
    assert_eq!(state(&company, &neighbour), State::Active);
    company.end();
}

#[test]
fn a_run_alone_that_cannot_be_stopped_keeps_nobody_waiting_once_it_is_given_up() {
    let client = client();
    let suspect = Number(1).draft().timeout(Duration::from_millis(20)).max_retry(0);
    let suspect = Suspect::of(&client, suspect).release(&client);
    let (free, gate) = std::sync::mpsc::channel::<()>();
    let gate = Arc::new(std::sync::Mutex::new(gate));
    let company = Company::start(client, |worker| {
        let blocks = move |_: Number| -> TaskResult {
            let _ = gate.lock().map(|gate| gate.recv());
            Ok(())
        };
        worker.handle(blocking(blocks)).handle(|_: Other| async { TaskResult::Ok(()) })
    });
    assert_eq!(company.settled(&suspect).1.as_deref(), Some("timeout"));
    let beside = company.put(Other(0));
    company.settled(&beside);
    drop(free);
    company.end();
}
