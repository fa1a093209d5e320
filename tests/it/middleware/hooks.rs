//! Hooks on errors and archives: told what was written, however it came about.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use oncue::broker::{Ask, Lane, Order, Session, Settlement};
use oncue::clock::{Clock, SystemClock};
use oncue::outcome::Decision;
use oncue::queue::{KindHash, QueueName};
use oncue::state::{Reason, State};
use oncue::task::{Crash, Trail};
use oncue::worker::{Builder, Failed};
use oncue::{Client, Handle, Task, TaskError, TaskResult};

use crate::runtime::company::*;

/// What a hook was told, and where its task was then.
type Told = (&'static str, Failed, Option<State>);

/// A worker of this client with both hooks.
fn hooked(worker: Builder, client: &Client) -> (Builder, Receiver<Told>) {
    let (tell, told) = channel();
    let hook = |name: &'static str, tell: Sender<Told>| {
        let broker = client.broker().clone();
        move |failed: &Failed| {
            // A runtime runs on this thread; another waits for the broker, which has threads of its own.
            let show = || oncue::block_on(broker.show(failed.queue.clone(), failed.id));
            let view = std::thread::scope(|scope| scope.spawn(show).join().expect("no panic"));
            let state = view.expect("shown").map(|view| view.state);
            tell.send((name, failed.clone(), state)).expect("the test listens");
        }
    };
    let worker = worker.on_error(hook("error", tell.clone())).on_archive(hook("archive", tell));
    (worker, told)
}

fn start(client: Client, build: impl FnOnce(Builder) -> Builder) -> (Company, Receiver<Told>) {
    let mut told = None;
    let own = client.clone();
    let company = Company::start(client, |worker| {
        let (worker, receiver) = hooked(build(worker), &own);
        told = Some(receiver);
        worker
    });
    (company, told.expect("built"))
}

#[track_caller]
fn next(told: &Receiver<Told>) -> Told {
    told.recv_timeout(PATIENCE).expect("told in time")
}

async fn behave(task: Number) -> TaskResult {
    match task.0 {
        0 => Err(TaskError::new("a secret").class("flaky")),
        1 => Err(TaskError::skip_retry("hopeless")),
        2 => Err(TaskError::snooze(Duration::from_secs(3_600))),
        3 => panic!("it broke"),
        _ => Ok(()),
    }
}

#[test]
fn every_failure_is_told_once_it_is_written_and_the_archive_after_the_last() {
    let (company, told) = start(client(), |worker| worker.handle(behave));
    let task = company.put(Number(0).draft().max_retry(1));
    let (name, failed, state) = next(&told);
    assert_eq!((name, failed.attempt, failed.class.as_deref()), ("error", 1, Some("flaky")));
    assert_eq!(
        (failed.id, failed.kind.as_str(), failed.queue.as_str()),
        (task.id(), "number", "default")
    );
    assert!(failed.message == "a secret" && failed.reason().is_none());
    assert!(matches!(failed.decision, Decision::Retry(_)));
    assert_ne!(state, Some(State::Active), "it is settled by then");
    for expected in ["error", "archive"] {
        let (name, failed, state) = next(&told);
        assert_eq!((name, failed.attempt), (expected, 2));
        assert_eq!((failed.reason(), state), (Some(Reason::Exhausted), Some(State::Archived)));
        let shown = format!("{failed:?}");
        assert!(shown.contains("message: 8 bytes") && !shown.contains("secret"), "{shown}");
    }
    for (number, class, message) in [(1, "handler", "hopeless"), (3, "panic", "it broke")] {
        let task = company.put(Number(number).draft().max_retry(0));
        for expected in ["error", "archive"] {
            let (name, failed, _) = next(&told);
            assert_eq!(
                (name, failed.id, failed.class.as_deref()),
                (expected, task.id(), Some(class))
            );
            assert_eq!(failed.message, message);
        }
    }
}

#[test]
fn what_neither_failed_nor_was_archived_is_not_told() {
    let (company, told) = start(client(), |worker| worker.handle(behave));
    for number in [2, 4] {
        let task = company.put(Number(number));
        company.settled(&task);
    }
    company.end();
    assert!(told.recv().is_err(), "nothing was told");
}

#[test]
fn an_archive_without_a_failed_run_is_told_with_what_the_last_one_said() {
    let (company, told) = start(client(), |worker| worker.handle(behave));
    let past = std::time::SystemTime::now() - Duration::from_secs(60);
    let late = company.put(Number(9).draft().deadline(past));
    let (name, failed, _) = next(&told);
    assert_eq!((name, failed.id, failed.class.as_deref()), ("archive", late.id(), None));
    assert_eq!((failed.reason(), failed.message.as_str()), (Some(Reason::Expired), ""));
}

#[test]
fn a_panic_in_a_hook_is_its_own() {
    let (tell, told) = channel();
    let company = Company::start(client(), |worker| {
        let worker = worker.handle(behave).on_error(|_| panic!("a hook broke"));
        worker
            .on_error(move |failed| tell.send(failed.id).expect("the test listens"))
            .on_archive(|_| panic!("broke too"))
    });
    for _ in 0..2 {
        let task = company.put(Number(1));
        company.settled(&task);
        assert_eq!(told.recv_timeout(PATIENCE).expect("the next hook is told"), task.id());
    }
    let report = company.end().1;
    assert_eq!((report.archived, report.restarts), (2, 0));
}

/// Claims the one task there is, as a worker would that is about to die.
fn claim(client: &Client, lane: Lane) -> (Session, Settlement) {
    let session = Session::fresh(QueueName::parse("default").expect("a name"));
    let accept = vec![(KindHash::of("number"), 1)];
    let lease = Duration::from_millis(1);
    let ask = Ask { session: session.clone(), lease, max: 1, lane, accept };
    let claims = oncue::block_on(client.broker().dequeue(ask)).expect("claimed");
    (session, Settlement::new(claims[0].ticket, Order::Release { lane: Lane::Alone }))
}

/// A task in the hands of a worker that died over it, as two did before.
fn poisonous(client: &Client) -> Handle {
    let task = oncue::block_on(client.enqueue(Number(9))).expect("enqueued");
    let (session, release) = claim(client, Lane::Shared);
    let mut trail = Trail::default();
    trail.crashes = vec![Crash { at: SystemClock.now(), alone: true }; 2];
    trail.alone = true;
    let release = Settlement { trail: Some(trail), ..release };
    oncue::block_on(client.broker().settle(session, vec![release])).expect("released");
    claim(client, Lane::Alone);
    task
}

#[test]
fn what_a_sweep_archives_is_told() {
    let client = client();
    let poison = poisonous(&client);
    let unknown = oncue::block_on(client.enqueue(Other(1).draft().queue("default")));
    let unknown = unknown.expect("enqueued");
    let (_company, told) = start(client, |worker| {
        worker.handle(behave).lease(Duration::from_millis(300)).unknown_grace(Duration::ZERO)
    });
    let mut all = [next(&told), next(&told)];
    all.sort_by_key(|(_, failed, _)| failed.id != poison.id());
    let expected =
        [(poison, "number", 1, Reason::Poisoned), (unknown, "other", 0, Reason::UnknownKind)];
    for ((name, failed, state), (task, kind, attempt, reason)) in all.into_iter().zip(expected) {
        assert_eq!((name, failed.id, failed.kind.as_str()), ("archive", task.id(), kind));
        assert_eq!((failed.attempt, failed.class.as_ref()), (attempt, None));
        assert_eq!((failed.reason(), state), (Some(reason), Some(State::Archived)));
    }
}
