//! Claims in the model: its own choice, or the choice of another broker if the contract permits it.
//!
//! Free are: the order among kinds, among released tasks, and among tasks that were due, or groups that were closed, at
//! the same moment; and whether a group counts as one against a limit of active tasks, or as its tasks, before the answer
//! that claims it is complete.

use std::collections::{BTreeMap, BTreeSet};

use oncue::broker::*;
use oncue::queue::KindHash;
use oncue::task::TaskId;
use oncue::{Error, Result};

use super::book::{Book, Place, Row};
use super::faulty;
use super::gather::Opening;

/// A task, and with which of the groups of the answer it is claimed.
pub type Pick = (TaskId, Option<u32>);

/// Room for what counts as one, of a queue or kind: what was asked for, and what a setting allows.
#[derive(Clone, Copy)]
struct Room {
    asked: usize,
    active: u64,
}

impl Room {
    fn is_over(self) -> bool {
        self.asked == 0 || self.active == 0
    }

    /// One more, of so many tasks.
    fn take(&mut self, tasks: usize) {
        self.asked = self.asked.saturating_sub(1);
        self.active = self.active.saturating_sub(tasks as u64);
    }
}

impl Book {
    /// Claims what `choice` says, or refuses it as a breach; without one makes its own choice.
    pub fn dequeue_as(&mut self, ask: &Ask, choice: Option<&[Pick]>) -> Result<Vec<Claim>> {
        if !self.may_claim(ask.session.id) {
            return Err(Error::fenced("this session claims no more"));
        }
        if ask.max > CLAIMS_MAX {
            return Err(Error::invalid("too many claims"));
        }
        let chosen = match choice {
            Some(picks) => self.permit(ask, picks).map(|()| picks.to_vec())?,
            None => self.choose(ask),
        };
        let session = ask.session.id;
        self.open(session, ask.lease);
        let claims = chosen.into_iter();
        claims.map(|(id, n)| self.hand_out(id, session, Cause::Dequeued, n)).collect()
    }

    fn is_accepted(&self, kind: KindHash, ask: &Ask) -> bool {
        let accepted = ask.accept.iter().any(|(known, limit)| *known == kind && *limit > 0);
        !self.paused && (accepted || faulty!(self, IgnoreAccept))
    }

    fn is_eligible(&self, row: &Row, ask: &Ask) -> bool {
        matches!(row.place, Place::Pending)
            && (row.lane == ask.lane || faulty!(self, MixLanes))
            && self.is_accepted(row.ticket.kind, ask)
    }

    /// Closed gatherings that may be claimed, with their tasks.
    fn to_be_had(&self, ask: &Ask) -> Vec<(u64, &Opening, Vec<TaskId>)> {
        let fits =
            |opening: &Opening| ask.lane == Lane::Shared && self.is_accepted(opening.kind, ask);
        let closed = self.closed().into_iter().filter(|(_, opening)| fits(opening));
        closed.map(|(n, opening)| (n, opening, self.members(n))).collect()
    }

    fn rooms(&self, ask: &Ask) -> (Room, BTreeMap<KindHash, Room>) {
        let all = Room { asked: ask.max, active: self.room(None) };
        let of = |(kind, limit): &(KindHash, usize)| {
            (*kind, Room { asked: *limit, active: self.room(Some(*kind)) })
        };
        (all, ask.accept.iter().map(of).collect())
    }

    fn choose(&self, ask: &Ask) -> Vec<Pick> {
        let (mut all, mut kinds) = self.rooms(ask);
        let mut picks: Vec<Pick> = Vec::new();
        let mut count = |kind: KindHash, tasks: usize| {
            let mine = kinds.entry(kind).or_insert(Room { asked: ask.max, active: u64::MAX });
            let fits = !all.is_over() && !mine.is_over();
            if fits {
                all.take(tasks);
                mine.take(tasks);
            }
            fits
        };
        let mut number = 0;
        for (_, opening, mut members) in self.to_be_had(ask) {
            if faulty!(self, SplitGroup) {
                members.truncate(ask.max - picks.len().min(ask.max));
            }
            let fits = picks.is_empty() || picks.len() + members.len() <= CLAIMS_MAX;
            if fits && count(opening.kind, members.len()) {
                picks.extend(members.into_iter().map(|id| (id, Some(number))));
                number += 1;
            }
        }
        let mut line: Vec<_> =
            self.tasks.iter().filter(|(_, row)| self.is_eligible(row, ask)).collect();
        let newest_first = faulty!(self, LastInFirstOut);
        line.sort_by_key(|(_, row)| {
            let seat = if newest_first { -row.seat } else { row.seat };
            (u8::MAX - row.ticket.priority, seat)
        });
        for (id, row) in line {
            if picks.len() < CLAIMS_MAX && count(row.ticket.kind, 1) {
                picks.push((*id, None));
            }
        }
        picks
    }

    fn permit(&self, ask: &Ask, picks: &[Pick]) -> Result<()> {
        let chosen: BTreeSet<_> = picks.iter().map(|(id, _)| *id).collect();
        check(chosen.len() == picks.len(), || "a task was claimed twice".into())?;
        let singly: BTreeSet<_> =
            picks.iter().filter(|(_, n)| n.is_none()).map(|(id, _)| *id).collect();
        let eligible = |id: &TaskId| self.tasks.get(id).is_some_and(|r| self.is_eligible(r, ask));
        let strange = singly.iter().find(|id| !eligible(id));
        check(strange.is_none(), || format!("{strange:?} was not to be had"))?;
        let taken = self.permit_groups(ask, picks)?;
        let (mut units, mut counted) = self.rooms(ask);
        let strict = counted.clone();
        let within = |room: &Room, units: usize| units <= room.asked && units as u64 <= room.active;
        let number = singly.len() + taken.len();
        check(within(&units, number), || format!("{number} pieces of work are too many"))?;
        units.asked -= number;
        units.active = units.active.saturating_sub(picks.len() as u64);
        for (kind, room) in &mut counted {
            let of_kind = |row: &Row| row.ticket.kind == *kind && self.is_eligible(row, ask);
            let rows = self.tasks.iter().filter(|(_, row)| of_kind(row));
            let (mine, left): (Vec<_>, Vec<_>) = rows.partition(|(id, _)| singly.contains(id));
            for (id, behind) in &mine {
                let passed = left.iter().find(|(_, row)| goes_before(row, behind));
                check(passed.is_none(), || format!("{id} passed {:?}", passed.map(|p| p.0)))?;
            }
            let closed = self.to_be_had(ask).into_iter().filter(|(_, o, _)| o.kind == *kind);
            let (groups, mut waiting): (Vec<_>, Vec<_>) =
                closed.partition(|g| taken.contains(&g.0));
            // One for which there was no room in the answer waits, and so may what is behind it.
            let blocked = waiting.iter().any(|g| picks.len() + g.2.len() > CLAIMS_MAX);
            waiting.retain(|g| picks.len() + g.2.len() <= CLAIMS_MAX);
            for (_, opening, members) in &groups {
                let passed = waiting.iter().find(|(_, other, _)| other.closed_before(opening));
                check(passed.is_none(), || format!("{members:?} passed a group closed before"))?;
            }
            let passed = !mine.is_empty() && !waiting.is_empty();
            check(!passed, || format!("{:?} passed a closed group", mine[0].0))?;
            let number = mine.len() + groups.len();
            check(within(&strict[kind], number), || format!("{number} of a kind are too many"))?;
            let tasks = mine.len() + groups.iter().map(|g| g.2.len()).sum::<usize>();
            room.asked -= number;
            room.active = room.active.saturating_sub(tasks as u64);
            let full = units.is_over() || room.is_over() || picks.len() >= CLAIMS_MAX;
            let left = (left.len(), waiting.len());
            check(full || blocked || left == (0, 0), || format!("{left:?} were left"))?;
        }
        Ok(())
    }

    /// Which gatherings were claimed: each as a whole, in its order, under the next number.
    fn permit_groups(&self, ask: &Ask, picks: &[Pick]) -> Result<BTreeSet<u64>> {
        let numbers: BTreeSet<u32> = picks.iter().filter_map(|(_, n)| *n).collect();
        let dense = numbers.iter().copied().eq(0..numbers.len() as u32);
        check(dense, || format!("groups are numbered {numbers:?}"))?;
        let mut taken = BTreeSet::new();
        for number in numbers {
            let together = picks.iter().filter(|(_, n)| *n == Some(number)).map(|(id, _)| *id);
            let together: Vec<TaskId> = together.collect();
            let place = self.tasks.get(&together[0]).and_then(|row| row.place.gathering());
            let found = self.to_be_had(ask).into_iter().find(|(n, _, _)| Some(*n) == place);
            let Some((n, _, members)) = found else {
                return Err(Error::refused(format!("{together:?} are no closed group")));
            };
            let (mut here, mut there) = (together.clone(), members.clone());
            here.sort_unstable();
            there.sort_unstable();
            check(here == there, || format!("of {members:?} came {together:?}"))?;
            let ordered = together.is_sorted_by_key(|id| self.tasks[id].joined);
            check(ordered, || format!("{together:?} joined in another order"))?;
            taken.insert(n);
        }
        Ok(taken)
    }
}

/// Whether the contract puts `a` before `b`, both of one kind and lane.
///
/// Released tasks stand at the head or at their old place: a rule only where both say the same.
fn goes_before(a: &Row, b: &Row) -> bool {
    let (high, low) = (a.ticket.priority, b.ticket.priority);
    high > low || high == low && a.line < b.line && !b.released
}

pub fn check(holds: bool, breach: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::refused(breach())) }
}
