//! What operators do to a worker that runs: cancel its tasks, make it quiet, stop it, start a handler anew.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, Context, Handler};
use futures::FutureExt;
use oncue::broker::{Cancelled, Orders, Signal};
use oncue::event::Event;
use oncue::outcome::Decision;
use oncue::queue::Kind;
use oncue::state::{Reason, State};
use oncue::worker::Life;
use oncue::{Data, Job, Output, Task, TaskContext, TaskError, TaskResult};
use tokio::sync::Semaphore;

use super::company::*;
use super::proxy::Proxy;

const CANCELLED: Decision = Decision::Archive(Reason::Cancelled);

/// Tells when it is dropped.
struct Dropped(Sender<u64>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.send(0);
    }
}

/// 0: waits for ever. 1: heeds its context and fails. 2: heeds it and succeeds. 3: at once.
async fn behave(task: Number, context: TaskContext, tell: Data<Sender<u64>>) -> TaskResult<u64> {
    let _dropped = Dropped(Sender::clone(&tell));
    match task.0 {
        0 => std::future::pending().await,
        1 => {
            context.cancelled().await;
            Err(TaskError::new("told to stop"))
        }
        _ => Ok(task.0),
    }
}

fn cancel(task: &oncue::Handle) -> Cancelled {
    oncue::block_on(task.cancel()).expect("cancelled")
}

#[test]
fn a_running_task_is_cut_off_and_its_neighbour_is_not() {
    let (tell, dropped) = channel::<u64>();
    let company = Company::start(client(), |worker| worker.handle(behave).data(tell));
    let neighbour = company.put(Number(0));
    company.started(&neighbour);
    for number in [0, 1] {
        let task = company.put(Number(number));
        company.started(&task);
        assert_eq!(cancel(&task), Cancelled::Asked);
        assert_eq!(company.settled(&task).0, CANCELLED);
        dropped.recv_timeout(PATIENCE).expect("its future is dropped");
        let view = show(&company.client, &task).expect("kept");
        assert_eq!((view.state, view.reason), (State::Archived, Some(Reason::Cancelled)));
        assert_eq!(view.trail.attempts, 0);
        let error = oncue::block_on(async { task.result::<u64>().timeout(PATIENCE).await });
        assert!(error.expect_err("no result").to_string().contains("cancelled"));
        assert_eq!(cancel(&task), Cancelled::Ended);
    }
    assert_eq!(show(&company.client, &neighbour).expect("there").state, State::Active);
    assert!(dropped.try_recv().is_err(), "the neighbour runs on");
    assert_eq!(cancel(&neighbour), Cancelled::Asked);
    company.settled(&neighbour);
    company.end();
}

#[test]
fn what_waits_is_archived_without_a_worker() {
    let client = client();
    let task = oncue::block_on(client.enqueue(Number(3))).expect("enqueued");
    assert_eq!(cancel(&task), Cancelled::Archived);
    let (tell, _dropped) = channel::<u64>();
    let company = Company::start(client, |worker| worker.handle(behave).data(tell));
    let other = company.put(Number(3));
    assert_eq!(company.settled(&other).0, Decision::Complete(Number::RETENTION));
    assert_eq!(show(&company.client, &task).expect("kept").state, State::Archived);
    company.end();
}

#[test]
fn a_cancelled_blocking_run_keeps_its_slot_until_it_returns() {
    let (release, gate) = channel::<()>();
    let gate = Arc::new(std::sync::Mutex::new(gate));
    let hold = move |_: Number, _context: TaskContext| -> TaskResult {
        let _ = gate.lock().expect("not poisoned").recv();
        Ok(())
    };
    let company = Company::start(client(), |worker| {
        worker.handle(oncue::blocking(hold).concurrency(1)).handle(nothing)
    });
    let task = company.put(Number(0));
    company.started(&task);
    let waits = company.put(Number(0));
    assert_eq!(cancel(&task), Cancelled::Asked);
    assert_eq!(company.settled(&task).0, CANCELLED);
    let other = company.put(Other(1));
    company.settled(&other);
    assert_eq!(show(&company.client, &waits).expect("there").state, State::Pending);
    release.send(()).expect("it listens");
    company.started(&waits);
    release.send(()).expect("it listens");
    company.settled(&waits);
    company.end();
}

async fn nothing(_: Other) -> TaskResult {
    Ok(())
}

#[test]
fn a_worker_makes_itself_known_and_is_gone_when_it_ends() {
    let company = Company::start(client(), |worker| worker.handle(nothing));
    let broker = company.client.broker().clone();
    let all = || oncue::block_on(broker.workers()).expect("workers");
    // The first beat comes by itself.
    let there = loop {
        match all().pop() {
            Some(there) => break there,
            None => std::thread::yield_now(),
        }
    };
    let about = &there.about;
    assert_eq!(there.worker, company.worker.id());
    assert_eq!((about.pid, about.life.as_str()), (std::process::id(), "running"));
    assert_eq!(
        (&about.queues[..], &about.kinds[..]),
        (&["others".into()][..], &["other".into()][..])
    );
    assert_eq!(there.orders, Orders::default());
    company.end();
    // It takes its leave with a word that holds for a millisecond.
    while !all().is_empty() {
        std::thread::yield_now();
    }
}

#[test]
fn what_changes_is_shown_before_the_next_beat() {
    // Beats are twenty minutes apart.
    let lease = Duration::from_secs(3_600);
    let company = Company::start(client(), |worker| worker.handle(nothing).lease(lease));
    let broker = company.client.broker().clone();
    let shows = |life: &str| {
        let deadline = std::time::Instant::now() + PATIENCE;
        let all = || oncue::block_on(broker.workers()).expect("workers");
        while !all().iter().any(|worker| worker.about.life == life) {
            assert!(std::time::Instant::now() < deadline, "not {life} in time");
            std::thread::yield_now();
        }
    };
    shows("running");
    company.worker.quiet();
    shows("quiet");
    company.end();
}

fn signal(company: &Company, signal: Signal) {
    let (broker, id) = (company.client.broker(), company.worker.id());
    // Before its first beat nobody knows it.
    while !oncue::block_on(broker.signal(id, signal.clone())).expect("answered") {
        std::thread::yield_now();
    }
}

fn life(company: &Company, life: Life) {
    company.until(|event| match event {
        Event::LifeChanged { life: now, .. } => (*now == life).then_some(()),
        _ => None,
    });
}

#[test]
fn a_worker_goes_quiet_and_stops_as_it_is_told() {
    let (tell, _dropped) = channel::<u64>();
    let company = Company::start(client(), |worker| {
        worker.handle(behave).data(tell).shutdown_timeout(Duration::from_millis(100))
    });
    let running = company.put(Number(0));
    company.started(&running);
    signal(&company, Signal::Quiet);
    life(&company, Life::Quiet);
    let waits = company.put(Number(3));
    assert_eq!(show(&company.client, &running).expect("there").state, State::Active);
    signal(&company, Signal::Stop);
    let report = oncue::block_on(company.worker.run()).expect("ends by itself");
    assert_eq!(report.completed, 0);
    for task in [running, waits] {
        assert_eq!(show(&company.client, &task).expect("there").state, State::Pending);
    }
}

#[test]
fn one_order_to_stop_is_no_hurry_however_often_it_is_told() {
    let (mut proxy, (tell, told)) = (Proxy::of(broker()), channel());
    proxy.beat = Box::new(move |inner, beat| {
        let (reply, tell) = (inner.beat(beat), tell.clone());
        async move {
            reply.await.inspect(|beaten| {
                let _ = beaten.orders.stop.then(|| tell.send(()));
            })
        }
        .boxed()
    });
    // A hook that blocks the control thread, so that every beat tells the order again.
    let ((enter, entered), (leave, left)) = (channel(), channel::<()>());
    let left = Mutex::new(left);
    let gate = Arc::new(Semaphore::new(0));
    let data = gate.clone();
    let company = Company::start(client_of(Arc::new(proxy)), |worker| {
        let worker = worker.handle(async |task: Number, gate: Data<Arc<Semaphore>>| {
            if task.0 == 0 {
                gate.acquire().await?.forget();
                return Ok(());
            }
            Err(TaskError::new("it fails"))
        });
        let block = move |_: &_| {
            let _ = enter.send(());
            let _ = left.lock().map(|left| left.recv());
        };
        worker.data(data).lease(Duration::from_secs(1)).on_error(block)
    });
    let running = company.put(Number(0));
    company.started(&running);
    company.put(Number(1).draft().max_retry(0));
    entered.recv_timeout(PATIENCE).expect("blocked");
    signal(&company, Signal::Stop);
    (0..4).for_each(|_| told.recv_timeout(PATIENCE).expect("told"));
    drop(leave);
    life(&company, Life::Draining);
    // Time enough to be cut.
    (0..2).for_each(|_| told.recv_timeout(PATIENCE).expect("told"));
    gate.add_permits(1);
    let (_, report) = company.end();
    assert_eq!((report.completed, report.released), (1, 0));
}

/// Counts its incarnations.
struct Counting(Arc<AtomicUsize>);

impl Actor for Counting {
    type Context = Context<Self>;
}

impl Handler<Job<Number>> for Counting {
    type Result = TaskResult<Output>;

    fn handle(&mut self, _: Job<Number>, _: &mut Self::Context) -> Self::Result {
        Output::of(&self.0.load(Ordering::SeqCst))
    }
}

#[test]
fn a_handler_is_started_anew_once_for_each_time_it_is_ordered() {
    let made = Arc::new(AtomicUsize::new(0));
    let counter = made.clone();
    let factory = move || {
        counter.fetch_add(1, Ordering::SeqCst);
        Counting(counter.clone())
    };
    let company = Company::start(client(), |worker| worker.handle(oncue::actor(factory)));
    company.settled(&company.put(Number(0)));
    for expected in 2..4 {
        signal(&company, Signal::Restart(Kind::parse("number").expect("a kind")));
        company.until(|event| match event {
            Event::Restarted { who, .. } => who.contains("number").then_some(()),
            _ => None,
        });
        let result = loop {
            let task = company.put(Number(0));
            company.settled(&task);
            let result = oncue::block_on(async { task.result::<usize>().timeout(PATIENCE).await });
            // The order is told before the new one is made.
            match result.expect("a result") {
                made if made < expected => continue,
                made => break made,
            }
        };
        assert_eq!(result, expected);
    }
    company.end();
}
