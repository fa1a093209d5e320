//! SIGKILL while batches are committed: what was acknowledged is there, and nothing is half there.

use std::collections::HashSet;
use std::time::Duration;

use oncue::Client;
use oncue::broker::{PAGE_ROWS_MAX, Page};
use oncue::queue::QueueName;
use oncue::state::State;

use super::player::Player;
use super::stage::{Dice, Home};
use crate::runtime::company::count;

const KILLS: usize = 200;
/// The kill comes this long after the first acknowledgement, at most.
const LATEST: Duration = Duration::from_millis(15);
/// Kills from one look at every page and every task to the next.
const THOROUGH: usize = 20;

#[test]
fn two_hundred_kills_during_commit() {
    let (home, mut dice) = (Home::new(), Dice::new());
    let (mut acked, mut stored, mut unacked) = (HashSet::new(), 0, 0);
    for kill in 1..=KILLS {
        let mut child = Player::start(&home, "hasty", &[]);
        let first = child.until("acked");
        // The moment of the fault, not a wait for anything.
        std::thread::sleep(LATEST.mul_f64(dice.roll(1_000) as f64 / 1_000.0));
        child.kill();
        acked.extend(first.split(' ').map(str::to_owned));
        let mut going = 0;
        for line in child.last_words() {
            match line.split_once(' ').expect("two words") {
                ("going", count) => going = count.parse().expect("a number"),
                (_, ids) => {
                    acked.extend(ids.split(' ').map(str::to_owned));
                    going = 0;
                }
            }
        }
        // Opened anew each time: whoever comes next finds the log as the kill left it.
        let client = home.client();
        let now = count(&client, "default", State::Pending);
        let known = acked.len() as u64 + unacked;
        assert!(now >= known, "{known} are known to be stored, {now} are counted");
        let surplus = now - known;
        assert!(surplus == 0 || surplus == going, "{surplus} of a batch of {going} are stored");
        unacked += surplus;
        assert!(now > stored);
        stored = now;
        if kill % THOROUGH == 0 {
            home.check_integrity();
            let found = pending(&client);
            assert_eq!(found.len() as u64, stored, "as many as are counted");
            let missing: Vec<_> = acked.difference(&found).collect();
            assert!(missing.is_empty(), "acknowledged and gone: {missing:?}");
        }
    }
    println!("{KILLS} kills, {} tasks acknowledged, {unacked} stored besides", acked.len());
}

/// The ids of all pending tasks.
fn pending(client: &Client) -> HashSet<String> {
    let queue = QueueName::parse("default").expect("a name");
    let mut page = Page { queue, state: State::Pending, cursor: None, rows: PAGE_ROWS_MAX };
    let mut found = HashSet::new();
    loop {
        let listing = oncue::block_on(client.broker().list(page.clone())).expect("listed");
        found.extend(listing.tasks.iter().map(|task| task.stored.id().to_string()));
        match listing.cursor {
            Some(cursor) => page.cursor = Some(cursor),
            None => return found,
        }
    }
}
