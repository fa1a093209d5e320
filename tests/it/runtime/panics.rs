//! Any actor may die: planned panics in each of them under load, and nothing is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use oncue::event::Event;
use oncue::outcome::Decision;
use oncue::state::State;
use oncue::worker::FailPoints;
use oncue::{Data, TaskResult};

use super::company::*;

type Runs = Data<Arc<AtomicUsize>>;

async fn run(_: Number, runs: Runs) -> TaskResult {
    runs.fetch_add(1, Ordering::SeqCst);
    tokio::task::yield_now().await;
    Ok(())
}

/// Four panics of one actor, which its budget bears, while 2,000 tasks run.
fn survive(place: &'static str) {
    let (planned, runs) = (Arc::new(FailPoints::default()), Arc::new(AtomicUsize::new(0)));
    let (points, data) = (planned.clone(), runs.clone());
    let client = client();
    let lease = std::time::Duration::from_millis(900);
    let company = Company::start(client, |worker| {
        worker.handle(run).data(data).failpoints(points).lease(lease)
    });
    planned.panic(place, 4);
    let enqueue = |base: u64| {
        let tasks = (base..base + 500).map(Number);
        oncue::block_on(company.client.enqueue_all(tasks)).expect("enqueued");
    };
    (0..4).for_each(|round| enqueue(round * 500));
    let (mut deaths, mut completed) = (0, 0);
    let mut count_event = |event: &Event| {
        match event {
            Event::Restarted { who, .. } if who.starts_with(place) => deaths += 1,
            Event::Settled { decision: Decision::Complete(_), .. } => completed += 1,
            Event::Restarted { who, why } => panic!("{who} died: {why}"),
            _ => {}
        }
        (deaths, completed)
    };
    company.until(|event| (count_event(event) == (4, 2_000)).then_some(()));
    enqueue(2_000);
    company.until(|event| (count_event(event) == (4, 2_500)).then_some(()));
    assert_eq!(planned.left(place), 0);
    let (client, report) = company.end();
    assert_eq!((report.restarts, report.archived), (4, 0));
    for state in [State::Pending, State::Active, State::Retry] {
        assert_eq!(count(&client, "default", state), 0, "{state}");
    }
    assert_eq!(runs.load(Ordering::SeqCst), 2_500, "released, never run twice, charged no crash");
}

#[test]
fn the_fetcher_may_die() {
    survive("fetcher");
}

#[test]
fn the_scheduler_may_die() {
    survive("scheduler");
}

#[test]
fn the_heartbeater_may_die() {
    survive("heartbeater");
}

#[test]
fn a_processor_may_die() {
    survive("processor");
}

#[test]
fn the_supervisor_may_die() {
    let points = Arc::new(FailPoints::default());
    let (planned, runs) = (points.clone(), Arc::new(AtomicUsize::new(0)));
    let data = runs.clone();
    let company =
        Company::start(client(), |worker| worker.handle(run).data(data).failpoints(points));
    planned.panic("supervisor", 1);
    planned.panic("scheduler", 2);
    // The first death kills the Supervisor that hears of it; what it was told of is told again.
    for _ in 0..2 {
        company.until(|event| matches!(event, Event::Restarted { .. }).then_some(()));
    }
    let task = company.put(Number(1));
    company.started(&task);
    assert_eq!(planned.left("supervisor"), 0);
}

#[test]
fn used_up_restarts_do_not_hurry_a_shutdown() {
    use tokio::sync::Semaphore;
    async fn gated(_: Number, gate: Data<Arc<Semaphore>>) -> TaskResult {
        gate.acquire().await?.forget();
        Ok(())
    }
    let (points, gate) = (Arc::new(FailPoints::default()), Arc::new(Semaphore::new(0)));
    let (planned, data) = (points.clone(), gate.clone());
    let company =
        Company::start(client(), |worker| worker.handle(gated).data(data).failpoints(points));
    let task = company.put(Number(1));
    company.started(&task);
    std::thread::scope(|scope| {
        let ending = scope.spawn(|| oncue::block_on(company.worker.shutdown()));
        planned.panic("scheduler", 99);
        while company.worker.life() < oncue::worker::Life::Draining {
            std::thread::yield_now();
        }
        (0..6).for_each(|_| company_restart(&company));
        // Whatever the end of the Scheduler does, it did it when the broker answered this.
        assert_eq!(show(&company.client, &task).expect("kept").state, State::Active);
        gate.add_permits(1);
        let error = ending.join().expect("joins").expect_err("the scheduler gave up");
        assert!(error.to_string().contains("scheduler died too often"), "{error}");
    });
    assert_eq!(show(&company.client, &task).expect("kept").state, State::Completed);
}

fn company_restart(company: &Company) {
    company.until(|event| matches!(event, Event::Restarted { .. }).then_some(()));
}

#[test]
fn used_up_restarts_end_the_worker_with_an_error() {
    let points = Arc::new(FailPoints::default());
    let planned = points.clone();
    let data = Arc::new(AtomicUsize::new(0));
    let company =
        Company::start(client(), |worker| worker.handle(run).data(data).failpoints(points));
    planned.panic("scheduler", 99);
    let error = oncue::block_on(company.worker.run()).expect_err("it gave up");
    assert!(error.to_string().contains("scheduler died too often"), "{error}");
}
