//! Any actor may die: planned panics in each of them under load, and nothing is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use oncue::broker::Page;
use oncue::event::Event;
use oncue::outcome::Decision;
use oncue::queue::QueueName;
use oncue::restart::{Backoff, OnExceeded, Policy, Strategy};
use oncue::state::State;
use oncue::worker::{Health, Reason};
use oncue::{Client, Data, FailPoints, Lane, Task, TaskResult, function};

use super::company::*;
use super::proxy::Proxy;

type Runs = Data<Arc<AtomicUsize>>;

/// How often each actor dies.
const DEATHS: usize = 10;
/// Tasks that run meanwhile, and afterwards.
const TASKS: u64 = 1_000;

async fn run(_: Number, runs: Runs) -> TaskResult {
    runs.fetch_add(1, Ordering::SeqCst);
    tokio::task::yield_now().await;
    Ok(())
}

/// Bears more than is planned, and does not wait for long.
fn patient(policy: Policy) -> Policy {
    let (min, max) = (Duration::from_millis(1), Duration::from_millis(5));
    let backoff = Backoff { min, max, ..Backoff::DEFAULT };
    policy.intensity(3 * DEATHS, Duration::from_secs(600)).backoff(backoff)
}

/// So many panics of these actors, which their budget bears, while tasks run in few slots; the others are restarted
/// with them.
fn survive(client: Client, deaths: &[(&'static str, usize)], with: &[&str]) {
    let (planned, runs) = (Arc::new(FailPoints::default()), Arc::new(AtomicUsize::new(0)));
    let (points, data) = (planned.clone(), runs.clone());
    let company = Company::start(client, |worker| {
        let handler = function(run).policy(patient(Policy::DEFAULT));
        let worker = worker.handle(handler).policy(patient(Policy::ROOT)).data(data);
        worker.failpoints(points).lane(Lane::strict(["default"]).concurrency(4))
    });
    deaths.iter().for_each(|(place, times)| planned.panic(place, *times));
    let enqueue = |base: u64| {
        let tasks = (base..base + TASKS).map(Number);
        oncue::block_on(company.client.enqueue_all(tasks)).expect("enqueued");
    };
    enqueue(0);
    let (mut died, mut completed) = (BTreeMap::new(), 0);
    let mut others = BTreeSet::new();
    let expected: BTreeMap<_, _> =
        deaths.iter().map(|(who, times)| ((*who).to_owned(), *times)).collect();
    let mut seen_all = |event: &Event, tasks: u64| {
        match event {
            Event::Restarted { who, why } => {
                let who = who.split(' ').next().unwrap_or_default().to_owned();
                if why == &format!("planned panic of the {who}") {
                    *died.entry(who).or_insert(0) += 1;
                } else {
                    let with =
                        |dead: &String| why.starts_with(&format!("restarted with the {dead}"));
                    assert!(expected.keys().any(with), "{who}: {why}");
                    others.insert(who);
                }
            }
            Event::Settled { decision: Decision::Complete(_), .. } => completed += 1,
            Event::LeaseLost { id } => panic!("{id} lost its lease"),
            _ => {}
        }
        (died == expected && completed == tasks).then_some(())
    };
    company.until(|event| seen_all(event, TASKS));
    // With a slot leaked a death there would be none left.
    enqueue(TASKS);
    company.until(|event| seen_all(event, 2 * TASKS));
    assert!(deaths.iter().all(|(place, _)| planned.left(place) == 0));
    assert_eq!(others, with.iter().map(|who| (*who).to_owned()).collect());
    assert_eq!(company.worker.health(), Health::Ok);
    let (client, report) = company.end();
    assert_eq!((report.completed, report.archived, report.retried), (2 * TASKS, 0, 0));
    assert!(report.restarts >= DEATHS as u64);
    for state in [State::Pending, State::Active, State::Retry] {
        assert_eq!(count(&client, "default", state), 0, "{state}");
    }
    assert_eq!(runs.load(Ordering::SeqCst) as u64, 2 * TASKS, "released, never run twice");
    let queue = QueueName::parse("default").expect("a name");
    let page = Page { queue, state: State::Completed, cursor: None, rows: 1_000 };
    let listed = oncue::block_on(client.broker().list(page)).expect("listed").tasks;
    assert_eq!(listed.len(), 1_000);
    assert!(listed.iter().all(|task| task.trail.is_empty()), "nobody is charged");
}

/// The same on each broker.
macro_rules! on {
    ($broker:ident, $open:expr) => {
        mod $broker {
            use super::*;

            #[test]
            fn the_fetcher_may_die() {
                let (client, _guard) = $open;
                survive(client, &[("fetcher", DEATHS)], &[]);
            }

            #[test]
            fn the_scheduler_may_die() {
                let (client, _guard) = $open;
                survive(client, &[("scheduler", DEATHS)], &["fetcher"]);
            }

            #[test]
            fn the_heartbeater_may_die() {
                let (client, _guard) = $open;
                let with = ["processor", "scheduler", "fetcher"];
                survive(client, &[("heartbeater", DEATHS)], &with);
            }

            #[test]
            fn a_processor_may_die() {
                let (client, _guard) = $open;
                survive(client, &[("processor", DEATHS)], &[]);
            }

            /// It dies of hearing that another did, and is told of it again; meanwhile the others work.
            #[test]
            fn the_supervisor_may_die() {
                let (client, _guard) = $open;
                survive(client, &[("supervisor", DEATHS), ("processor", 2)], &[]);
            }
        }
    };
}

on!(sqlite, (client(), ()));
#[cfg(feature = "redis")]
on!(redis, {
    let server = crate::redis_servers::server::Server::start();
    (client_on(&server.url()), server)
});

#[test]
fn a_strategy_says_who_is_restarted_with_whom() {
    for (strategy, expected) in [
        (Strategy::OneForOne, &["scheduler"][..]),
        (Strategy::OneForAll, &["fetcher", "heartbeater", "processor", "scheduler"]),
    ] {
        let points = Arc::new(FailPoints::default());
        points.panic("scheduler", 1);
        let planned = points.clone();
        let company = Company::start(client(), |worker| {
            let worker = worker.handle(run).data(Arc::new(AtomicUsize::new(0))).threads(1);
            worker.strategy(strategy).policy(patient(Policy::ROOT)).failpoints(points)
        });
        let mut restarted = BTreeSet::new();
        company.until(|event| {
            if let Event::Restarted { who, .. } = event {
                restarted.insert(who.split(' ').next().unwrap_or_default().to_owned());
            }
            (restarted.len() >= expected.len()).then_some(())
        });
        let task = company.put(Number(1));
        company.settled(&task);
        assert_eq!(planned.left("scheduler"), 0);
        let report = company.end().1;
        assert_eq!(restarted.iter().map(String::as_str).collect::<Vec<_>>(), expected);
        assert_eq!(report.restarts as usize, expected.len(), "{strategy:?}");
    }
}

#[test]
fn what_a_handler_cannot_bear_is_the_exit_of_all_handlers() {
    let points = Arc::new(FailPoints::default());
    let planned = points.clone();
    let company = Company::start(client(), |worker| {
        let policy = patient(Policy::DEFAULT).intensity(1, Duration::from_secs(600));
        let handler = function(run).policy(policy.on_exceeded(OnExceeded::Escalate));
        let worker = worker.handle(handler).data(Arc::new(AtomicUsize::new(0))).threads(1);
        worker.policy(patient(Policy::ROOT)).failpoints(points)
    });
    planned.panic("processor", 2);
    let task = company.put(Number(1));
    let mut seen = Vec::new();
    company.until(|event| match event {
        Event::Restarted { who, why } => {
            seen.push((who.clone(), why.clone()));
            None
        }
        Event::Settled { id, .. } => (*id == task.id()).then_some(()),
        _ => None,
    });
    let expected = [
        ("processor 0", "planned panic of the processor"),
        ("processor 0", "planned panic of the processor"),
        ("fetcher", "restarted with the processor 0"),
        ("scheduler", "restarted with the processor 0"),
    ];
    assert_eq!(seen, expected.map(|(who, why)| (who.to_owned(), why.to_owned())));
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
    let company = Company::start(client(), |worker| {
        let policy = patient(Policy::ROOT).intensity(5, Duration::from_secs(600));
        let worker = worker.handle(gated).data(data).policy(policy).failpoints(points);
        worker.lease(Duration::from_secs(3))
    });
    let task = company.put(Number(1));
    company.started(&task);
    std::thread::scope(|scope| {
        let ending = scope.spawn(|| oncue::block_on(company.worker.shutdown()));
        while company.worker.life() < oncue::worker::Life::Draining {
            std::thread::yield_now();
        }
        planned.panic("heartbeater", 6);
        (0..5).for_each(|_| company_restart(&company));
        while planned.left("heartbeater") > 0 {
            std::thread::yield_now();
        }
        // Whatever the end of the Heartbeater does, it did it when the broker answered this.
        assert_eq!(show(&company.client, &task).expect("kept").state, State::Active);
        gate.add_permits(1);
        let error = ending.join().expect("joins").expect_err("the heartbeater gave up");
        assert!(error.to_string().contains("heartbeater died too often"), "{error}");
    });
    assert_eq!(show(&company.client, &task).expect("kept").state, State::Completed);
}

fn company_restart(company: &Company) {
    company.until(|event| match event {
        Event::Restarted { who, .. } => (who == "heartbeater").then_some(()),
        _ => None,
    });
}

#[test]
fn used_up_restarts_end_the_worker_with_an_error() {
    let points = Arc::new(FailPoints::default());
    let planned = points.clone();
    let data = Arc::new(AtomicUsize::new(0));
    let company = Company::start(client(), |worker| {
        let policy = patient(Policy::ROOT).intensity(5, Duration::from_secs(600));
        worker.handle(run).policy(policy).data(data).failpoints(points)
    });
    planned.panic("fetcher", 99);
    company.put(Number(1));
    let error = oncue::block_on(company.worker.run()).expect_err("it gave up");
    assert!(error.to_string().contains("fetcher died too often"), "{error}");
    assert_eq!(planned.left("fetcher"), 99 - 6, "five restarts");
    let Health::Failing(reasons) = company.worker.health() else { panic!("it gave up") };
    assert!(reasons.contains(&Reason::RestartsUsedUp { who: "fetcher".into() }), "{reasons:?}");
}

#[test]
fn beats_are_back_within_a_lease_whatever_the_backoff_says() {
    let planned = Arc::new(FailPoints::default());
    planned.panic("heartbeater", 1);
    let (tell, beats) = std::sync::mpsc::channel();
    let mut proxy = super::proxy::Proxy::of(broker());
    proxy.beat = Box::new(move |inner, beat| {
        let _ = tell.send(());
        inner.beat(beat)
    });
    let points = planned.clone();
    let company = Company::start(client_of(Arc::new(proxy)), |worker| {
        let day = Duration::from_secs(86_400);
        let backoff = Backoff { min: day, max: day, ..Backoff::DEFAULT };
        let worker = worker
            .handle(run)
            .data(Arc::<AtomicUsize>::default())
            .policy(Policy::ROOT.backoff(backoff));
        worker.failpoints(points).lease(Duration::from_secs(3))
    });
    company.until(|event| match event {
        Event::Restarted { who, .. } => (who == "heartbeater").then_some(()),
        _ => None,
    });
    while beats.try_recv().is_ok() {}
    beats.recv_timeout(PATIENCE).expect("beats go on");
    let task = company.put(Number(0));
    assert!(matches!(company.settled(&task).0, Decision::Complete(_)), "so do all others");
    company.end();
}

#[test]
fn a_worker_that_drains_without_a_heartbeater_keeps_its_leases() {
    use oncue::broker::Beat;
    use tokio::sync::Semaphore;
    async fn gated(_: Number, gate: Data<Arc<Semaphore>>) -> TaskResult {
        gate.acquire().await?.forget();
        Ok(())
    }
    let (points, gate) = (Arc::new(FailPoints::default()), Arc::new(Semaphore::new(0)));
    let (planned, data) = (points.clone(), gate.clone());
    let ((tell, beats), mut proxy) = (std::sync::mpsc::channel(), Proxy::of(broker()));
    proxy.beat = Box::new(move |inner, beat: Beat| {
        let _ = tell.send(beat.sessions.len());
        inner.beat(beat)
    });
    let company = Company::start(client_of(Arc::new(proxy)), |worker| {
        let policy = patient(Policy::ROOT).intensity(0, Duration::from_secs(600));
        let worker = worker.handle(gated).data(data).policy(policy).failpoints(points);
        worker.lease(Duration::from_secs(1))
    });
    let task = company.put(Number(1));
    company.started(&task);
    planned.panic("heartbeater", 1);
    while planned.left("heartbeater") > 0 {
        std::thread::yield_now();
    }
    while beats.try_recv().is_ok() {}
    while beats.recv_timeout(PATIENCE).expect("it beats again while it drains") == 0 {}
    gate.add_permits(1);
    let how = company.settled(&task);
    assert!(matches!(how.0, Decision::Complete(_)), "{how:?}");
    let error = oncue::block_on(company.worker.run()).expect_err("the heartbeater gave up");
    assert!(error.to_string().contains("heartbeater died too often"), "{error}");
}

#[test]
fn a_place_that_was_left_for_good_is_not_taken_again() {
    use actix::{Actor, Context, Handler};
    use oncue::restart::Restart;
    use oncue::{Job, Output};
    struct Mortal;
    impl Actor for Mortal {
        type Context = Context<Self>;
    }
    impl Handler<Job<Number>> for Mortal {
        type Result = TaskResult<Output>;
        fn handle(&mut self, job: Job<Number>, _: &mut Self::Context) -> Self::Result {
            assert!(job.task.0 > 0, "planned");
            Ok(Output::none())
        }
    }
    let (points, made) = (Arc::new(FailPoints::default()), Arc::new(AtomicUsize::new(0)));
    let (planned, counter) = (points.clone(), made.clone());
    let company = Company::start(client(), |worker| {
        let factory = move || {
            counter.fetch_add(1, Ordering::SeqCst);
            Mortal
        };
        let policy = Policy::DEFAULT.restart(Restart::Temporary);
        let mortal = oncue::actor::<Number, _>(factory).replicas(2).policy(policy);
        let worker = worker.handle(mortal).policy(patient(Policy::ROOT)).failpoints(points);
        worker.lease(Duration::from_millis(600))
    });
    let killer = company.put(Number(0).draft().max_retry(0));
    company.settled(&killer);
    planned.panic("heartbeater", 1);
    let mut restarted = Vec::new();
    company.until(|event| {
        if let Event::Restarted { who, .. } = event {
            restarted.push(who.split(' ').next().unwrap_or_default().to_owned());
        }
        (restarted.len() == 4).then_some(())
    });
    assert_eq!(restarted, ["heartbeater", "fetcher", "scheduler", "processor"], "one of two");
    let next = company.put(Number(1));
    assert!(matches!(company.settled(&next).0, Decision::Complete(_)));
    assert_eq!(made.load(Ordering::SeqCst), 3, "two, and the one that lived was made anew");
    company.put(Number(0).draft().max_retry(0));
    company.until(|event| matches!(event, Event::Stopped { .. }).then_some(()));
    company.end();
}
