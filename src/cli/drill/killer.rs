//! The killer: which fault comes when to whom, by chance that the seed repeats.

use std::time::{Duration, Instant};

use oncue::Result;

use super::child::Role;
use super::dice::Dice;
use super::fleet::{Fleet, TICK};
use super::ledger::Line;
use super::member::Standing;
use super::plan::LEASE;
use super::producer::stored;
use super::progress::Progress;

/// Between two faults, in ms: from and to.
const PAUSE_MS: (u64, u64) = (200, 1_200);

/// What is done to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Kill,
    Terminate,
    Stop(Duration),
    /// It runs last, and a task blocks a thread of some worker.
    Starve,
}

/// A stop: half a lease to three.
fn stop(dice: &mut Dice) -> Fault {
    let lease = LEASE.as_millis() as u64;
    Fault::Stop(Duration::from_millis(dice.between(lease / 2, lease * 3)))
}

/// The next fault, and the sort of process it is for.
fn next(dice: &mut Dice) -> (Fault, fn(Role) -> bool) {
    let (who, what) = (dice.roll(100), dice.roll(100));
    if who < 70 {
        let fault = match what {
            0..35 => Fault::Kill,
            35..50 => Fault::Terminate,
            50..85 => stop(dice),
            _ => Fault::Starve,
        };
        return (fault, |role| role == Role::Worker);
    }
    let fault = match what {
        0..50 => Fault::Kill,
        50..70 => Fault::Terminate,
        _ => stop(dice),
    };
    let is_one: fn(Role) -> bool = match who {
        70..85 => |role| role == Role::Scheduler,
        _ => |role| matches!(role, Role::Producer { .. }),
    };
    (fault, is_one)
}

/// Does what chance says for so long.
pub(super) async fn haunt(
    fleet: &mut Fleet<'_>,
    dice: &mut Dice,
    how_long: Duration,
    progress: &Progress,
) -> Result<()> {
    let end = Instant::now() + how_long;
    let mut hogs = fleet.plan.hogs();
    let mut due = Instant::now();
    while Instant::now() < end {
        fleet.tick()?;
        progress.show(fleet.counts).await;
        if Instant::now() < due {
            tokio::time::sleep(TICK).await;
            continue;
        }
        due += Duration::from_millis(dice.between(PAUSE_MS.0, PAUSE_MS.1));
        let (fault, is_one) = next(dice);
        let chosen = dice.roll(u64::MAX) as usize;
        let up = |member: &super::member::Member| member.standing == Standing::Up;
        let able = fleet.members.iter().enumerate();
        let able = able.filter(|(_, member)| up(member) && is_one(member.role));
        let able: Vec<usize> = able.map(|(at, _)| at).collect();
        // Those who are under a fault already have enough of it.
        let Some(member) = able.get(chosen.checked_rem(able.len()).unwrap_or(0)).copied() else {
            continue;
        };
        match fault {
            Fault::Kill => fleet.kill(member),
            Fault::Terminate => fleet.terminate(member),
            Fault::Stop(how_long) => fleet.stop(member, how_long).await,
            Fault::Starve => {
                fleet.counts.starved += 1;
                fleet.members[member].renice();
                if let Some(number) = hogs.next() {
                    hog(fleet, number).await?;
                }
            }
        }
    }
    fleet.go_on();
    // What was not needed as a fault is enqueued all the same: the numbers are promised.
    for number in hogs {
        hog(fleet, number).await?;
    }
    Ok(())
}

/// Enqueues a task that blocks a thread.
async fn hog(fleet: &Fleet<'_>, number: u64) -> Result<()> {
    let (client, queue) = (&fleet.place.client, fleet.place.queue.as_str());
    fleet.ledger.add(&[Line::Going { from: number, until: number + 1 }]);
    let handle = stored(client, fleet.plan, number, queue, fleet.keep).await?;
    let (id, created) = (handle.id(), handle.is_created());
    fleet.ledger.add(&[Line::Acked { number, id, created }]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_is_the_same_choice_and_every_fault_comes() {
        let faults = |seed| {
            let mut dice = Dice::new(seed);
            (0..200).map(|_| next(&mut dice).0).collect::<Vec<_>>()
        };
        let some = faults(7);
        assert!(some == faults(7) && some != faults(8));
        for fault in [Fault::Kill, Fault::Terminate, Fault::Starve] {
            assert!(some.contains(&fault), "{fault:?}");
        }
        let stops = some.iter().filter_map(|fault| match fault {
            Fault::Stop(how_long) => Some(*how_long),
            _ => None,
        });
        let stops: Vec<_> = stops.collect();
        assert!(stops.iter().all(|stop| (LEASE / 2..=LEASE * 3).contains(stop)), "{stops:?}");
        assert!(stops.iter().any(|stop| *stop < LEASE) && stops.iter().any(|stop| *stop > LEASE));
    }
}
