//! Sessions in the model: who may claim, who may settle, who is remembered.

use std::time::Duration;

use oncue::broker::{SESSION_MEMORY, SessionId};
use oncue::clock::Timestamp;
use oncue::task::TaskId;

use super::book::{Book, Place};
use super::faulty;

/// One session as the books know it.
#[derive(Clone)]
pub struct Desk {
    pub lease: Timestamp,
    pub retired: Option<Timestamp>,
    pub dead: Option<Timestamp>,
}

/// What a session is at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Claims and settles.
    Live,
    /// Its lease ran out and nobody killed it: settles, and a beat revives it.
    Expired,
    /// Settles what it still holds.
    Retired,
    /// Killed.
    Dead,
    /// Never opened, or forgotten.
    Unknown,
}

impl Book {
    pub fn standing(&self, id: SessionId) -> Standing {
        let Some(desk) = self.desks.get(&id) else { return Standing::Unknown };
        let ended = desk.dead.or(desk.retired);
        if ended.is_some_and(|at| at.plus(SESSION_MEMORY) <= self.now) && self.held(id).is_empty() {
            return Standing::Unknown;
        }
        match desk {
            Desk { dead: Some(_), .. } => Standing::Dead,
            Desk { retired: Some(_), .. } => Standing::Retired,
            Desk { lease, .. } if *lease <= self.now => Standing::Expired,
            Desk { .. } => Standing::Live,
        }
    }

    /// Whether the contract says what this session may do: not once it is retired and empty and its
    /// lease is over, when one broker still knows it and another has buried it.
    pub fn is_certain(&self, id: SessionId) -> bool {
        self.desks.get(&id).is_none_or(|desk| {
            let open = desk.lease > self.now && self.standing(id) != Standing::Unknown;
            desk.retired.is_none() || open || !self.held(id).is_empty()
        })
    }

    /// Whether a late claim of this session is surely refused.
    pub fn is_remembered(&self, id: SessionId) -> bool {
        self.desks.contains_key(&id) && self.standing(id) != Standing::Unknown
    }

    pub fn held(&self, id: SessionId) -> Vec<TaskId> {
        let mine = |place: &Place| matches!(place, Place::Active(holder) if *holder == id);
        self.tasks.iter().filter(|(_, row)| mine(&row.place)).map(|(id, _)| *id).collect()
    }

    /// What it holds and is cancelled.
    pub fn doomed(&self, id: SessionId) -> Vec<TaskId> {
        let mut held = self.held(id);
        held.retain(|id| self.tasks.get(id).is_some_and(|row| row.doomed));
        held
    }

    pub fn may_claim(&self, id: SessionId) -> bool {
        match self.standing(id) {
            Standing::Live | Standing::Unknown => true,
            Standing::Retired => faulty!(self, ReopenRetired),
            Standing::Expired | Standing::Dead => false,
        }
    }

    /// Opens a session at its first claim; the lease of an open one stays as it is.
    pub fn open(&mut self, id: SessionId, lease: Duration) {
        if self.standing(id) == Standing::Unknown {
            let lease = self.now.plus(lease);
            self.desks.insert(id, Desk { lease, retired: None, dead: None });
        }
    }

    pub fn retire(&mut self, id: SessionId, known: &[TaskId]) -> usize {
        let now = self.now;
        match self.standing(id) {
            Standing::Dead => return 0,
            Standing::Unknown => {
                self.desks.insert(id, Desk { lease: now, retired: Some(now), dead: None });
                return 0;
            }
            Standing::Live | Standing::Expired | Standing::Retired => {}
        }
        if let Some(desk) = self.desks.get_mut(&id) {
            desk.retired.get_or_insert(now);
        }
        let mut back = self.held(id);
        back.retain(|task| !known.contains(task) || faulty!(self, RetireKnown));
        if faulty!(self, RetireNothing) {
            back.clear();
        }
        // The last in line first: so they stand as they stood.
        back.sort_by_key(|id| std::cmp::Reverse(self.tasks[id].line));
        back.iter().for_each(|task| self.release(*task));
        back.len()
    }

    /// Extends a lease; false if the session is gone.
    pub fn beat(&mut self, id: SessionId, lease: Duration) -> bool {
        let gone = match self.standing(id) {
            Standing::Dead => !faulty!(self, BeatRevives),
            Standing::Unknown => true,
            Standing::Live | Standing::Expired | Standing::Retired => false,
        };
        let lease = self.now.plus(lease);
        match self.desks.get_mut(&id) {
            Some(desk) if !gone => {
                desk.lease = desk.lease.max(lease);
                desk.dead = None;
                true
            }
            _ => false,
        }
    }

    /// Kills what expired, unless the ticks had a gap.
    pub fn kill(&mut self, gap: Duration) {
        let now = self.now;
        if self.tick.is_none_or(|tick| now.since(tick) > gap) && !faulty!(self, ReclaimAfterGap) {
            self.guarded = now.plus(gap);
        }
        self.tick = Some(now);
        if now < self.guarded {
            return;
        }
        let early = faulty!(self, ReclaimAlive);
        // Who was closed so long ago that he is forgotten is not remembered anew.
        let known = |id: &&SessionId| self.standing(**id) != Standing::Unknown;
        let known: Vec<SessionId> = self.desks.keys().filter(known).copied().collect();
        for id in known {
            if let Some(desk) = self.desks.get_mut(&id).filter(|desk| desk.lease <= now || early) {
                desk.dead.get_or_insert(now);
            }
        }
    }
}
