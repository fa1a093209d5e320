//! The books of one queue: every task, where it is, and what is remembered.

use std::collections::{BTreeMap, BTreeSet};

use oncue::broker::*;
use oncue::clock::Timestamp;
use oncue::envelope::Stored;
use oncue::queue::QueueName;
use oncue::state::{Reason, State};
use oncue::task::{Due, TaskId, Trail};
use oncue::{Error, Result};

use super::session::{Desk, Standing};
use super::{Fault, faulty, state_of};

pub struct Book {
    pub now: Timestamp,
    pub fault: Option<Fault>,
    pub tasks: BTreeMap<TaskId, Row>,
    pub desks: BTreeMap<SessionId, Desk>,
    batches: BTreeMap<[u8; 16], Timestamp>,
    /// By id: when its run ended, and when it was gone.
    remembered: BTreeMap<TaskId, (Timestamp, Timestamp)>,
    tail: u64,
    completed: u64,
    failed: u64,
    pub tick: Option<Timestamp>,
    pub guarded: Timestamp,
    pub paused: bool,
    pub limit: Option<u64>,
}

pub struct Row {
    record: Vec<u8>,
    pub ticket: Ticket,
    remember: bool,
    trail: Trail,
    pub lane: Lane,
    /// Its place in the line; tasks that were due at the same moment share one.
    pub line: u64,
    /// Whether it was put back to its old place.
    pub released: bool,
    /// When it became pending: the earliest and the latest moment one can call so.
    pub since: (Timestamp, Timestamp),
    pub completed: Option<Timestamp>,
    pub place: Place,
    /// Cancelled while it runs.
    pub doomed: bool,
}

pub enum Place {
    Scheduled(Timestamp),
    Pending,
    Active(SessionId),
    Retry(Timestamp),
    Completed { until: Timestamp, result: Option<Kept> },
    Archived(Reason, Timestamp),
}

impl Book {
    pub fn new(fault: Option<Fault>) -> Self {
        Self {
            now: Timestamp(0),
            fault,
            tasks: BTreeMap::new(),
            desks: BTreeMap::new(),
            batches: BTreeMap::new(),
            remembered: BTreeMap::new(),
            tail: 0,
            completed: 0,
            failed: 0,
            tick: None,
            guarded: Timestamp(0),
            paused: false,
            limit: None,
        }
    }

    pub fn enqueue(&mut self, batch: &Batch) -> Result<Vec<Enqueued>> {
        if batch.tasks.iter().any(|task| task.envelope.header().queue != batch.queue) {
            return Err(Error::invalid("a task of another queue"));
        }
        let bytes: usize = batch.tasks.iter().map(|task| task.envelope.record_len()).sum();
        if batch.tasks.len() > BATCH_TASKS_MAX || bytes > BATCH_BYTES_MAX {
            if faulty!(self, HalfBatch) {
                self.store(&batch.tasks[0]);
            }
            return Err(Error::too_large("the batch is over its limit"));
        }
        let seen = self.batches.get(&batch.id.0).is_some_and(|at| self.now < at.plus(BATCH_MEMORY));
        if seen && !faulty!(self, ForgetBatch) {
            return Ok(vec![Enqueued::Existing; batch.tasks.len()]);
        }
        let ids: BTreeSet<_> = batch.tasks.iter().map(|task| task.envelope.id()).collect();
        let created = ids.into_iter().filter(|id| !self.is_known(*id)).count();
        let ended = |row: &&Row| !state_of(&row.place).is_terminal();
        let live = self.tasks.values().filter(ended).count();
        if created > 0 && self.limit.is_some_and(|limit| (live + created) as u64 > limit) {
            return Err(Error::full(format!("at its limit of {:?}", self.limit)));
        }
        self.batches.insert(batch.id.0, self.now);
        Ok(batch.tasks.iter().map(|task| self.store(task)).collect())
    }

    fn is_known(&self, id: TaskId) -> bool {
        let mut memory = self.remembered.get(&id).into_iter();
        let remembered = memory.any(|(_, gone)| self.now < gone.plus(KEY_MEMORY));
        self.tasks.contains_key(&id) || remembered && !faulty!(self, ForgetKey)
    }

    fn store(&mut self, task: &NewTask) -> Enqueued {
        let (id, header) = (task.envelope.id(), task.envelope.header());
        if self.is_known(id) {
            return Enqueued::Existing;
        }
        let due = match task.due {
            Due::Now => self.now,
            Due::At(at) => at,
            Due::In(delay) => self.now.plus(delay),
        };
        let place = if due > self.now { Place::Scheduled(due) } else { Place::Pending };
        self.tail += 1;
        let row = Row {
            record: task.envelope.record(),
            ticket: Ticket::of(id, header),
            remember: header.remember,
            trail: Trail::default(),
            lane: Lane::Shared,
            line: self.tail,
            released: false,
            since: (self.now, self.now),
            completed: None,
            place,
            doomed: false,
        };
        self.tasks.insert(id, row);
        Enqueued::Created
    }

    pub fn hand_out(&mut self, id: TaskId, session: SessionId, cause: Cause) -> Result<Claim> {
        let row = self.tasks.get_mut(&id).ok_or_else(|| Error::not_found("no such task"))?;
        row.place = Place::Active(session);
        let stored = Stored::parse(id, row.record.clone())?;
        Ok(Claim { ticket: row.ticket, cause, stored, trail: row.trail.clone() })
    }

    pub fn release(&mut self, id: TaskId) {
        let now = self.now;
        if let Some(row) = self.tasks.get_mut(&id) {
            row.place = Place::Pending;
            row.released = true;
            row.since.1 = now;
        }
        if self.tasks.get(&id).is_some_and(|row| row.doomed) {
            self.doom(id);
        }
    }

    pub fn settle(&mut self, session: SessionId, list: &[Settlement]) -> Result<Vec<Settled>> {
        match self.standing(session) {
            Standing::Dead if !faulty!(self, SettleDead) => Err(Error::fenced("it was killed")),
            Standing::Unknown => Err(Error::fenced("nobody knows this session")),
            _ if list.len() > CLAIMS_MAX => Err(Error::invalid("too many settlements")),
            _ => Ok(list.iter().map(|settlement| self.settle_one(session, settlement)).collect()),
        }
    }

    fn settle_one(&mut self, session: SessionId, settlement: &Settlement) -> Settled {
        let (id, now) = (settlement.ticket.id, self.now);
        let blind = faulty!(self, ForgetFence);
        let held = |row: &&mut Row| match row.place {
            Place::Active(holder) => holder == session || blind,
            _ => false,
        };
        let Some(row) = self.tasks.get_mut(&id).filter(held) else { return Settled::Gone };
        if let Some(trail) = settlement.trail.as_ref().filter(|_| !faulty!(self, LoseTrail)) {
            row.trail = trail.clone();
        }
        let doomed = row.doomed;
        match &settlement.order {
            Order::Complete { keep, result } => {
                let sealed = |(attempt, sealed): &(u32, oncue::seal::Sealed)| Kept {
                    attempt: *attempt,
                    sealed: sealed.as_bytes().to_vec(),
                };
                let result = result.as_ref().map(sealed).filter(|_| !faulty!(self, LoseResult));
                row.place = Place::Completed { until: now.plus(*keep), result };
                row.completed = Some(now);
                self.completed += 1;
            }
            Order::Retry { after, .. } => {
                row.place = Place::Retry(now.plus(*after));
                self.failed += 1;
            }
            Order::Snooze { after } => row.place = Place::Scheduled(now.plus(*after)),
            Order::Release { lane } => {
                row.lane = *lane;
                self.release(id);
            }
            Order::Archive { reason } => {
                row.place = Place::Archived(*reason, now);
                let failed = matches!(reason, Reason::Exhausted | Reason::SkipRetry);
                self.failed += u64::from(failed);
            }
            Order::Drop => {}
        }
        if settlement.order.leads_to().is_none() {
            self.forget(id);
        } else if doomed {
            self.doom(id);
        }
        Settled::Done
    }

    /// A task that is not to run again and would is archived instead.
    pub fn doom(&mut self, id: TaskId) {
        let now = self.now;
        if let Some(row) = self.tasks.get_mut(&id)
            && !state_of(&row.place).is_terminal()
        {
            row.place = Place::Archived(Reason::Cancelled, now);
        }
    }

    pub fn cancel(&mut self, id: TaskId) -> Cancelled {
        let Some(row) = self.tasks.get_mut(&id) else { return Cancelled::Missing };
        match row.place {
            Place::Completed { .. } | Place::Archived(..) => Cancelled::Ended,
            Place::Active(_) => {
                row.doomed = true;
                Cancelled::Asked
            }
            _ => {
                self.doom(id);
                Cancelled::Archived
            }
        }
    }

    /// A task is gone; only the id of one with a key of its own is remembered.
    fn forget(&mut self, id: TaskId) {
        let Some(row) = self.tasks.remove(&id).filter(|row| row.remember) else { return };
        self.remembered.insert(id, (row.completed.unwrap_or(self.now), self.now));
    }

    /// Whether it is certain that an id is remembered, or that it is not: "its end", from which a day
    /// is counted, may be the end of its run or the moment it was gone.
    pub fn is_id_certain(&self, id: TaskId) -> bool {
        let over = |end: Timestamp| end.plus(KEY_MEMORY) <= self.now;
        self.remembered.get(&id).is_none_or(|(ended, gone)| over(*ended) == over(*gone))
    }

    pub fn advance(&mut self, limit: usize) -> Advanced {
        let (now, early) = (self.now, u64::from(faulty!(self, AdvanceEarly)) * 1_000);
        let due = self.by_time(|place| match place {
            Place::Scheduled(due) | Place::Retry(due) => Some(*due),
            _ => None,
        });
        let ready: Vec<_> = due.iter().take_while(|(at, _)| at.0 <= now.0 + early).collect();
        let mut over = self.by_time(|place| match place {
            Place::Completed { until, .. } if *until <= now => Some(*until),
            _ => None,
        });
        if faulty!(self, NeverExpire) {
            over.clear();
        }
        let moved = ready.len().min(limit);
        let mut last = None;
        for (at, id) in &ready[..moved] {
            self.tail += u64::from(last.replace(at) != Some(at));
            let line = self.tail;
            if let Some(row) = self.tasks.get_mut(id) {
                row.since = (*at, now);
                (row.place, row.released, row.line) = (Place::Pending, false, line);
            }
        }
        // Whatever comes after the last of them must not share its place.
        self.tail += 1;
        let expired = over.len().min(limit - moved);
        over[..expired].iter().for_each(|(_, id)| self.forget(*id));
        let more = ready.len() + over.len() > moved + expired;
        Advanced::new(moved, expired, due.get(moved).map(|(at, _)| *at), more)
    }

    fn by_time(&self, time: impl Fn(&Place) -> Option<Timestamp>) -> Vec<(Timestamp, TaskId)> {
        let timed = self.tasks.iter().filter_map(|(id, row)| Some((time(&row.place)?, *id)));
        let mut timed: Vec<_> = timed.collect();
        timed.sort_unstable();
        timed
    }

    pub fn stats(&self, queue: QueueName) -> QueueStats {
        let mut stats = QueueStats::empty(queue);
        for row in self.tasks.values() {
            stats.counts[usize::from(state_of(&row.place).code())] += 1;
        }
        (stats.completed, stats.failed) = (self.completed, self.failed);
        (stats.paused, stats.limit) = (self.paused, self.limit);
        stats.oldest = self.oldest().map(|(_, latest)| latest);
        stats
    }

    /// Bounds of the moment the longest waiting pending task became pending.
    pub fn oldest(&self) -> Option<(Timestamp, Timestamp)> {
        let pending = self.tasks.values().filter(|row| matches!(row.place, Place::Pending));
        let earlier = |a: (Timestamp, Timestamp), b: (_, _)| (a.0.min(b.0), a.1.min(b.1));
        pending.map(|row| row.since).reduce(earlier)
    }

    /// The tasks of a state, oldest first.
    pub fn sorted(&self, state: State) -> Vec<(u64, TaskId)> {
        let age = |row: &Row| match &row.place {
            Place::Scheduled(at) | Place::Retry(at) | Place::Archived(_, at) => at.0,
            Place::Completed { until, .. } => until.0,
            Place::Pending | Place::Active(_) => row.line,
        };
        let rows = self.tasks.iter().filter(|(_, row)| state_of(&row.place) == state);
        let mut keys: Vec<_> = rows.map(|(id, row)| (age(row), *id)).collect();
        keys.sort_unstable();
        keys
    }

    pub fn show(&self, id: TaskId) -> Option<TaskView> {
        let row = self.tasks.get(&id)?;
        let (until, reason, result) = match &row.place {
            Place::Scheduled(due) | Place::Retry(due) => (Some(*due), None, None),
            Place::Completed { until, result } => (Some(*until), None, result.clone()),
            Place::Archived(reason, _) => (None, Some(*reason), None),
            Place::Pending | Place::Active(_) => (None, None, None),
        };
        let stored = Stored::parse(id, row.record.clone()).ok()?;
        let (state, trail) = (state_of(&row.place), row.trail.clone());
        Some(TaskView { state, until, reason, stored, trail, result })
    }
}
