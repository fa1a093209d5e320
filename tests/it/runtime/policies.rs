//! What a policy says comes to pass: quarantine and its probe, and the other ends of patience.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use actix::{Actor, ActorContext, Context, Handler, ResponseActFuture, WrapFuture};
use oncue::event::Event;
use oncue::outcome::Decision;
use oncue::restart::{Backoff, OnExceeded, Policy, Restart, Shutdown};
use oncue::state::State;
use oncue::worker::{Health, Reason};
use oncue::{Data, Job, Output, Task, TaskContext, TaskResult, actor, function};
use tokio::sync::Semaphore;

use super::company::*;

/// Restarts at once, and bears so many.
fn bears(restarts: usize, on_exceeded: OnExceeded) -> Policy {
    let backoff = Backoff { min: Duration::from_millis(1), ..Backoff::DEFAULT };
    let policy = Policy::DEFAULT.intensity(restarts, Duration::from_secs(600));
    policy.backoff(backoff).on_exceeded(on_exceeded)
}

const LONG: OnExceeded = OnExceeded::Quarantine { probe_after: Duration::from_secs(3_600) };
const SHORT: OnExceeded = OnExceeded::Quarantine { probe_after: Duration::from_millis(30) };

/// Panics while it is ill; 7 stops it in order.
struct Patient(Arc<AtomicBool>);

impl Actor for Patient {
    type Context = Context<Self>;
}

impl Handler<Job<Number>> for Patient {
    type Result = TaskResult<Output>;

    fn handle(&mut self, job: Job<Number>, context: &mut Self::Context) -> Self::Result {
        assert!(!self.0.load(Ordering::SeqCst), "ill");
        if job.task.0 == 7 {
            context.stop();
        }
        Ok(Output::none())
    }
}

fn patient(ill: bool) -> (Arc<AtomicBool>, impl Fn() -> Patient + Send + Sync + 'static) {
    let ill = Arc::new(AtomicBool::new(ill));
    (ill.clone(), move || Patient(ill.clone()))
}

async fn other(_: Other) -> TaskResult {
    Ok(())
}

fn quarantined(event: &Event) -> Option<()> {
    matches!(event, Event::Quarantined { kind, .. } if kind.as_str() == "number").then_some(())
}

#[test]
fn a_kind_in_quarantine_is_left_to_other_workers() {
    left_to_others(client());
}

#[cfg(feature = "redis")]
#[test]
fn a_kind_in_quarantine_is_left_to_other_workers_on_redis() {
    let server = crate::redis_servers::server::Server::start();
    left_to_others(client_on(&server.url()));
}

fn left_to_others(client: oncue::Client) {
    let (_ill, factory) = patient(true);
    let company = Company::start(client, |worker| {
        worker.handle(actor(factory).policy(bears(1, LONG))).handle(other)
    });
    company.put(Number(0).draft().max_retry(9));
    company.until(quarantined);
    let reason = Reason::Quarantined { kind: "number".into() };
    assert_eq!(company.worker.health(), Health::Degraded(vec![reason]));
    let left = company.put(Number(1));
    // Whoever serves the queue of both had the choice.
    let beside = company.put(Other(0));
    assert!(matches!(company.settled(&beside).0, Decision::Complete(_)));
    assert_eq!(show(&company.client, &left).expect("kept").state, State::Pending);
    let (_well, factory) = patient(false);
    let second = Company::start(company.client.clone(), |worker| worker.handle(actor(factory)));
    assert!(matches!(second.settled(&left).0, Decision::Complete(_)));
    second.end();
    company.end();
}

#[test]
fn a_probe_lets_one_task_through_and_decides() {
    let (ill, factory) = patient(true);
    let company = Company::start(client(), |worker| {
        worker.handle(actor(factory).replicas(2).policy(bears(0, SHORT)))
    });
    let tasks: Vec<_> = (0..6).map(|n| Number(n).draft().max_retry(20)).collect();
    oncue::block_on(company.client.enqueue_all(tasks)).expect("enqueued");
    // While it is ill every probe is one run, which fails.
    let (mut probes, mut started) = (0, 0);
    company.until(quarantined);
    company.until(|event| {
        match event {
            Event::Probing { .. } => (probes, started) = (probes + 1, 0),
            Event::Started { .. } => started += 1,
            Event::Recovered { .. } => panic!("it is ill"),
            Event::Quarantined { .. } if probes > 0 => assert_eq!(started, 1, "exactly one"),
            _ => {}
        }
        (probes == 4).then_some(())
    });
    ill.store(false, Ordering::SeqCst);
    company.until(|event| matches!(event, Event::Recovered { .. }).then_some(()));
    // The one that ended the quarantine is settled afterwards.
    company.completed(6);
    assert_eq!(company.worker.health(), Health::Ok);
    company.end();
}

#[test]
fn a_task_that_fails_is_no_failure_of_its_actor() {
    struct Strict;
    impl Actor for Strict {
        type Context = Context<Self>;
    }
    impl Handler<Job<Number>> for Strict {
        type Result = TaskResult<Output>;
        fn handle(&mut self, _: Job<Number>, _: &mut Self::Context) -> Self::Result {
            Err(oncue::TaskError::new("no"))
        }
    }
    let company = Company::start(client(), |worker| {
        let strict = actor::<Number, _>(|| Strict).policy(bears(0, LONG));
        let panics = |task: Other| async move {
            assert!(task.0 > 99, "planned");
            TaskResult::Ok(())
        };
        worker.handle(strict).handle(function(panics).policy(bears(0, LONG)))
    });
    for number in 0..10 {
        let failed = company.put(Number(number).draft().max_retry(0));
        assert_eq!(company.settled(&failed).1.as_deref(), Some("handler"));
        let panicked = company.put(Other(number).draft().max_retry(0));
        assert_eq!(company.settled(&panicked).1.as_deref(), Some("panic"));
    }
    assert_eq!((company.worker.health(), company.end().1.restarts), (Health::Ok, 0));
}

#[test]
fn a_kind_may_be_given_up() {
    let (_ill, factory) = patient(true);
    let company = Company::start(client(), |worker| {
        let policy = bears(1, OnExceeded::StopChild);
        worker.handle(actor(factory).policy(policy)).handle(other)
    });
    company.put(Number(0).draft().max_retry(9));
    company.until(|event| match event {
        Event::Stopped { kind, why } => {
            assert_eq!((kind.as_str(), why.as_str()), ("number", "ill"));
            Some(())
        }
        _ => None,
    });
    let left = company.put(Number(1));
    let beside = company.put(Other(0));
    company.settled(&beside);
    assert_eq!(show(&company.client, &left).expect("kept").state, State::Pending);
    let stopped = Health::Degraded(vec![Reason::Stopped { kind: "number".into() }]);
    assert_eq!(company.worker.health(), stopped);
    company.end();
}

#[test]
fn a_kind_may_end_the_worker() {
    let (_ill, factory) = patient(true);
    let company = Company::start(client(), |worker| {
        worker.handle(actor(factory).policy(bears(1, OnExceeded::Shutdown)))
    });
    let task = company.put(Number(0).draft().max_retry(9));
    let error = oncue::block_on(company.worker.run()).expect_err("it drains and fails");
    assert!(error.to_string().contains("handler number died too often, the last time: ill"));
    assert!(matches!(company.worker.health(), Health::Failing(_)));
    assert_ne!(show(&company.client, &task).expect("kept").state, State::Active);
}

#[test]
fn who_is_restarted_depends_on_how_it_ended() {
    // What stops in order, what dies, and whether it is served afterwards.
    for (restart, number, served) in [
        (Restart::Permanent, 7, true),
        (Restart::Transient, 7, false),
        (Restart::Transient, 13, true),
        (Restart::Temporary, 7, false),
        (Restart::Temporary, 13, false),
    ] {
        let (ill, factory) = patient(number == 13);
        let company = Company::start(client(), |worker| {
            worker.handle(actor(factory).policy(bears(9, LONG).restart(restart)))
        });
        let first = company.put(Number(number).draft().max_retry(0));
        company.until(|event| {
            matches!(event, Event::Restarted { .. } | Event::Stopped { .. }).then(|| {
                assert_eq!(
                    matches!(event, Event::Restarted { .. }),
                    served,
                    "{restart:?} {number}"
                );
            })
        });
        ill.store(false, Ordering::SeqCst);
        let next = company.put(Number(1));
        if served {
            assert!(matches!(company.settled(&next).0, Decision::Complete(_)));
        } else {
            assert_eq!(show(&company.client, &next).expect("kept").state, State::Pending);
            assert!(matches!(company.worker.health(), Health::Failing(_)), "its only kind");
        }
        assert!(first.is_created());
        company.end();
    }
}

/// Answers when the gate opens; 13 panics at once, 14 without its context.
struct Crowd(Arc<Semaphore>);

impl Actor for Crowd {
    type Context = Context<Self>;
}

impl Handler<Job<Number>> for Crowd {
    type Result = ResponseActFuture<Self, TaskResult<Output>>;

    fn handle(&mut self, job: Job<Number>, _: &mut Self::Context) -> Self::Result {
        let (gate, number, context) = (self.0.clone(), job.task.0, job.context);
        let context = (number != 14).then_some(context);
        let answer = async move {
            assert!(number < 13, "unlucky");
            gate.acquire().await?.forget();
            drop(context);
            Ok(Output::none())
        };
        Box::pin(answer.into_actor(self))
    }
}

/// Three tasks of one replica; what came of each when the last one panicked.
fn together(last: u64) -> Vec<(Decision, Option<String>)> {
    let gate = Arc::new(Semaphore::new(0));
    let inner = gate.clone();
    let company = Company::start(client(), |worker| {
        let crowd = actor(move || Crowd(inner.clone())).concurrent(3);
        worker.handle(crowd.policy(bears(9, LONG)))
    });
    let mut tasks: Vec<_> = (0..2).map(|n| company.put(Number(n).draft().max_retry(0))).collect();
    let started = |task: &oncue::Handle| company.started(task);
    tasks.iter().for_each(started);
    tasks.push(company.put(Number(last).draft().max_retry(0)));
    let mut ends = vec![None; 3];
    company.until(|event| {
        if let Event::Settled { id, decision, class, .. } = event {
            let at = tasks.iter().position(|task| task.id() == *id).expect("one of them");
            ends[at].get_or_insert((*decision, class.clone()));
        }
        ends.iter().all(Option::is_some).then_some(())
    });
    let released = ends.iter().flatten().filter(|end| end.1.is_none()).count();
    gate.add_permits(3);
    if released > 0 {
        company.completed(released);
    }
    company.end();
    ends.into_iter().flatten().collect()
}

#[test]
fn a_panic_fails_its_own_task_and_releases_those_that_share_the_replica() {
    let released = (Decision::Release { alone: false }, None);
    let failed = (Decision::Archive(oncue::state::Reason::Exhausted), Some("panic".to_owned()));
    assert_eq!(together(13), [released.clone(), released, failed]);
}

#[test]
fn where_nobody_knows_who_panicked_all_fail() {
    assert!(together(14).iter().all(|(_, class)| class.as_deref() == Some("panic")));
}

#[test]
fn a_replica_takes_as_many_as_it_is_told() {
    let (gate, client) = (Arc::new(Semaphore::new(0)), client());
    oncue::block_on(client.enqueue_all((0..9).map(Number))).expect("enqueued");
    let inner = gate.clone();
    let company = Company::start(client, |worker| {
        let crowd = actor::<Number, _>(move || Crowd(inner.clone())).concurrent(2);
        worker.handle(crowd.replicas(2)).handle(other)
    });
    for _ in 0..4 {
        company.until(|event| matches!(event, Event::Started { .. }).then_some(()));
    }
    let beside = company.put(Other(0));
    company.settled(&beside);
    assert_eq!(count(&company.client, "default", State::Active), 4);
    gate.add_permits(9);
    company.completed(9);
    company.end();
}

#[test]
fn an_actor_that_never_answers_is_made_anew() {
    let gate = Arc::new(Semaphore::new(0));
    let inner = gate.clone();
    let company = Company::start(client(), |worker| {
        let crowd = actor(move || Crowd(inner.clone())).policy(bears(9, LONG));
        worker.handle(crowd).stuck_after(Duration::from_millis(200))
    });
    let late = company.put(Number(0).draft().timeout(Duration::from_millis(20)).max_retry(0));
    assert_eq!(company.settled(&late).1.as_deref(), Some("timeout"));
    company.until(|event| match event {
        Event::Restarted { why, .. } => {
            (why == "it was told to stop and did not answer").then_some(())
        }
        _ => None,
    });
    gate.add_permits(1);
    let next = company.put(Number(1));
    assert!(matches!(company.settled(&next).0, Decision::Complete(_)), "its slot is free again");
    company.end();
}

#[test]
fn a_handler_may_have_less_time_at_the_end_than_the_worker() {
    type Gate = Data<Arc<Semaphore>>;
    async fn gated(_: Other, gate: Gate) -> TaskResult {
        gate.acquire().await?.forget();
        Ok(())
    }
    async fn endless(_: Number, context: TaskContext, seen: Data<Arc<AtomicUsize>>) -> TaskResult {
        seen.fetch_add(1, Ordering::SeqCst);
        assert!(!context.is_cancelled());
        std::future::pending().await
    }
    let (gate, seen) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (data, counted) = (gate.clone(), seen.clone());
    let company = Company::start(client(), |worker| {
        let killed = function(endless).policy(Policy::DEFAULT.shutdown(Shutdown::BrutalKill));
        let worker = worker.handle(killed).handle(gated).data(data).data(counted);
        // Without limit: it waits for the other.
        worker.policy(Policy::ROOT.shutdown(Shutdown::Infinity))
    });
    let (cut, waits) = (company.put(Number(0)), company.put(Other(0)));
    let mut started = HashSet::new();
    company.until(|event| {
        if let Event::Started { id, .. } = event {
            started.insert(*id);
        }
        (started.len() == 2).then_some(())
    });
    std::thread::scope(|scope| {
        let ending = scope.spawn(|| oncue::block_on(company.worker.shutdown()));
        assert_eq!(company.settled(&cut).0, Decision::Release { alone: false });
        gate.add_permits(1);
        assert!(matches!(company.settled(&waits).0, Decision::Complete(_)));
        let report = ending.join().expect("joins").expect("in order");
        assert_eq!((report.completed, report.released), (1, 1));
    });
}

#[test]
fn what_makes_no_sense_keeps_a_worker_from_starting() {
    let client = client();
    let start = |build: fn(oncue::worker::Builder) -> oncue::worker::Builder| {
        oncue::block_on(build(client.worker()).start()).map(drop)
    };
    start(|worker| worker.handle(other)).expect("the control");
    let refused = |build: fn(oncue::worker::Builder) -> oncue::worker::Builder| {
        assert!(start(build).expect_err("refused").is_invalid());
    };
    refused(|worker| worker.handle(other).policy(Policy::DEFAULT));
    refused(|worker| worker.handle(other).stuck_after(Duration::ZERO));
    refused(|worker| worker.handle(function(other).concurrent(2)));
    refused(|worker| {
        worker.handle(function(other).policy(Policy::DEFAULT.intensity(1, Duration::ZERO)))
    });
}
