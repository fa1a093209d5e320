//! The one panic that no supervision survives: one while another unwinds. Rust aborts the process.

use std::os::unix::process::ExitStatusExt;

use oncue::Task;
use oncue::state::State;
use rustix::process::Signal;

use super::player::Player;
use super::stage::Home;
use crate::runtime::company::{Number, count};

#[test]
fn a_panic_is_survived_and_a_panic_while_another_unwinds_is_not() {
    let home = Home::new();
    let client = home.client();
    let enqueue = |number| {
        let task = Number(number).draft().max_retry(0);
        oncue::block_on(client.enqueue(task)).expect("enqueued")
    };
    enqueue(1);
    let mut worker = Player::start(&home, "panics", &[]);
    // The control: one panic is a failed task.
    assert_eq!(worker.until("settled"), "panic");
    assert!(worker.has_ended().is_none());
    enqueue(2);
    assert_eq!(worker.end().signal(), Some(Signal::ABORT.as_raw()));
    assert_eq!(count(&client, "default", State::Active), 1, "left to the lease");
}
