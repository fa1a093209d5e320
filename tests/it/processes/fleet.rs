//! Workers in processes of their own: whenever one dies another takes its place. Not here: who kills them.

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;

use oncue::{Client, Task};
use rustix::process::Signal;

use super::evidence::Evidence;
use super::ledger::{Ledger, now, read};
use super::player::Player;
use super::role::LEDGER;
use super::stage::{Dice, Home};
use crate::runtime::company::Number;

/// Who writes down what was enqueued.
const PRODUCER: &str = "producer";

/// Workers of one role on one queue.
pub struct Fleet<'h> {
    home: &'h Home,
    role: &'static str,
    workers: Vec<(String, Player)>,
    /// All who ever wrote a ledger.
    names: Vec<String>,
    /// When each was dead.
    deaths: HashMap<String, u64>,
    /// How many numbers were enqueued.
    tasks: u64,
}

impl<'h> Fleet<'h> {
    /// So many workers.
    pub fn start(home: &'h Home, role: &'static str, workers: usize) -> Self {
        let (names, deaths) = (vec![PRODUCER.to_owned()], HashMap::new());
        let mut fleet = Self { home, role, workers: Vec::new(), names, deaths, tasks: 0 };
        (0..workers).for_each(|_| fleet.add());
        fleet
    }

    fn add(&mut self) {
        let name = format!("worker-{}", self.names.len());
        let ledger = self.home.path(&name).display().to_string();
        let player = Player::start(self.home, self.role, &[(LEDGER, &ledger)]);
        self.names.push(name.clone());
        self.workers.push((name, player));
    }

    /// Enqueues the next numbers.
    pub fn enqueue(&mut self, client: &Client, numbers: u64) {
        let (from, until) = (self.tasks, self.tasks + numbers);
        let drafts = (from..until).map(|number| Number(number).draft().key(number.to_string()));
        oncue::block_on(client.enqueue_all(drafts)).expect("enqueued");
        let ledger = Ledger::open(&self.home.path(PRODUCER));
        ledger.line(&format!("acked {from} {until}"));
        self.tasks = until;
    }

    /// How many numbers were enqueued.
    pub fn tasks(&self) -> u64 {
        self.tasks
    }

    /// How many runs began.
    pub fn begun(&self) -> u64 {
        self.wrote(self.names.iter(), "start")
    }

    /// How many runs of the dead did not end.
    pub fn cut_short(&self) -> u64 {
        self.wrote(self.deaths.keys(), "start") - self.wrote(self.deaths.keys(), "end")
    }

    fn wrote<'n>(&self, names: impl Iterator<Item = &'n String>, verb: &str) -> u64 {
        let lines = names.flat_map(|name| read(&self.home.path(name)));
        lines.filter(|line| line[0] == verb).count() as u64
    }

    /// How many died.
    pub fn deaths(&self) -> usize {
        self.deaths.len()
    }

    /// Sends SIGKILL to one of them and starts another.
    pub fn kill_one(&mut self, dice: &mut Dice) {
        let chosen = usize::try_from(dice.roll(self.workers.len() as u64)).expect("small");
        let (name, mut player) = self.workers.swap_remove(chosen);
        assert!(player.has_ended().is_none(), "{name} ended by itself");
        // Before the kill: from here on nobody extends its lease.
        self.deaths.insert(name, now());
        player.kill();
        self.add();
    }

    /// Starts another for each that was ended by this signal, which is the only way they may end.
    pub fn replace(&mut self, signal: Signal) {
        let mut dead = 0;
        for (name, player) in &mut self.workers {
            let Some(status) = player.has_ended() else { continue };
            assert_eq!(status.signal(), Some(signal.as_raw()), "{name}: {status}");
            self.deaths.insert(name.clone(), now());
            dead += 1;
        }
        self.workers.retain(|(name, _)| !self.deaths.contains_key(name));
        (0..dead).for_each(|_| self.add());
    }

    /// Ends those who live as they should end, and answers what all of them wrote down.
    pub fn end(mut self) -> Evidence {
        for (name, player) in &mut self.workers {
            player.catches(Signal::TERM);
            player.signal(Signal::TERM);
            assert!(player.end().success(), "{name} ends well");
        }
        Evidence::of(self.home, &self.names, self.deaths)
    }
}
