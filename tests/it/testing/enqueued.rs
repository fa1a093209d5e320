//! Assertions on what is enqueued: they hold, they fail, and what they say.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use oncue::state::State;
use oncue::testing::{Bench, enqueued};
use oncue::{Client, Group, Task, TaskResult, assert_enqueued, refute_enqueued};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Welcome {
    user: u64,
}

impl Task for Welcome {
    const KIND: &'static str = "welcome";
}

/// Without a `Debug`.
#[derive(Serialize, Deserialize)]
struct Secret {
    word: String,
}

impl Task for Secret {
    const KIND: &'static str = "secret";
    const QUEUE: &'static str = "vault";
}

fn put<T: Task>(client: &Client, draft: impl Into<oncue::Draft<T>>) {
    oncue::block_on(client.enqueue(draft)).expect("enqueued");
}

/// What it panics with.
#[track_caller]
fn message(fails: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(fails)).expect_err("the assertion fails");
    panic.downcast_ref::<String>().expect("a message").clone()
}

#[test]
fn a_task_is_found_by_what_it_is_and_where() {
    let bench = Bench::new().expect("a bench");
    let client = bench.client();
    refute_enqueued!(client, Welcome);
    let later = Welcome { user: 7 }.draft().queue("mail").after(Duration::from_secs(60));
    put(client, later.priority(3).header("tenant", "acme").tag("new"));
    put(client, Welcome { user: 8 });
    assert_enqueued!(client, Welcome);
    assert_enqueued!(bench.client().clone(), Welcome, |found| found.task.user == 8
        && found.due.is_none());
    let due = Some(bench.clock().now().plus(Duration::from_secs(60)));
    assert_enqueued!(client, Welcome, |found| {
        (found.task.user, found.queue.as_str(), found.priority) == (7, "mail", 3)
            && found.due == due
            && found.header("tenant") == Some("acme")
            && found.tags == ["new"]
    },);
    refute_enqueued!(client, Welcome, |found| found.task.user == 9);
    refute_enqueued!(client, Secret);
    assert_eq!(enqueued::<Welcome>(client).expect("read").len(), 2);
}

#[test]
fn what_gathers_in_a_group_is_enqueued() {
    let bench = Bench::new().expect("a bench");
    put(bench.client(), Welcome { user: 7 }.draft().group(Group::named("new")));
    assert_enqueued!(bench.client(), Welcome, |found| {
        found.task.user == 7 && found.state == State::Aggregating && found.due.is_none()
    });
    let there = message(|| refute_enqueued!(bench.client(), Welcome));
    assert!(there.contains("Welcome { user: 7 } in default, aggregating"), "{there}");
    // It is found once it has closed, too.
    bench.clock().pass(Duration::from_secs(3_600));
    assert_enqueued!(bench.client(), Welcome);
}

#[test]
fn what_has_ended_is_not_enqueued() {
    oncue::block_on(async {
        let bench = Bench::new().expect("a bench");
        let draft = Welcome { user: 7 }.draft().retention(Duration::from_secs(60));
        bench.client().enqueue(draft).await.expect("enqueued");
        assert_enqueued!(bench.client(), Welcome);
        let welcome = |_: Welcome| async { TaskResult::Ok(()) };
        bench.drain(|worker| worker.handle(welcome)).await.expect("drained");
        refute_enqueued!(bench.client(), Welcome);
    });
}

#[test]
fn a_failure_tells_what_there_is() {
    let bench = Bench::new().expect("a bench");
    let client = bench.client();
    let none = message(|| assert_enqueued!(client, Welcome));
    assert!(none.contains("no Welcome (welcome) is enqueued"), "{none}");
    assert!(none.contains("there is no task"), "{none}");
    put(client, Welcome { user: 7 });
    put(client, Welcome { user: 8 }.draft().after(Duration::from_secs(60)));
    put(client, Secret { word: "sesame".to_owned() });
    let other = message(|| assert_enqueued!(client, Welcome, |found| found.task.user == 9));
    for part in [
        "Welcome { user: 7 } in default, pending, priority 0",
        "Welcome { user: 8 } in default, scheduled, priority 0, due ",
        "default: welcome, 1 pending",
        "default: welcome, 1 scheduled",
        "vault: secret, 1 pending",
    ] {
        assert!(other.contains(part), "{part}\n{other}");
    }
    let there = message(|| refute_enqueued!(client, Welcome, |found| found.task.user == 7));
    assert!(there.contains("should not be") && there.contains("Welcome { user: 7 }"), "{there}");
}

#[test]
fn a_type_without_debug_is_not_shown() {
    let bench = Bench::new().expect("a bench");
    put(bench.client(), Secret { word: "sesame".to_owned() });
    let told =
        message(|| assert_enqueued!(bench.client(), Secret, |found| found.task.word.is_empty()));
    assert!(told.contains("one without Debug in vault, pending"), "{told}");
    let there = message(|| refute_enqueued!(bench.client(), Secret));
    assert!(!told.contains("sesame") && !there.contains("sesame"), "{told}\n{there}");
}
