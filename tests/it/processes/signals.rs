//! Workers that are stopped, and workers that are told to end.

use oncue::Handle;
use oncue::state::State;
use rustix::process::Signal;

use super::player::Player;
use super::role::NAME;
use super::stage::Home;
use crate::runtime::company::{Number, count, show};

/// A worker whose runs wait for a word, in the middle of one of each of these numbers.
fn at_the_gate<const N: usize>(
    home: &Home,
    numbers: [u64; N],
) -> (Player, oncue::Client, [Handle; N]) {
    let client = home.client();
    let enqueue = |number| oncue::block_on(client.enqueue(Number(number))).expect("enqueued");
    let tasks = numbers.map(enqueue);
    let worker = Player::start(home, "gated", &[(NAME, "the first")]);
    numbers.iter().for_each(|_| drop(worker.until("started")));
    (worker, client, tasks)
}

/// The same on each broker.
macro_rules! on {
    ($broker:ident, $open:path) => {
        mod $broker {
            use super::*;

            #[test]
            fn a_stopped_worker_is_fenced_out() {
                super::a_stopped_worker_is_fenced_out($open());
            }

            #[test]
            fn sigterm_waits_for_what_runs() {
                super::sigterm_waits_for_what_runs($open());
            }

            #[test]
            fn a_second_sigterm_does_not_wait() {
                super::a_second_sigterm_does_not_wait($open());
            }
        }
    };
}

on!(sqlite, Home::new);
#[cfg(feature = "redis")]
on!(redis, Home::on_redis);

fn a_stopped_worker_is_fenced_out(home: Home) {
    let (mut first, client, tasks) = at_the_gate(&home, [7, 8]);
    first.stop(&home);
    let mut second = Player::start(&home, "gated", &[(NAME, "the second")]);
    // A run may start before the sweep that freed it is told of.
    second.until_all(&["reclaimed Release", "reclaimed Release", "started", "started"]);
    // One is over when the first worker wakes, one runs: neither is its own any more.
    second.tell("go on");
    second.until("settled Complete");
    // The gate is open before it wakes: its runs end at once, as if nothing had happened.
    first.tell("go on");
    first.tell("go on");
    first.signal(Signal::CONT);
    let mut lost = [first.until("lost"), first.until("lost")];
    let mut ids = tasks.each_ref().map(|task| task.id().to_string());
    lost.sort();
    ids.sort();
    assert_eq!(lost, ids);
    first.catches(Signal::TERM);
    first.signal(Signal::TERM);
    assert!(first.end().success());
    let mut views = tasks.each_ref().map(|task| show(&client, task).expect("kept"));
    views.sort_by_key(|view| view.state.code());
    let states = views.each_ref().map(|view| (view.state, view.trail.crashes.len()));
    let expected = [(State::Active, 1), (State::Completed, 1)];
    assert_eq!(states, expected, "what the second one runs is left alone");
    assert_eq!(count(&client, "default", State::Active), 1, "and counted");
    second.tell("go on");
    second.until("settled Complete");
    for task in &tasks {
        let view = show(&client, task).expect("kept");
        assert_eq!(view.state, State::Completed);
        assert_eq!((view.trail.attempts, view.trail.crashes.len()), (0, 1), "one lost lease");
        let result = oncue::block_on(async { task.result::<String>().await });
        assert_eq!(result.expect("a result"), "the second");
    }
    let stats = oncue::block_on(client.broker().stats()).expect("stats");
    assert_eq!((stats[0].completed, stats[0].failed), (2, 0), "each completion is recorded once");
}

fn sigterm_waits_for_what_runs(home: Home) {
    let (mut worker, client, [task]) = at_the_gate(&home, [7]);
    worker.catches(Signal::TERM);
    worker.signal(Signal::TERM);
    worker.until("life Draining");
    assert_eq!(show(&client, &task).expect("kept").state, State::Active);
    worker.tell("go on");
    worker.until("settled Complete");
    assert!(worker.end().success());
    assert_eq!(count(&client, "default", State::Completed), 1);
}

fn a_second_sigterm_does_not_wait(home: Home) {
    let (mut worker, client, [task]) = at_the_gate(&home, [7]);
    worker.catches(Signal::TERM);
    worker.signal(Signal::TERM);
    worker.until("life Draining");
    worker.signal(Signal::TERM);
    // Without it the end would be an hour away.
    assert!(worker.end().success());
    let view = show(&client, &task).expect("kept");
    assert_eq!((view.state, view.trail.is_empty()), (State::Pending, true), "at no cost");
}
