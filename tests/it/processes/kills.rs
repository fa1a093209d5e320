//! Workers that are killed at random, tasks that are innocent: all of them end well, and none is held for poison.

use std::time::{Duration, Instant};

use oncue::state::State;

use super::fleet::Fleet;
use super::stage::{Dice, Home};
use crate::runtime::company::count;

const WORKERS: usize = 3;
const KILLS: usize = 15;
/// Numbers enqueued before each kill, which comes when some of them have begun.
const BATCH: u64 = 30;
/// Between two kills, in ms, at most: what the first one cut short may run again when the next one comes.
const PAUSE_MS: u64 = 400;
/// Longest all of it may take.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn kills_cost_no_task_in_a_file() {
    all_end_well(&Home::new());
}

#[cfg(feature = "redis")]
#[test]
fn kills_cost_no_task_in_redis() {
    all_end_well(&Home::on_redis());
}

fn all_end_well(home: &Home) {
    let (mut dice, client) = (Dice::new(), home.client());
    let mut fleet = Fleet::start(home, "worker", WORKERS);
    let deadline = Instant::now() + LIMIT;
    let wait_until = |is_so: &dyn Fn() -> bool, what: &str| {
        while !is_so() {
            assert!(Instant::now() < deadline, "{what}: not in {LIMIT:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    // Chance may spare every run: kills that cut none short show nothing.
    while fleet.deaths() < KILLS || fleet.cut_short() == 0 {
        // The schedule of the faults, not a wait for anything.
        std::thread::sleep(Duration::from_millis(dice.roll(PAUSE_MS)));
        let begun = fleet.begun() + 1 + dice.roll(BATCH - 1);
        fleet.enqueue(&client, BATCH);
        wait_until(&|| fleet.begun() >= begun, "some begin");
        fleet.kill_one(&mut dice);
    }
    let tasks = fleet.tasks();
    let completed = || count(&client, "default", State::Completed);
    let archived = || count(&client, "default", State::Archived);
    wait_until(&|| completed() + archived() >= tasks, "all end");
    assert_eq!(completed(), tasks, "none is archived");
    let deaths = fleet.deaths();
    let evidence = fleet.end();
    println!("{deaths} kills: {evidence:?}");
    assert!(evidence.check(&client, tasks).is_empty());
    home.check_integrity();
}
