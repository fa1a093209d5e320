//! What time does in the model: tasks become due, groups close, what was kept long enough goes.

use std::collections::BTreeSet;

use oncue::broker::Advanced;
use oncue::clock::Timestamp;
use oncue::state::State;
use oncue::task::TaskId;
use oncue::{Error, Result};

use super::book::{Book, Place};
use super::faulty;

/// What comes first where due tasks join groups whose time has come: the contract leaves it open.
#[derive(Clone, Copy, Debug)]
pub enum First {
    Join,
    Close,
    /// Groups close before tasks join, and again after it.
    Both,
}

impl First {
    pub const ALL: [Self; 3] = [Self::Join, Self::Close, Self::Both];
}

impl Book {
    /// With `kept`: of what is kept too many, all goes but these; a breach if they are not the newest.
    pub fn advance_as(
        &mut self,
        limit: usize,
        first: First,
        kept: Option<&BTreeSet<TaskId>>,
    ) -> Result<Advanced> {
        let mut closed = 0;
        if matches!(first, First::Close | First::Both) {
            closed += self.close_due(limit);
        }
        let (moved, due) = self.move_due(limit);
        if matches!(first, First::Join | First::Both) {
            closed += self.close_due(limit - closed.min(limit));
        }
        let (expired, over) = self.expire(limit - moved);
        let (trimmed, surplus) = self.trim(limit - moved - expired, kept)?;
        let closing = self.closing().first().map(|(at, _)| *at);
        let late = closing.is_some_and(|at| at <= self.now) && closed >= limit;
        let more = due.is_some_and(|at| at <= self.now) || late || over || surplus;
        let next = due.into_iter().chain(closing).chain(self.too_old_at()).min();
        Ok(Advanced::new(moved, expired + trimmed, next, more))
    }

    pub fn advance(&mut self, limit: usize) -> Result<Advanced> {
        self.advance_as(limit, First::Join, None)
    }

    /// How many became pending or joined their groups, and when the next one does.
    fn move_due(&mut self, limit: usize) -> (usize, Option<Timestamp>) {
        let (now, early) = (self.now, u64::from(faulty!(self, AdvanceEarly)) * 1_000);
        let due = self.by_time(Place::due);
        let ready: Vec<_> = due.iter().take_while(|(at, _)| at.0 <= now.0 + early).collect();
        let moved = ready.len().min(limit);
        let mut last = None;
        for (at, id) in &ready[..moved] {
            self.tail += i64::from(last.replace(at) != Some(at));
            self.head -= 1;
            if let Some(row) = self.tasks.get_mut(id) {
                // The order among those that go to the front is open.
                let front = row.front && matches!(row.place, Place::Retry(_));
                let line = if front { self.head } else { self.tail };
                row.since = (*at, now);
                (row.place, row.released) = (Place::Pending, row.front);
                (row.line, row.seat) = (line, line);
                if row.gathers() {
                    self.join(*id);
                }
            }
        }
        // Whatever comes after the last of them must not share its place.
        self.tail += 1;
        (moved, due.get(moved).map(|(at, _)| *at))
    }

    /// How many are gone because their retention is over, and whether more are to go.
    fn expire(&mut self, limit: usize) -> (usize, bool) {
        let now = self.now;
        let mut over = self.by_time(|place| match place {
            Place::Completed { until, .. } if *until <= now => Some(*until),
            _ => None,
        });
        if faulty!(self, NeverExpire) {
            over.clear();
        }
        let expired = over.len().min(limit);
        over[..expired].iter().for_each(|(_, id)| self.forget(*id));
        (expired, over.len() > expired)
    }

    /// The same for those that are too many to keep, or archived for too long.
    fn trim(&mut self, limit: usize, kept: Option<&BTreeSet<TaskId>>) -> Result<(usize, bool)> {
        let (mut trimmed, mut more) = (0, false);
        for state in [State::Completed, State::Archived] {
            let rows = self.sorted(state);
            let surplus = self.surplus(state, &rows);
            let picks: Vec<_> = match kept {
                Some(kept) => rows.iter().filter(|(_, id)| !kept.contains(id)).copied().collect(),
                None if faulty!(self, TrimNewest) => {
                    rows.iter().rev().take(surplus).copied().collect()
                }
                None => rows[..surplus].to_vec(),
            };
            // Which of those with the same time go is open.
            let times = |rows: &[(u64, TaskId)]| -> Vec<_> { rows.iter().map(|r| r.0).collect() };
            if kept.is_some() && times(&picks) != times(&rows[..surplus]) {
                return Err(Error::refused(format!("{surplus} are to go, not {picks:?}")));
            }
            let room = picks.len().min(limit - trimmed);
            picks[..room].iter().for_each(|(_, id)| self.delete(*id));
            trimmed += room;
            more |= picks.len() > room;
        }
        self.trimmed += trimmed as u64;
        Ok((trimmed, more))
    }

    /// How many of these, oldest first, are not to be kept.
    fn surplus(&self, state: State, rows: &[(u64, TaskId)]) -> usize {
        let settings = &self.settings;
        let most = if state == State::Completed { settings.completed } else { settings.archived };
        let age = settings.archived_for.filter(|_| state == State::Archived);
        let beyond = most.map_or(0, |most| (rows.len() as u64).saturating_sub(most) as usize);
        let old = |at: &u64| age.is_some_and(|age| Timestamp(*at).plus(age) <= self.now);
        beyond.max(rows.iter().filter(|(at, _)| old(at)).count())
    }

    /// When the oldest that is archived was so for too long.
    fn too_old_at(&self) -> Option<Timestamp> {
        let (at, _) = *self.sorted(State::Archived).first()?;
        Some(Timestamp(at).plus(self.settings.archived_for?))
    }

    pub fn by_time(&self, time: impl Fn(&Place) -> Option<Timestamp>) -> Vec<(Timestamp, TaskId)> {
        let timed = self.tasks.iter().filter_map(|(id, row)| Some((time(&row.place)?, *id)));
        let mut timed: Vec<_> = timed.collect();
        timed.sort_unstable();
        timed
    }
}
