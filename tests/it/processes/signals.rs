//! Workers that are stopped, and workers that are told to end.

use oncue::Handle;
use oncue::state::State;
use rustix::process::Signal;

use super::role::NAME;
use super::stage::{Home, Player};
use crate::runtime::company::{Number, count, show};

/// A worker whose runs wait for a word, in the middle of one.
fn at_the_gate(home: &Home) -> (Player, oncue::Client, Handle) {
    let client = home.client();
    let task = oncue::block_on(client.enqueue(Number(7))).expect("enqueued");
    let worker = Player::start(home, "gated", &[(NAME, "the first")]);
    worker.until("started 7");
    (worker, client, task)
}

#[test]
fn a_stopped_worker_is_fenced_out() {
    let home = Home::new();
    let (mut first, client, task) = at_the_gate(&home);
    first.stop(&home);
    let mut second = Player::start(&home, "gated", &[(NAME, "the second")]);
    second.until("reclaimed Release");
    second.until("started 7");
    second.tell("go on");
    second.until("settled Complete");
    // The gate is open before it wakes: its run ends at once, as if nothing had happened.
    first.tell("go on");
    first.signal(Signal::CONT);
    assert_eq!(first.until("lost"), task.id().to_string());
    first.catches(Signal::TERM);
    first.signal(Signal::TERM);
    assert!(first.end().success());
    let view = show(&client, &task).expect("kept");
    assert_eq!(view.state, State::Completed);
    assert_eq!((view.trail.attempts, view.trail.crashes.len()), (0, 1), "one lost lease");
    let result = oncue::block_on(async { task.result::<String>().await });
    assert_eq!(result.expect("a result"), "the second");
    let stats = oncue::block_on(client.broker().stats()).expect("stats");
    assert_eq!((stats[0].completed, stats[0].failed), (1, 0), "one completion is recorded");
}

#[test]
fn sigterm_waits_for_what_runs() {
    let home = Home::new();
    let (mut worker, client, task) = at_the_gate(&home);
    worker.catches(Signal::TERM);
    worker.signal(Signal::TERM);
    worker.until("life Draining");
    assert_eq!(show(&client, &task).expect("kept").state, State::Active);
    worker.tell("go on");
    worker.until("settled Complete");
    assert!(worker.end().success());
    assert_eq!(count(&client, "default", State::Completed), 1);
}

#[test]
fn a_second_sigterm_does_not_wait() {
    let home = Home::new();
    let (mut worker, client, task) = at_the_gate(&home);
    worker.catches(Signal::TERM);
    worker.signal(Signal::TERM);
    worker.until("life Draining");
    worker.signal(Signal::TERM);
    // Without it the end would be an hour away.
    assert!(worker.end().success());
    let view = show(&client, &task).expect("kept");
    assert_eq!((view.state, view.trail.is_empty()), (State::Pending, true), "at no cost");
}
