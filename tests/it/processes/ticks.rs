//! Three processes keep one timetable; one of them is stopped, and goes on with what it saw before.

use std::collections::BTreeSet;

use oncue::state::State;
use rustix::process::Signal;

use super::player::Player;
use super::stage::Home;
use crate::runtime::company::count;

/// Ticks that are waited for before, while and after one of them stands still.
const TICKS: usize = 3;

#[test]
fn a_stopped_scheduler_costs_and_doubles_no_tick_in_a_file() {
    a_stopped_scheduler_costs_and_doubles_no_tick(&Home::new());
}

#[test]
#[cfg(feature = "redis")]
fn a_stopped_scheduler_costs_and_doubles_no_tick_in_redis() {
    a_stopped_scheduler_costs_and_doubles_no_tick(&Home::on_redis());
}

fn a_stopped_scheduler_costs_and_doubles_no_tick(home: &Home) {
    let client = home.client();
    let mut players = [(); 3].map(|()| Player::start(home, "ticks", &[]));
    let mut ticks = Vec::new();
    let history = || oncue::block_on(client.cron().history("each")).unwrap_or_default();
    let pass = |ticks: usize| {
        let before = history().len();
        super::stage::wait_for(|| history().len() >= before + ticks);
    };
    pass(TICKS);
    players[0].stop(home);
    pass(TICKS);
    players[0].signal(Signal::CONT);
    pass(TICKS);
    for player in &mut players {
        player.catches(Signal::TERM);
        player.signal(Signal::TERM);
        let said = player.last_words();
        ticks
            .extend(said.iter().filter_map(|line| line.strip_prefix("ticked ")).map(str::to_owned));
        assert!(player.end().success());
    }
    let history = history();
    let all: BTreeSet<_> = history.iter().map(|(at, _)| at.to_string()).collect();
    let own: BTreeSet<_> = ticks.iter().cloned().collect();
    assert_eq!((own.len(), &own), (ticks.len(), &all), "each tick was one Scheduler's own");
    let (first, last) = (history[0].0, history[history.len() - 1].0);
    let seconds = last.since(first).as_secs() as usize + 1;
    assert_eq!(history.len(), seconds, "and none was left out");
    let tasks: u64 = State::ALL.map(|state| count(&client, "default", state)).iter().sum();
    assert_eq!(tasks, seconds as u64, "and each is one task");
}
