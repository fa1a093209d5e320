//! The life of a worker: under which runtimes it starts, how it ends, and that nothing is lost by it.

use std::sync::Arc;
use std::time::Duration;

use oncue::event::Event;
use oncue::outcome::Decision;
use oncue::state::State;
use oncue::worker::Life;
use oncue::{Data, Task, TaskContext, TaskError, TaskResult};
use tokio::sync::Semaphore;

use super::company::*;

type Gate = Data<Arc<Semaphore>>;

async fn gated(_: Number, gate: Gate) -> TaskResult {
    gate.acquire().await?.forget();
    Ok(())
}

async fn round_trip() -> oncue::Result<u64> {
    let client = oncue::connect("sqlite::memory:").await?;
    let echo = |task: Number| async move { TaskResult::Ok(task.0) };
    let worker = client.worker().handle(echo).start().await?;
    let answer = client.enqueue(Number(42)).await?.result::<u64>().timeout(PATIENCE).await?;
    let report = worker.shutdown().await?;
    assert_eq!((report.completed, report.released), (1, 0));
    Ok(answer)
}

#[test]
fn it_starts_under_tokio_actix_and_its_own_runtime() {
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("tokio");
    assert_eq!(tokio.block_on(tokio.spawn(round_trip())).expect("joins").expect("tokio"), 42);
    assert_eq!(actix_web::rt::System::new().block_on(round_trip()).expect("actix"), 42);
    assert_eq!(oncue::block_on(round_trip()).expect("ours"), 42);
}

#[test]
fn a_shutdown_waits_for_what_runs_and_claims_nothing_more() {
    let gate = Arc::new(Semaphore::new(0));
    let data = gate.clone();
    let company = Company::start(client(), |worker| worker.handle(gated).data(data));
    let running = company.put(Number(0));
    company.started(&running);
    company.worker.quiet();
    let is_quiet = |event: &Event| matches!(event, Event::LifeChanged { life: Life::Quiet, .. });
    company.until(|event| is_quiet(event).then_some(()));
    let waiting = company.put(Number(1));
    let ending = std::thread::spawn(move || company.end());
    gate.add_permits(1);
    let (client, report) = ending.join().expect("ends");
    assert_eq!((report.completed, report.released, report.restarts), (1, 0, 0));
    assert_eq!(show(&client, &running).expect("kept").state, State::Completed);
    assert_eq!(show(&client, &waiting).expect("kept").state, State::Pending);
}

#[test]
fn what_does_not_end_in_time_goes_back_at_no_cost() {
    let gate = Arc::new(Semaphore::new(0));
    let company = Company::start(client(), |worker| {
        worker.handle(gated).data(gate).shutdown_timeout(Duration::from_millis(100))
    });
    let tasks: Vec<_> = (0..5).map(|n| company.put(Number(n))).collect();
    (0..5).for_each(|_| company.until(|e| matches!(e, Event::Started { .. }).then_some(())));
    let (client, report) = company.end();
    assert_eq!((report.completed, report.released), (0, 5));
    for task in &tasks {
        let view = show(&client, task).expect("kept");
        assert_eq!((view.state, view.trail.is_empty()), (State::Pending, true));
    }
}

#[test]
fn a_handler_that_is_asked_to_stop_and_fails_is_not_charged() {
    async fn obedient(_: Number, context: TaskContext) -> TaskResult {
        context.cancelled().await;
        Err(TaskError::new("told to stop"))
    }
    let company = Company::start(client(), |worker| {
        worker.handle(obedient).shutdown_timeout(Duration::from_millis(200))
    });
    let task = company.put(Number(0));
    company.started(&task);
    let (client, report) = company.end();
    assert_eq!((report.released, report.retried), (1, 0));
    let view = show(&client, &task).expect("kept");
    assert_eq!((view.state, view.trail.is_empty()), (State::Pending, true));
}

#[test]
fn what_a_handler_says_on_purpose_stands_when_it_is_asked_to_stop() {
    async fn resolute(_: Number, context: TaskContext) -> TaskResult {
        context.cancelled().await;
        Err(TaskError::skip_retry("no use"))
    }
    let company = Company::start(client(), |worker| {
        worker.handle(resolute).shutdown_timeout(Duration::from_millis(200))
    });
    let task = company.put(Number(0));
    company.started(&task);
    let (client, report) = company.end();
    assert_eq!((report.archived, report.released), (1, 0));
    assert_eq!(show(&client, &task).expect("kept").state, State::Archived);
}

#[test]
fn a_blocking_handler_that_does_not_end_is_given_up_and_its_task_goes_back() {
    fn stuck(_: Number, gate: Data<std::sync::Mutex<std::sync::mpsc::Receiver<()>>>) -> TaskResult {
        gate.lock().map_err(|_| TaskError::new("poisoned"))?.recv()?;
        Ok(())
    }
    let (free, gate) = std::sync::mpsc::channel::<()>();
    let company = Company::start(client(), |worker| {
        let worker = worker.handle(oncue::blocking(stuck)).data(std::sync::Mutex::new(gate));
        let worker = worker.handle(oncue::blocking(|_: Other| TaskResult::Ok(())));
        worker.shutdown_timeout(Duration::from_millis(50)).blocking_threads(1)
    });
    let task = company.put(Number(0));
    company.started(&task);
    // Of its own kind none is claimed beyond the threads there are; of another kind one waits for the thread.
    let (unclaimed, waiting) = (company.put(Number(1)), company.put(Other(1)));
    while show(&company.client, &waiting).expect("kept").state != State::Active {
        std::thread::yield_now();
    }
    let (client, report) = company.end();
    assert_eq!(report.released, 2, "what never had a thread goes back like the other");
    for task in [&task, &unclaimed, &waiting] {
        assert_eq!(show(&client, task).expect("kept").state, State::Pending);
    }
    drop(free);
}

#[test]
fn life_goes_on_and_never_back() {
    let company =
        Company::start(client(), |worker| worker.handle(gated).data(Arc::new(Semaphore::new(0))));
    assert_eq!(company.worker.life(), Life::Running);
    let mut lives = Vec::new();
    let Company { worker, client, .. } = company;
    let (tell, events) = std::sync::mpsc::channel();
    oncue::block_on(worker.shutdown()).expect("ends");
    let worker = client.worker().handle(gated).data(Arc::new(Semaphore::new(0)));
    let worker = worker.on_event(move |event| drop(tell.send(event.clone())));
    let worker = oncue::block_on(worker.start()).expect("a second worker on the same client");
    oncue::block_on(worker.shutdown()).expect("ends");
    while let Ok(event) = events.recv() {
        if let Event::LifeChanged { life, .. } = event {
            lives.push(life);
        }
    }
    assert_eq!(lives, [Life::Quiet, Life::Draining, Life::Stopped]);
}

#[test]
fn a_worker_that_is_dropped_lets_go_of_its_tasks() {
    let gate = Arc::new(Semaphore::new(0));
    let data = gate.clone();
    let first = Company::start(client(), |worker| {
        worker.handle(gated).data(data).shutdown_timeout(Duration::ZERO)
    });
    let task = first.put(Number(0));
    first.started(&task);
    let client = first.client.clone();
    drop(first);
    let second = Company::start(client, |worker| worker.handle(gated).data(gate.clone()));
    second.started(&task);
    gate.add_permits(1);
    assert!(matches!(second.settled(&task).0, Decision::Complete(_)));
}

#[test]
fn a_start_that_is_not_waited_for_leaves_no_worker_behind() {
    let (tell, events) = std::sync::mpsc::channel();
    let client = client_of(std::sync::Arc::new(super::proxy::Proxy::at_once(broker())));
    let worker = client.worker().handle(|_: Number| async { TaskResult::Ok(()) });
    let worker = worker.on_event(move |event| drop(tell.send(event.clone())));
    // Polled once, which is enough to start the thread, and dropped.
    let _ = futures::FutureExt::now_or_never(worker.start());
    let end = |event| matches!(event, Event::LifeChanged { life: Life::Stopped, .. });
    while !end(events.recv_timeout(PATIENCE).expect("it ends")) {}
}

#[test]
fn a_lease_without_end_is_refused() {
    let worker = client().worker().handle(|_: Number| async { TaskResult::Ok(()) });
    let error = oncue::block_on(worker.lease(Duration::MAX).start()).err().expect("refused");
    assert!(error.is_invalid(), "{error}");
}

#[test]
fn a_key_of_ones_own_finds_the_first_task() {
    let company =
        Company::start(client(), |worker| worker.handle(|_: Number| async { TaskResult::Ok(()) }));
    let first = company.put(Number(1).draft().key("invoice 7").retention(Duration::ZERO));
    company.settled(&first);
    assert!(show(&company.client, &first).is_none(), "it ran and is gone");
    let again = company.put(Number(1).draft().key("invoice 7"));
    let other = company.put(Number(1).draft().key("invoice 8"));
    assert_eq!((first.id(), false), (again.id(), again.is_created()));
    assert!(first.is_created() && other.is_created() && other.id() != first.id());
}

/// Whoever waits for a worker in a loop asks for it again and again: a signal is still one signal.
#[test]
fn a_signal_counts_once_however_often_the_worker_was_waited_for() {
    let gates = [(); 2].map(|()| Arc::new(Semaphore::new(0)));
    let data = gates.clone();
    let gated = move |task: Number| {
        let gate = data[usize::from(task.0 > 0)].clone();
        async move {
            gate.acquire().await?.forget();
            TaskResult::Ok(())
        }
    };
    let company = Company::start(client(), |worker| worker.handle(gated));
    let [first, last] = [0, 1].map(|number| {
        let task = company.put(Number(number));
        company.started(&task);
        task
    });
    for _ in 0..3 {
        assert!(futures::FutureExt::now_or_never(company.worker.run()).is_none());
    }
    // What is settled after them was ordered after them: by then it listens.
    company.worker.quiet();
    let is_life = |event: &Event, now: Life| match event {
        Event::LifeChanged { life, .. } => (*life == now).then_some(()),
        _ => None,
    };
    company.until(|event| is_life(event, Life::Quiet));
    gates[0].add_permits(1);
    company.settled(&first);
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM)
        .expect("a signal to this process");
    company.until(|event| is_life(event, Life::Draining));
    // A second order would have been heard by the time this is answered.
    assert_eq!(show(&company.client, &last).expect("kept").state, State::Active);
    gates[1].add_permits(1);
    assert!(matches!(company.settled(&last).0, Decision::Complete(_)));
    company.end();
}
