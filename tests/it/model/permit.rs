//! Claims in the model: its own choice, or the choice of another broker if the contract permits it.
//!
//! Free are: the order among kinds, among released tasks, and among tasks that were due at the same
//! moment; which lost claims a sweep takes first; and, within bounds, when a task became pending.

use std::collections::{BTreeMap, BTreeSet};

use oncue::broker::*;
use oncue::clock::Timestamp;
use oncue::queue::KindHash;
use oncue::task::TaskId;
use oncue::{Error, Result};

use super::book::{Book, Place, Row};
use super::faulty;
use super::session::Standing;

impl Book {
    /// Claims what `choice` says, or refuses it as a breach; without one makes its own choice.
    pub fn dequeue_as(&mut self, ask: &Ask, choice: Option<&[TaskId]>) -> Result<Vec<Claim>> {
        if !self.may_claim(ask.session.id) {
            return Err(Error::fenced("this session claims no more"));
        }
        if ask.max > CLAIMS_MAX {
            return Err(Error::invalid("too many claims"));
        }
        let chosen = match choice {
            Some(ids) => self.permit(ask, ids).map(|()| ids.to_vec())?,
            None => self.choose(ask),
        };
        self.open(ask.session.id, ask.lease);
        let claims = chosen.into_iter();
        claims.map(|id| self.hand_out(id, ask.session.id, Cause::Dequeued)).collect()
    }

    fn is_eligible(&self, row: &Row, ask: &Ask) -> bool {
        let accepted = ask.accept.iter().any(|(kind, _)| *kind == row.ticket.kind);
        matches!(row.place, Place::Pending)
            && !self.paused
            && (row.lane == ask.lane || faulty!(self, MixLanes))
            && (accepted || faulty!(self, IgnoreAccept))
    }

    fn choose(&self, ask: &Ask) -> Vec<TaskId> {
        let mut line: Vec<_> =
            self.tasks.iter().filter(|(_, row)| self.is_eligible(row, ask)).collect();
        let newest_first = faulty!(self, LastInFirstOut);
        line.sort_by_key(|(_, row)| {
            let seat = if newest_first { -row.seat } else { row.seat };
            (u8::MAX - row.ticket.priority, seat)
        });
        let mut room: BTreeMap<KindHash, usize> = ask.accept.iter().copied().collect();
        line.retain(|(_, row)| {
            let left = room.entry(row.ticket.kind).or_insert(ask.max);
            let fits = *left > 0;
            *left = left.saturating_sub(1);
            fits
        });
        line.into_iter().take(ask.max).map(|(id, _)| *id).collect()
    }

    fn permit(&self, ask: &Ask, ids: &[TaskId]) -> Result<()> {
        let chosen: BTreeSet<_> = ids.iter().copied().collect();
        check(chosen.len() == ids.len(), || "a task was claimed twice".into())?;
        let eligible = |id: &TaskId| self.tasks.get(id).is_some_and(|r| self.is_eligible(r, ask));
        let strange = ids.iter().find(|id| !eligible(id));
        check(strange.is_none(), || format!("{strange:?} was not to be had"))?;
        let mut possible = 0;
        for (kind, limit) in &ask.accept {
            let of_kind = |row: &Row| row.ticket.kind == *kind && self.is_eligible(row, ask);
            let (taken, left): (Vec<_>, Vec<_>) = self
                .tasks
                .iter()
                .filter(|(_, row)| of_kind(row))
                .partition(|(id, _)| chosen.contains(id));
            possible += (*limit).min(taken.len() + left.len());
            check(taken.len() <= *limit, || {
                format!("{} of a kind limited to {limit}", taken.len())
            })?;
            for (id, behind) in &taken {
                let passed = left.iter().find(|(_, row)| goes_before(row, behind));
                check(passed.is_none(), || format!("{id} passed {:?}", passed.map(|p| p.0)))?;
            }
        }
        let expected = possible.min(ask.max);
        check(ids.len() == expected, || format!("{} claims, not {expected}", ids.len()))
    }

    /// Takes over what `choice` says, or refuses it as a breach; without one makes its own choice.
    pub fn reclaim_as(
        &mut self,
        sweep: &Sweep,
        choice: Option<&[(TaskId, Cause)]>,
    ) -> Result<Vec<Claim>> {
        if !self.may_claim(sweep.session.id) {
            return Err(Error::fenced("this session claims no more"));
        }
        if sweep.max > SWEEP_MAX {
            return Err(Error::invalid("too many claims"));
        }
        self.kill(sweep.gap);
        let orphan = |row: &Row| matches!(row.place, Place::Active(session) if self.standing(session) == Standing::Dead);
        let of = |(id, _): (&TaskId, &Row)| *id;
        let lost: Vec<_> = self.tasks.iter().filter(|(_, row)| orphan(row)).map(of).collect();
        let untaken = |row: &Row, since| {
            matches!(row.place, Place::Pending)
                && !sweep.known.contains(&row.ticket.kind)
                && self.now >= Timestamp::plus(since, sweep.grace)
        };
        let refused = |latest: bool| {
            let since = |row: &Row| if latest { row.since.1 } else { row.since.0 };
            let rows = self.tasks.iter().filter(|(_, row)| untaken(row, since(row)));
            rows.map(of).collect::<Vec<_>>()
        };
        let (surely, perhaps) = (refused(true), refused(false));
        let room = sweep.max - lost.len().min(sweep.max);
        let picks = match choice {
            None => {
                let lost = lost.iter().map(|id| (*id, Cause::Lost));
                let refused = surely.iter().map(|id| (*id, Cause::Refused));
                lost.chain(refused).take(sweep.max).collect()
            }
            Some(picks) => {
                let of =
                    |cause| picks.iter().filter(move |pick| pick.1 == cause).map(|pick| pick.0);
                let (took, set_aside): (BTreeSet<_>, BTreeSet<_>) =
                    (of(Cause::Lost).collect(), of(Cause::Refused).collect());
                check(took.len() + set_aside.len() == picks.len(), || "claimed twice".into())?;
                check(took.iter().all(|id| lost.contains(id)), || "it is not lost".into())?;
                check(took.len() == lost.len().min(sweep.max), || "lost claims were left".into())?;
                check(set_aside.iter().all(|id| perhaps.contains(id)), || "its grace runs".into())?;
                let all = surely.iter().all(|id| set_aside.contains(id));
                let full = set_aside.len() == room;
                check(set_aside.len() <= room, || "more than asked for".into())?;
                check(all || full, || "refused tasks were left".into())?;
                picks.to_vec()
            }
        };
        if !picks.is_empty() {
            self.open(sweep.session.id, sweep.lease);
        }
        picks.into_iter().map(|(id, cause)| self.hand_out(id, sweep.session.id, cause)).collect()
    }
}

/// Whether the contract puts `a` before `b`, both of one kind and lane.
///
/// Released tasks stand at the head or at their old place: a rule only where both say the same.
fn goes_before(a: &Row, b: &Row) -> bool {
    let (high, low) = (a.ticket.priority, b.ticket.priority);
    high > low || high == low && a.line < b.line && !b.released
}

fn check(holds: bool, breach: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::refused(breach())) }
}
