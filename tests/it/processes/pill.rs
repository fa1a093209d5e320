//! A task that takes down whoever runs it, among hundreds that do not: it costs some workers, and none of the others.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use oncue::state::{Reason, State};
use rustix::process::Signal;

use super::fleet::Fleet;
use super::role::PILL;
use super::stage::Home;
use crate::runtime::company::count;

const TASKS: u64 = 500;
const WORKERS: usize = 2;
/// How often is looked whether a worker died.
const LOOK: Duration = Duration::from_millis(5);
/// Longest all of it may take: some leases, one after the other, and what was charged running alone.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_pill_in_a_file_is_archived_and_none_of_its_neighbours() {
    archives_the_pill_alone(&Home::new());
}

#[cfg(feature = "redis")]
#[test]
fn a_pill_in_redis_is_archived_and_none_of_its_neighbours() {
    archives_the_pill_alone(&Home::on_redis());
}

fn archives_the_pill_alone(home: &Home) {
    let client = home.client();
    let mut fleet = Fleet::start(home, "pills", WORKERS);
    fleet.enqueue(&client, TASKS);
    let deadline = Instant::now() + LIMIT;
    let archived = || count(&client, "default", State::Archived);
    let ended = || count(&client, "default", State::Completed) + archived();
    while ended() < TASKS {
        assert!(Instant::now() < deadline, "{} of {TASKS} in {LIMIT:?}", ended());
        fleet.replace(Signal::ABORT);
        std::thread::sleep(LOOK);
    }
    fleet.replace(Signal::ABORT);
    let deaths = fleet.deaths();
    let evidence = fleet.end();
    println!("{deaths} workers died: {evidence:?}");
    let poisoned = evidence.check(&client, TASKS);
    assert_eq!(poisoned, HashSet::from([evidence.id(PILL)]), "the pill, and nothing else");
    assert_eq!(deaths, evidence.runs(PILL), "each run of it cost a worker, nothing else did");
    let view = evidence.show(&client, PILL);
    let crashes = view.trail.crashes;
    assert_eq!((view.state, view.reason), (State::Archived, Some(Reason::Poisoned)));
    assert!(crashes.iter().filter(|crash| crash.alone).count() >= 2, "{crashes:?}");
    assert_eq!(archived(), 1);
    home.check_integrity();
}
