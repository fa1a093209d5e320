//! Pickup across processes: told, not polled.

use std::time::{Duration, Instant};

use super::player::Player;
use super::stage::Home;
use crate::runtime::company::{Number, PATIENCE};

/// Tasks enqueued one after the other, each when the one before was answered.
const TASKS: u64 = 200;
/// A worker that found tasks, or a client that found results, by the poll of a second would need more than
/// a hundred.
const BOUND: Duration = Duration::from_secs(30);

#[test]
fn a_task_of_one_process_is_picked_up_by_another_without_a_poll() {
    picked_up(&Home::new());
}

#[cfg(feature = "redis")]
#[test]
fn a_task_of_one_process_is_picked_up_by_another_on_redis() {
    picked_up(&Home::on_redis());
}

fn picked_up(home: &Home) {
    let _worker = Player::start(home, "echo", &[]);
    let client = home.client();
    oncue::block_on(async {
        let ask = async |number| {
            let handle = client.enqueue(Number(number)).await.expect("enqueued");
            let answer = handle.result::<u64>().timeout(PATIENCE).await.expect("answered");
            assert_eq!(answer, number + 1);
        };
        // The worker is up once it answered.
        ask(0).await;
        let began = Instant::now();
        for number in 0..TASKS {
            ask(number).await;
        }
        assert!(began.elapsed() < BOUND, "{:?} for {TASKS} tasks", began.elapsed());
    });
}
