//! Lanes, and kinds nobody handles.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::ready;
use oncue::event::Event;
use oncue::outcome::Decision;
use oncue::state::{Reason, State};
use oncue::{Data, Error, Lane, Task, TaskResult};

use super::company::*;
use super::proxy::Proxy;

type Order = Data<Arc<Mutex<Vec<u64>>>>;

async fn note(task: Number, order: Order) -> TaskResult {
    order.lock().unwrap_or_else(|error| error.into_inner()).push(task.0);
    Ok(())
}

/// Runs 60 tasks of two queues one at a time, and answers in which order.
fn run_through(lane: Lane) -> Vec<u64> {
    let client = client();
    for (queue, base) in [("low", 100), ("high", 0)] {
        let tasks = (0..30).map(|n| Number(base + n).draft().queue(queue));
        oncue::block_on(client.enqueue_all(tasks)).expect("enqueued");
    }
    let order = Arc::new(Mutex::new(Vec::new()));
    let data = order.clone();
    let company = Company::start(client, |worker| {
        worker.handle(note).data(data).lane(lane.concurrency(1)).threads(1)
    });
    company.completed(60);
    let order = order.lock().expect("not poisoned");
    order.clone()
}

#[test]
fn a_strict_lane_empties_the_first_queue_first() {
    let expected: Vec<_> = (0..30).chain(100..130).collect();
    assert_eq!(run_through(Lane::strict(["high", "low"])), expected);
}

#[test]
fn a_weighted_lane_serves_both_and_the_heavier_more() {
    let order = run_through(Lane::weighted([("high", 9), ("low", 1)]));
    let in_first_half = |queue: fn(&u64) -> bool| order[..30].iter().filter(|n| queue(n)).count();
    let (high, low) = (in_first_half(|n| *n < 100), in_first_half(|n| *n >= 100));
    assert!(high > low, "{high} to {low}");
}

#[test]
fn lanes_are_checked_before_anything_starts() {
    let client = client();
    let start = |lane| {
        let worker = client.worker().handle(note).data(Arc::new(Mutex::new(Vec::<u64>::new())));
        oncue::block_on(worker.lane(lane).start()).err().expect("refused")
    };
    assert!(start(Lane::strict(["Bad Name"])).to_string().contains("Bad Name"));
    assert!(start(Lane::strict(["good"]).concurrency(0)).is_invalid());
    assert!(start(Lane::strict::<String>([])).is_invalid());
}

#[test]
fn tasks_nobody_handles_do_not_slow_others_and_are_archived_after_their_grace() {
    let client = client();
    for _ in 0..10 {
        let strangers = (0..1_000).map(|n| Other(n).draft().queue("default"));
        oncue::block_on(client.enqueue_all(strangers)).expect("enqueued");
    }
    oncue::block_on(client.enqueue_all((0..10).map(Number))).expect("enqueued");
    let data: Arc<Mutex<Vec<u64>>> = Arc::default();
    let company = Company::start(client, |worker| worker.handle(note).data(data));
    company.completed(10);
    assert_eq!(count(&company.client, "default", State::Pending), 10_000);
    let (client, _) = company.end();
    let impatient = Company::start(client, |worker| {
        let data: Arc<Mutex<Vec<u64>>> = Arc::default();
        worker.handle(note).data(data).unknown_grace(Duration::ZERO)
    });
    let mut left = 10_000;
    impatient.until(|event| {
        if let Event::Reclaimed { decision, .. } = event {
            assert_eq!(*decision, Decision::Archive(Reason::UnknownKind));
            left -= 1;
        }
        (left == 0).then_some(())
    });
    assert_eq!(count(&impatient.client, "default", State::Archived), 10_000);
}

#[test]
fn a_queue_that_cannot_be_asked_holds_up_nobody_in_a_strict_lane() {
    let mut proxy = Proxy::of(broker());
    proxy.dequeue = Box::new(|inner, ask| match ask.session.queue.as_str() {
        "high" => ready(Err(Error::unreachable("away"))).boxed(),
        _ => inner.dequeue(ask),
    });
    let company = Company::start(client_of(Arc::new(proxy)), |worker| {
        worker.handle(|_: Number| async { TaskResult::Ok(()) }).lane(Lane::strict(["high", "low"]))
    });
    let task = company.put(Number(0).draft().queue("low"));
    company.settled(&task);
    company.end();
}

/// A worker that serves queues by pattern finds those that come later, and everything that is due there.
fn later_queues_are_served(client: oncue::Client) {
    let company = Company::start(client.clone(), |worker| {
        worker
            .handle(async |number: Number| oncue::TaskResult::Ok(number.0))
            .lane(oncue::Lane::weighted([("default", 1), ("tenant-*", 2)]))
    });
    let first = company.put(Number(1));
    assert!(matches!(company.settled(&first).0, oncue::outcome::Decision::Complete(_)));
    for tenant in ["tenant-a", "tenant-b"] {
        let now = company.put(Number(2).draft().queue(tenant));
        assert!(matches!(company.settled(&now).0, oncue::outcome::Decision::Complete(_)));
        let soon = Number(3).draft().queue(tenant).after(std::time::Duration::from_millis(20));
        let soon = company.put(soon);
        assert!(matches!(company.settled(&soon).0, oncue::outcome::Decision::Complete(_)));
    }
    let other = company.put(Number(4).draft().queue("another"));
    let last = company.put(Number(5).draft().queue("tenant-b"));
    company.settled(&last);
    company.end();
    assert_eq!(show(&client, &other).expect("there").state, oncue::state::State::Pending);
}

on_both! { later_queues_are_served }
