//! Everything a broker shows of one queue at one moment, ready to be compared.

use std::collections::BTreeMap;

use oncue::broker::{Claim, Gathering, QueueStats, TaskView};
use oncue::clock::Timestamp;
use oncue::state::{Reason, State};
use oncue::task::{TaskId, Trail};

use crate::fixture::Bench;

/// What a reader can tell about one task.
#[derive(Clone, Debug, PartialEq)]
pub struct Face {
    pub state: State,
    until: Option<Timestamp>,
    reason: Option<Reason>,
    pub trail: Trail,
    result: Option<(u32, Vec<u8>)>,
    header: Vec<u8>,
    record: usize,
}

impl From<&TaskView> for Face {
    fn from(view: &TaskView) -> Self {
        Self {
            state: view.state,
            until: view.until,
            reason: view.reason,
            trail: view.trail.clone(),
            result: view.result.as_ref().map(|kept| (kept.attempt, kept.sealed.clone())),
            header: view.stored.header_bytes().to_vec(),
            record: view.stored.record_len(),
        }
    }
}

/// What a worker can tell about its claims, in the order of ids.
pub fn claimed(claims: Vec<Claim>) -> Vec<(TaskId, String, Vec<u8>)> {
    let face = |claim: &Claim| {
        format!("{:?} {:?} {:?} {:?}", claim.ticket, claim.cause, claim.trail, claim.group)
    };
    let mut faces: Vec<_> =
        claims.iter().map(|c| (c.id(), face(c), c.stored.header_bytes().to_vec())).collect();
    faces.sort();
    faces
}

/// The groups that hold tasks, in one order for all brokers.
pub fn gatherings(bench: &Bench) -> Vec<Gathering> {
    let mut all = bench.groups();
    all.sort_by_key(|g| (g.since, g.kind, g.name.clone(), g.closes, g.tasks));
    all
}

/// All tasks of a queue by state, its groups, and its counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Census {
    pub rows: Vec<(TaskId, Face)>,
    pub groups: Vec<Gathering>,
    pub stats: QueueStats,
}

impl Census {
    pub fn take(bench: &Bench) -> Self {
        let list = |state: &State| bench.list(*state);
        let rows =
            State::ALL.iter().flat_map(list).map(|view| (view.stored.id(), Face::from(&view)));
        Self { rows: rows.collect(), groups: gatherings(bench), stats: bench.stats() }
    }

    pub fn by_id(&self) -> BTreeMap<TaskId, &Face> {
        self.rows.iter().map(|(id, face)| (*id, face)).collect()
    }

    pub fn in_state(&self, state: State) -> impl Iterator<Item = TaskId> {
        self.rows.iter().filter(move |(_, face)| face.state == state).map(|(id, _)| *id)
    }
}
