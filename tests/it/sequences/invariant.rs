//! What holds at every moment of every history, by the names the design gives.

use std::collections::{BTreeMap, BTreeSet};

use oncue::broker::LockName;
use oncue::state::State;
use oncue::task::{TaskId, Trail};

use super::census::Census;
use super::locks::Holders;

/// One rule; [`Invariant::holds`] is its predicate.
#[derive(Clone, Copy, Debug)]
pub enum Invariant {
    /// A task is in exactly one state, and the counts say the same as the lists.
    I2OneState,
    /// A task is active if, and only if, one session holds it, killed but not yet swept ones included.
    I3HeldOnce,
    /// Attempts are those that were settled, and no others.
    I4AttemptsAsSettled,
    /// A refused call changes nothing.
    I5RefusedChangesNothing,
    /// Every task ever created is there, or its end was told.
    I10NothingLost,
    /// Every group that is shown holds tasks, and every task that gathers is in one.
    GroupsHoldAll,
    /// A lock that is held until the end of its task is so, under every name, while that waits or runs: so no other has it.
    LocksHeld,
}

/// One moment, as the broker shows it and as its replies told it.
pub struct Moment<'a> {
    pub before: &'a Census,
    pub now: &'a Census,
    pub refused: bool,
    pub held: Vec<TaskId>,
    pub trails: &'a BTreeMap<TaskId, Trail>,
    pub holders: Holders,
    pub locked: Vec<(TaskId, Vec<LockName>)>,
    pub created: usize,
    pub ended: usize,
}

impl Invariant {
    pub const ALL: [Self; 7] = [
        Self::I2OneState,
        Self::I3HeldOnce,
        Self::I4AttemptsAsSettled,
        Self::I5RefusedChangesNothing,
        Self::I10NothingLost,
        Self::GroupsHoldAll,
        Self::LocksHeld,
    ];

    pub fn holds(self, moment: &Moment<'_>) -> bool {
        let now = moment.now;
        match self {
            Self::I2OneState => {
                let listed = |state| now.in_state(state).count() as u64;
                now.by_id().len() == now.rows.len()
                    && State::ALL.into_iter().all(|state| now.stats.count(state) == listed(state))
            }
            Self::I3HeldOnce => {
                let holders: BTreeSet<_> = moment.held.iter().copied().collect();
                holders.len() == moment.held.len()
                    && holders == now.in_state(State::Active).collect()
            }
            Self::I4AttemptsAsSettled => {
                let none = Trail::default();
                now.rows
                    .iter()
                    .all(|(id, face)| face.trail == *moment.trails.get(id).unwrap_or(&none))
            }
            Self::I5RefusedChangesNothing => !moment.refused || moment.before == now,
            Self::GroupsHoldAll => {
                let held: u64 = now.groups.iter().map(|group| group.tasks).sum();
                held == now.stats.count(State::Aggregating)
                    && now.groups.iter().all(|group| group.tasks > 0)
            }
            Self::LocksHeld => moment.locked.iter().all(|(id, names)| {
                names.iter().all(|name| moment.holders.get(name) == Some(&Some(*id)))
            }),
            Self::I10NothingLost => moment.created == now.rows.len() + moment.ended,
        }
    }
}
