//! Producers and workers on one file, or one Redis, killed at random and replaced.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use oncue::Client;
use oncue::state::State;
use rustix::process::Signal;

use super::evidence::Evidence;
use super::ledger::{now, read};
use super::player::Player;
use super::role::{LEDGER, RANGE};
use super::stage::{Dice, Home};
use crate::runtime::company::count;

const PRODUCERS: u64 = 2;
const WORKERS: u64 = 3;
/// Between two kills, in ms: from, and how much more at most.
const PAUSE_MS: (u64, u64) = (150, 300);
/// Longest all of it may take.
const LIMIT: Duration = Duration::from_secs(150);

#[test]
fn producers_and_workers_share_one_file() {
    killed_at_random(&Home::new(), 20_000);
}

#[cfg(feature = "redis")]
#[test]
fn producers_and_workers_share_one_redis() {
    killed_at_random(&Home::on_redis(), 8_000);
}

fn killed_at_random(home: &Home, tasks: u64) {
    let mut dice = Dice::new();
    let client = home.client();
    let mut crowd = Crowd::start(home, tasks);
    let deadline = Instant::now() + LIMIT;
    // Archived is an end as well; whether it was deserved is asked below.
    while ended(&client) < tasks {
        assert!(Instant::now() < deadline, "{} of {tasks} in {LIMIT:?}", ended(&client));
        // The schedule of the faults, not a wait for anything.
        std::thread::sleep(Duration::from_millis(PAUSE_MS.0 + dice.roll(PAUSE_MS.1)));
        crowd.kill_one(&mut dice);
    }
    crowd.end();
    let (kills, evidence) = (crowd.deaths.len(), Evidence::of(home, &crowd.names, crowd.deaths));
    evidence.check(&client, tasks);
    println!("{kills} kills, {evidence:?}");
    home.check_integrity();
}

fn ended(client: &Client) -> u64 {
    count(client, "default", State::Completed) + count(client, "default", State::Archived)
}

/// A place in the crowd; who takes it changes.
enum Place {
    /// Enqueues the numbers of its share.
    Producer(u64),
    Worker,
}

/// Who is there now.
struct Member {
    place: Place,
    name: String,
    player: Player,
}

struct Crowd<'h> {
    home: &'h Home,
    /// How many are enqueued, by all producers.
    tasks: u64,
    members: Vec<Member>,
    /// All who ever were there.
    names: Vec<String>,
    /// When each was killed.
    deaths: HashMap<String, u64>,
}

impl<'h> Crowd<'h> {
    fn start(home: &'h Home, tasks: u64) -> Self {
        let (members, names) = (Vec::new(), Vec::new());
        let mut crowd = Self { home, tasks, members, names, deaths: HashMap::new() };
        (0..PRODUCERS).for_each(|share| crowd.add(Place::Producer(share)));
        (0..WORKERS).for_each(|_| crowd.add(Place::Worker));
        crowd
    }

    /// Fills a place with somebody new, who goes on where the ledgers of those before end.
    fn add(&mut self, place: Place) {
        let (home, serial) = (self.home, self.names.len());
        let (role, name) = match &place {
            Place::Producer(share) => ("producer", format!("producer-{share}-{serial}")),
            Place::Worker => ("worker", format!("worker-{serial}")),
        };
        let share = self.tasks / PRODUCERS;
        let [from, to] = match &place {
            Place::Producer(number) => {
                let acked = self.acked(&format!("producer-{number}-"));
                [acked.unwrap_or(number * share), (number + 1) * share]
            }
            Place::Worker => [0, 0],
        };
        let ledger = home.path(&name).display().to_string();
        let (from, to) = (from.to_string(), to.to_string());
        let words = [(LEDGER, ledger.as_str()), (RANGE[0], &from), (RANGE[1], &to)];
        let player = Player::start(home, role, &words);
        self.names.push(name.clone());
        self.members.push(Member { place, name, player });
    }

    /// Up to which number a producer had its tasks acknowledged.
    fn acked(&self, prefix: &str) -> Option<u64> {
        let names = self.names.iter().filter(|name| name.starts_with(prefix));
        let lines = names.flat_map(|name| read(&self.home.path(name)));
        lines.map(|line| line[2].parse().expect("a number")).max()
    }

    /// Kills anybody and puts another in the place.
    fn kill_one(&mut self, dice: &mut Dice) {
        let chosen = usize::try_from(dice.roll(self.members.len() as u64)).expect("small");
        let mut member = self.members.swap_remove(chosen);
        match (member.player.has_ended(), &member.place) {
            // It enqueued all it had to.
            (Some(status), Place::Producer(_)) if status.success() => return,
            (Some(status), _) => panic!("{} ended by itself: {status}", member.name),
            (None, _) => {}
        }
        // Before the kill: from here on the lease of its sessions may not be extended any more.
        self.deaths.insert(member.name, now());
        member.player.kill();
        self.add(member.place);
    }

    /// Ends who is left, as they should end.
    fn end(&mut self) {
        for Member { place, name, mut player } in std::mem::take(&mut self.members) {
            if let Place::Worker = place {
                player.catches(Signal::TERM);
                player.signal(Signal::TERM);
            }
            assert!(player.end().success(), "{name} ends well");
        }
    }
}
