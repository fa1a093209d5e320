//! Who holds which lock in a history.

use std::collections::{BTreeMap, BTreeSet};

use oncue::broker::*;
use oncue::clock::Timestamp;
use oncue::state::State;
use oncue::task::TaskId;

use super::census::Census;
use super::run::{Run, Verdict, agree, coded};
use crate::fixture::*;

/// A lock that a task took until its end, as the replies told it.
pub struct Taken {
    names: Vec<LockName>,
    until: Option<Timestamp>,
}

/// The holder under each name that any task ever wanted.
pub type Holders = BTreeMap<LockName, Option<TaskId>>;

impl Run {
    /// Remembers what a reply said of a lock.
    pub fn hear(&mut self, task: &NewTask, answer: Enqueued) {
        let Some(lock) = &task.lock else { return };
        let now = self.bench.now();
        let until = |run: &Self, id| {
            let due = run.bench.show(id).and_then(|view| view.until).unwrap_or(now);
            lock.lasts.map(|lasts| due.max(now).plus(lasts))
        };
        let id = task.envelope.id();
        match answer {
            Enqueued::Created | Enqueued::Replaced(_) if lock.hold == Hold::UntilEnd => {
                let taken = Taken { names: lock.names.clone(), until: until(self, id) };
                self.taken.insert(id, taken);
            }
            Enqueued::Moved(holder) => {
                let until = until(self, holder);
                self.taken.entry(holder).and_modify(|taken| taken.until = until);
            }
            _ => {}
        }
    }

    /// Forgets the locks of those that ended, once and for all, and of those whose time is over.
    pub fn forget_ended(&mut self, census: &Census) {
        let (now, faces) = (self.bench.now(), census.by_id());
        let runs = |state: State| !state.is_terminal();
        self.taken.retain(|id, taken| {
            faces.get(id).is_some_and(|face| runs(face.state))
                && taken.until.is_none_or(|until| until > now)
        });
    }

    /// Who is to hold what, whatever else happened.
    pub fn held_to_the_end(&self) -> Vec<(TaskId, Vec<LockName>)> {
        self.taken.iter().map(|(id, taken)| (*id, taken.names.clone())).collect()
    }

    pub fn holders(&self) -> Verdict<Holders> {
        let mut holders = Holders::new();
        let locks = self.tasks.iter().filter_map(|task| task.lock.as_ref());
        let names: BTreeSet<_> = locks.flat_map(|lock| lock.names.iter().copied()).collect();
        for name in names {
            let queue = self.bench.queue.clone();
            let theirs = coded(run(self.bench.broker.holder(queue.clone(), vec![name])));
            agree("holder", &theirs, &coded(run(self.model.holder(queue, vec![name]))))?;
            holders.insert(name, theirs?);
        }
        Ok(holders)
    }
}
