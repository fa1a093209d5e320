//! Sweeps in the model: its own choice, or the choice of another broker if the contract permits it.
//!
//! Free are: which lost claims a sweep takes first, and, within bounds, when a task became pending or a group was closed.

use std::collections::BTreeSet;

use oncue::broker::*;
use oncue::clock::Timestamp;
use oncue::task::TaskId;
use oncue::{Error, Result};

use super::book::{Book, Place, Row};
use super::permit::check;
use super::session::Standing;

impl Book {
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
        let refused = |latest: bool| {
            let untaken = |row: &Row| {
                let since =
                    self.untaken_since(row).filter(|_| !sweep.known.contains(&row.ticket.kind));
                since.is_some_and(|(earliest, last)| {
                    self.now >= Timestamp::plus(if latest { last } else { earliest }, sweep.grace)
                })
            };
            self.tasks.iter().filter(|(_, row)| untaken(row)).map(of).collect::<Vec<_>>()
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
        let session = sweep.session.id;
        picks.into_iter().map(|(id, cause)| self.hand_out(id, session, cause, None)).collect()
    }

    /// Bounds of the moment since when it could have been claimed, if it can.
    fn untaken_since(&self, row: &Row) -> Option<(Timestamp, Timestamp)> {
        match row.place {
            Place::Pending => Some(row.since),
            Place::Aggregating(n) => self.openings.get(&n)?.closed,
            _ => None,
        }
    }
}
