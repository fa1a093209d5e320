//! Locks in the model: one row a name, and a rule that says which rows stand.

use oncue::broker::*;
use oncue::clock::Timestamp;
use oncue::task::TaskId;

use super::book::{Book, Place, Row};
use super::faulty;

/// Who holds a lock under one name.
#[derive(Clone)]
pub struct Held {
    pub owner: TaskId,
    pub hold: Hold,
    until: Option<Timestamp>,
    since: Timestamp,
}

impl Book {
    /// Drops every lock that is not held any more. Done before and after every call, so the rows there are, are held.
    pub fn drop_released(&mut self) {
        let (now, tasks, leak) = (self.now, &self.tasks, faulty!(self, LeakLock));
        let lives = |row: &Row| match row.place {
            Place::Completed { .. } => false,
            Place::Archived(..) => leak,
            _ => true,
        };
        self.locks.retain(|_, held| {
            let owner = tasks.get(&held.owner);
            let stands = match held.hold {
                Hold::UntilStart => owner.is_some_and(|row| lives(row) && !row.started),
                Hold::UntilEnd => owner.is_some_and(lives),
                Hold::Always => true,
            };
            stands && held.until.is_none_or(|until| until > now)
        });
    }

    pub fn holder(&self, names: &[LockName]) -> Option<TaskId> {
        names.iter().find_map(|name| self.locks.get(name)).map(|held| held.owner)
    }

    /// Takes a lock for a task to be due then, which takes the place of another if it must: its due time and what became
    /// of it. Or what became of it if it is not to be stored.
    pub fn contend(
        &mut self,
        id: TaskId,
        lock: &Lock,
        due: Timestamp,
    ) -> Result<(Timestamp, Enqueued), Enqueued> {
        let rows = lock.names.iter().filter_map(|name| self.locks.get(name));
        let others: Vec<Held> = rows.filter(|held| held.owner != id).cloned().collect();
        let Some(Held { owner, since, .. }) = others.first().cloned() else {
            self.take(id, lock, due, self.now);
            return Ok((due, Enqueued::Created));
        };
        let alone = others.iter().all(|other| other.owner == owner);
        let waits = self.tasks.get(&owner).is_some_and(|row| {
            matches!(
                row.place,
                Place::Scheduled(_) | Place::Pending | Place::Retry(_) | Place::Aggregating(_)
            )
        });
        let due = lock.within.map_or(due, |within| due.min(since.plus(within)));
        match lock.conflict {
            Conflict::Replace if alone && waits => {
                self.delete(owner);
                self.take(id, lock, due, since);
                Ok((due, Enqueued::Replaced(owner)))
            }
            Conflict::Reschedule if alone && waits => {
                self.reschedule(owner, due);
                let until = self.until(lock, due);
                let mine = self.locks.values_mut().filter(|held| held.owner == owner);
                mine.for_each(|held| held.until = until);
                Err(Enqueued::Moved(owner))
            }
            _ => Err(Enqueued::Held(owner)),
        }
    }

    fn take(&mut self, owner: TaskId, lock: &Lock, due: Timestamp, since: Timestamp) {
        let until = self.until(lock, due);
        for name in &lock.names {
            self.locks.insert(*name, Held { owner, hold: lock.hold, until, since });
        }
    }

    fn until(&self, lock: &Lock, due: Timestamp) -> Option<Timestamp> {
        lock.lasts.map(|lasts| due.max(self.now).plus(lasts))
    }

    /// A task is gone, and with it every lock it held.
    pub fn delete(&mut self, id: TaskId) {
        self.locks.retain(|_, held| held.owner != id);
        self.forget(id);
    }
}
