//! The wall clock jumps by an hour, forth and back, before workers start and while they run: nothing begins before
//! it is due, no lease is lost, nothing is lost and nothing runs twice.
//!
//! On Redis the clocks of workers and producers do not matter: time is the server's. On a file it is the machine's,
//! the same for all who share it.

use std::collections::HashMap;
use std::time::Duration;

use oncue::Client;
use rustix::process::Signal;

use super::ledger::read;
use super::player::Player;
use super::role::{DELAY, LEDGER, RANGE, SLOW};
use super::stage::{Home, wait_for};
use crate::wall_clock::WallClock;

const HOUR: i64 = 3_600;
/// Numbers a round enqueues for later.
const LATER: u64 = 50;
/// Numbers in the middle of which a clock jumps.
const HELD: u64 = 6;
/// From one jump to the next: longer than nobody is killed after one.
const BETWEEN_JUMPS: Duration = Duration::from_millis(600);
const WORKERS: usize = 3;

/// Workers that live by clocks, and what they wrote down.
struct Shift<'h> {
    home: &'h Home,
    client: Client,
    workers: Vec<Player>,
    names: Vec<String>,
    /// How many numbers were enqueued.
    tasks: u64,
}

impl<'h> Shift<'h> {
    fn new(home: &'h Home) -> Self {
        let (workers, names) = (Vec::new(), Vec::new());
        Self { home, client: home.client(), workers, names, tasks: 0 }
    }

    fn play(&mut self, role: &str, clock: &WallClock, range: [u64; 2]) -> Player {
        let name = format!("{role}-{}", self.names.len());
        let ledger = self.home.path(&name).display().to_string();
        let [from, to] = range.map(|number| number.to_string());
        let environment =
            clock.environment().map(|(name, path)| (name, path.display().to_string()));
        let mut words = vec![(LEDGER, ledger.as_str()), (RANGE[0], &from), (RANGE[1], &to)];
        words.extend(environment.iter().map(|(name, path)| (*name, path.as_str())));
        let player = Player::start(self.home, role, &words);
        self.names.push(name);
        player
    }

    fn add_worker(&mut self, clock: &WallClock) {
        let worker = self.play("worker", clock, [0, 0]);
        self.workers.push(worker);
    }

    /// Another process enqueues numbers: for later, or from `SLOW` on at once.
    fn enqueue(&mut self, role: &str, clock: &WallClock, numbers: u64) {
        let from = self.tasks + if role == "producer" { SLOW } else { 0 };
        assert!(self.play(role, clock, [from, from + numbers]).end().success());
        self.tasks += numbers;
    }

    fn lines(&self, verb: &str) -> Vec<Vec<String>> {
        let all = self.names.iter().flat_map(|name| read(&self.home.path(name)));
        all.filter(|line| line[0] == verb).collect()
    }

    /// How many were ever completed; a jump may end their retention.
    fn completed(&self) -> u64 {
        let stats = oncue::block_on(self.client.broker().stats()).expect("stats");
        stats.first().map_or(0, |stats| stats.completed)
    }

    /// Ends the workers and checks what they wrote down. Answers how far ahead of this one the
    /// clock of each producer of the later role was, in hours.
    fn check(mut self) -> Vec<i64> {
        wait_for(|| self.completed() == self.tasks);
        for worker in &mut self.workers {
            worker.catches(Signal::TERM);
            worker.signal(Signal::TERM);
            assert!(worker.end().success());
        }
        assert_eq!(self.lines("lost"), Vec::<Vec<String>>::new(), "no lease is lost");
        for verb in ["start", "end"] {
            let mut runs: HashMap<String, u32> = HashMap::new();
            self.lines(verb).iter().for_each(|line| *runs.entry(line[1].clone()).or_default() += 1);
            assert_eq!(runs.len() as u64, self.tasks, "each has a {verb}");
            assert!(runs.values().all(|times| *times == 1), "each has one {verb}: {runs:?}");
        }
        let stats = oncue::block_on(self.client.broker().stats()).expect("stats");
        assert_eq!((stats[0].completed, stats[0].failed), (self.tasks, 0));
        let here = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs().cast_signed();
        let seconds = |line: &Vec<String>| line[1].parse::<i64>().expect("seconds");
        let hours = |ahead: i64| (ahead + HOUR / 2).div_euclid(HOUR);
        self.lines("wall").iter().map(|line| hours(seconds(line) - here)).collect()
    }

    /// How long after it was asked for each number for later began, the first of them, in ns.
    fn soonest(&self, from: u64) -> u64 {
        let at = |line: &Vec<String>| -> (u64, u64) {
            (line[1].parse().expect("a number"), line[2].parse().expect("ns"))
        };
        let starts: HashMap<u64, u64> = self.lines("start").iter().map(at).collect();
        let asked = self.lines("asked");
        let asked = asked.iter().map(at).filter(|(number, _)| *number >= from);
        asked.map(|(number, asked)| starts[&number] - asked).min().expect("some")
    }
}

/// What is due after `DELAY` by a clock of whole ms begins no sooner.
fn assert_punctual(soonest: u64) {
    let delay = u64::try_from(DELAY.as_nanos()).expect("short");
    assert!(soonest + 1_000_000 >= delay, "due after {delay} ns, begun after {soonest} ns");
}

#[cfg(feature = "redis")]
#[test]
fn clocks_of_workers_do_not_matter_to_redis() {
    let home = Home::on_redis();
    let mut shift = Shift::new(&home);
    // Before the start: an hour ahead, an hour behind, right.
    let clocks = [HOUR, -HOUR, 0].map(WallClock::ahead);
    clocks.iter().for_each(|clock| shift.add_worker(clock));
    for jumps in [[-HOUR, HOUR, HOUR], [HOUR, -HOUR, -HOUR]] {
        // In the middle of runs, and while others wait for their time.
        shift.enqueue("producer", &clocks[0], HELD);
        let held = shift.tasks;
        wait_for(|| shift.lines("start").len() as u64 == held);
        clocks[..2].iter().for_each(|clock| shift.enqueue("later", clock, LATER / 2));
        clocks.iter().zip(jumps).for_each(|(clock, jump)| clock.set(jump));
        wait_for(|| shift.completed() == shift.tasks);
    }
    assert_punctual(shift.soonest(0));
    assert_eq!(shift.check(), [1, -1, -1, 1], "a control: the producers' clocks, in hours ahead");
}

#[test]
fn the_clock_of_a_machine_jumps_under_a_file() {
    let home = Home::new();
    let mut shift = Shift::new(&home);
    let clock = WallClock::ahead(HOUR);
    (0..WORKERS).for_each(|_| shift.add_worker(&clock));
    for jumps in [&[2, 3, 4][..], &[0]] {
        shift.enqueue("producer", &clock, HELD);
        wait_for(|| shift.lines("start").len() as u64 == shift.tasks);
        for hours in jumps {
            // The schedule of the faults, not a wait for anything: between two beats, wherever.
            std::thread::sleep(BETWEEN_JUMPS);
            clock.set(hours * HOUR);
        }
        let from = shift.tasks;
        shift.enqueue("later", &clock, LATER);
        wait_for(|| shift.completed() == shift.tasks);
        assert_punctual(shift.soonest(from));
    }
    assert_eq!(shift.check(), [4, 0], "a control: the producers' clock, in hours ahead");
}
