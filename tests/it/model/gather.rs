//! Gatherings in the model: one row for each opening of a group; its tasks point to it.

use oncue::broker::*;
use oncue::clock::Timestamp;
use oncue::queue::KindHash;
use oncue::task::TaskId;

use super::book::{Book, Place, Row};
use super::faulty;
use crate::fixture::Terms;

/// One opening of a group.
#[derive(Clone)]
pub struct Opening {
    pub kind: KindHash,
    name: String,
    since: Timestamp,
    closes: Timestamp,
    /// When it was closed: the earliest and the latest moment one can call so.
    pub closed: Option<(Timestamp, Timestamp)>,
}

impl Row {
    /// Whether it joins its group instead of becoming pending.
    pub fn gathers(&self) -> bool {
        self.group.is_some() && self.lane == Lane::Shared
    }
}

impl Book {
    /// Joins the open gathering of its group, or opens one.
    pub fn join(&mut self, id: TaskId) {
        let now = self.now;
        let Some((row, terms)) = self.tasks.get(&id).and_then(|r| Some((r, r.group.clone()?)))
        else {
            return;
        };
        let (kind, Terms { name, grace, within, most }) = (row.ticket.kind, terms);
        // One that lost all its tasks is gone, though its row may still be here.
        let same = |n: &u64, opening: &Opening| {
            (opening.kind, &opening.name) == (kind, &name)
                && opening.closed.is_none()
                && !self.members(*n).is_empty()
        };
        let open = self.openings.iter().find(|(n, opening)| same(n, opening)).map(|(n, _)| *n);
        let n = open.unwrap_or(self.opened + 1);
        self.opened = self.opened.max(n);
        let new = Opening { kind, name, since: now, closes: now, closed: None };
        let opening = self.openings.entry(n).or_insert(new);
        let latest = within.map(|within| opening.since.plus(within));
        opening.closes = latest.into_iter().fold(now.plus(grace), Timestamp::min);
        if let Some(row) = self.tasks.get_mut(&id) {
            (row.place, row.joined) = (Place::Aggregating(n), now);
            (row.released, row.front, row.doomed) = (false, false, false);
        }
        if self.members(n).len() >= most {
            self.close(n);
        }
    }

    fn close(&mut self, n: u64) {
        let now = self.now;
        if let Some(opening) = self.openings.get_mut(&n) {
            opening.closed = Some((opening.closes.min(now), now));
        }
    }

    /// Closes up to `limit` gatherings whose time has come; how many.
    pub fn close_due(&mut self, limit: usize) -> usize {
        let due = self.closing();
        let due: Vec<_> = due.into_iter().filter(|(at, _)| *at <= self.now).take(limit).collect();
        due.iter().for_each(|(_, n)| self.close(*n));
        due.len()
    }

    /// When open gatherings close, the earliest first.
    pub fn closing(&self) -> Vec<(Timestamp, u64)> {
        let early = u64::from(faulty!(self, CloseEarly)) * 1_000;
        let open = self.openings.iter().filter(|(n, o)| o.closed.is_none() && self.is_held(**n));
        let mut all: Vec<_> =
            open.map(|(n, o)| (Timestamp(o.closes.0.saturating_sub(early)), *n)).collect();
        all.sort_unstable();
        all
    }

    fn is_held(&self, n: u64) -> bool {
        self.tasks.values().any(|row| row.place.gathering() == Some(n))
    }

    /// The tasks of a gathering, in the order in which they joined.
    pub fn members(&self, n: u64) -> Vec<TaskId> {
        let mine = self.tasks.iter().filter(|(_, row)| row.place.gathering() == Some(n));
        let mut mine: Vec<_> = mine.map(|(id, row)| (row.joined, row.line, *id)).collect();
        mine.sort_unstable();
        mine.into_iter().map(|(_, _, id)| id).collect()
    }

    /// Closed gatherings, the one closed first first.
    pub fn closed(&self) -> Vec<(u64, &Opening)> {
        let closed = self.openings.iter().filter(|(n, o)| o.closed.is_some() && self.is_held(**n));
        let mut closed: Vec<_> = closed.map(|(n, opening)| (*n, opening)).collect();
        closed.sort_by_key(|(n, opening)| (opening.closed.map(|(_, latest)| latest), *n));
        closed
    }

    /// Forgets gatherings whose last task left. Done after every call.
    pub fn drop_empty(&mut self) {
        let held: std::collections::BTreeSet<u64> =
            self.tasks.values().filter_map(|row| row.place.gathering()).collect();
        self.openings.retain(|n, _| held.contains(n));
    }

    pub fn groups(&self) -> Vec<Gathering> {
        let held = self.openings.iter().filter(|(n, _)| self.is_held(**n));
        let mut all: Vec<_> = held
            .map(|(n, opening)| Gathering {
                kind: opening.kind,
                name: opening.name.clone(),
                tasks: self.members(*n).len() as u64,
                since: opening.since,
                closes: opening.closed.is_none().then_some(opening.closes),
            })
            .collect();
        all.sort_by_key(|gathering| gathering.since);
        all.truncate(PAGE_ROWS_MAX);
        all
    }
}

impl Opening {
    /// Whether this one was closed before that one, whatever one calls the moment.
    pub fn closed_before(&self, other: &Self) -> bool {
        let pair = self.closed.zip(other.closed);
        pair.is_some_and(|((early, late), (earlier, later))| early < earlier && late < later)
    }
}
