//! What enqueues do to the books: a batch is stored as a whole, or refused and nothing changed.

use std::collections::BTreeMap;

use oncue::broker::*;
use oncue::envelope::Header;
use oncue::task::{GROUP_TASKS_MAX, GROUP_WAIT_MAX, Trail};
use oncue::{Error, Result};

use super::book::{Book, Place, Row};
use super::{faulty, state_of};
use crate::fixture::{Terms, terms_of};

impl Book {
    pub fn enqueue(&mut self, batch: &Batch) -> Result<Vec<Enqueued>> {
        if batch.tasks.iter().any(|task| task.envelope.header().queue != batch.queue) {
            return Err(Error::invalid("a task of another queue"));
        }
        if !batch.tasks.iter().all(is_well_grouped) {
            return Err(Error::invalid("a group that this task cannot join"));
        }
        let bytes: usize = batch.tasks.iter().map(|task| task.envelope.record_len()).sum();
        if batch.tasks.len() > BATCH_TASKS_MAX || bytes > BATCH_BYTES_MAX {
            if faulty!(self, HalfBatch) {
                self.store_all(&batch.tasks[..1]);
            }
            return Err(Error::too_large("the batch is over its limit"));
        }
        let names = |task: &NewTask| task.lock.as_ref().map_or(1, |lock| lock.names.len());
        if batch.tasks.iter().any(|task| !(1..=LOCK_NAMES_MAX).contains(&names(task))) {
            return Err(Error::invalid("a lock of no name, or too many"));
        }
        if let Some(tick) = &batch.tick {
            super::entries::check_name(&tick.entry)?;
            if tick.at <= tick.last {
                return Err(Error::invalid("a tick that is not after the last one"));
            }
        }
        let seen = self.batches.get(&batch.id.0).is_some_and(|at| self.now < at.plus(BATCH_MEMORY));
        if seen && !faulty!(self, ForgetBatch) {
            return Ok(vec![Enqueued::Existing; batch.tasks.len()]);
        }
        if batch.tick.as_ref().is_some_and(|tick| !self.is_next(tick)) {
            return Ok(vec![Enqueued::Late; batch.tasks.len()]);
        }
        let before = self.clone();
        let waiting = |row: &&Row| !state_of(&row.place).is_terminal();
        let live = self.tasks.values().filter(waiting).count();
        let answers = self.store_all(&batch.tasks);
        let created = answers.iter().filter(|answer| **answer == Enqueued::Created).count();
        let crowded = self.limit.is_some_and(|limit| (live + created) as u64 > limit);
        let (was, is) = (before.bytes(), self.bytes());
        let heavy = self.settings.bytes.is_some_and(|limit| is > limit);
        if created > 0 && crowded || is > was && heavy {
            let Self { limit, settings, .. } = before.clone();
            *self = before;
            return Err(Error::full(format!("at its limit of {limit:?}, {:?}", settings.bytes)));
        }
        self.batches.insert(batch.id.0, self.now);
        self.made |= !batch.tasks.is_empty();
        if let Some(tick) = &batch.tick {
            let stored =
                |answer: &Enqueued| matches!(answer, Enqueued::Created | Enqueued::Replaced(_));
            let first = answers.iter().position(stored);
            self.pass(tick, first.map(|at| batch.tasks[at].envelope.id()));
        }
        Ok(answers)
    }

    /// Those that go to the front keep their order there.
    fn store_all(&mut self, tasks: &[NewTask]) -> Vec<Enqueued> {
        let first = self.head - tasks.len() as i64;
        self.head = first;
        tasks.iter().zip(first..).map(|(task, front)| self.store(task, front)).collect()
    }

    fn store(&mut self, task: &NewTask, front: i64) -> Enqueued {
        let (id, header) = (task.envelope.id(), task.envelope.header());
        if self.is_known(id) {
            return Enqueued::Existing;
        }
        let due = self.time_of(task.due);
        let (due, answer) = match &task.lock {
            None => (due, Enqueued::Created),
            Some(lock) => match self.contend(id, lock, due) {
                Ok(taken) => taken,
                Err(answer) => return answer,
            },
        };
        let place = if due > self.now { Place::Scheduled(due) } else { Place::Pending };
        self.tail += 1;
        let line = if task.front { front } else { self.tail };
        let row = Row {
            record: task.envelope.record(),
            ticket: Ticket::of(id, header),
            remember: header.remember,
            trail: Trail::default(),
            notes: BTreeMap::new(),
            lane: Lane::Shared,
            line,
            seat: line,
            released: false,
            front: false,
            started: false,
            names: task.lock.iter().flat_map(|lock| lock.names.clone()).collect(),
            group: task.group.as_deref().map(terms_of),
            joined: self.now,
            since: (self.now, self.now),
            completed: None,
            place,
            doomed: false,
        };
        let joins = row.gathers() && due <= self.now;
        self.tasks.insert(id, row);
        if joins {
            self.join(id);
        }
        answer
    }
}

/// Whether it says no group, or one that its header names and that it can join.
fn is_well_grouped(task: &NewTask) -> bool {
    let Header { group: named, priority, .. } = task.envelope.header();
    let Some(Terms { name, grace, within, most }) = task.group.as_deref().map(terms_of) else {
        return named.is_none();
    };
    let (chars, bytes) = ((1..=64).contains(&name.len()), name.bytes());
    named.as_ref() == Some(&name)
        && *priority == 0
        && !task.front
        && chars
        && bytes.into_iter().all(|byte| byte.is_ascii_graphic())
        && (1..=GROUP_TASKS_MAX).contains(&most)
        && grace <= GROUP_WAIT_MAX
        && within.is_none_or(|within| within <= GROUP_WAIT_MAX)
}
