//! The books of one queue: every task, where it is, and what is remembered.

use std::collections::BTreeMap;

use oncue::broker::*;
use oncue::clock::Timestamp;
use oncue::envelope::Stored;
use oncue::queue::QueueName;
use oncue::state::{Reason, State};
use oncue::task::{Due, TaskId, Trail};
use oncue::{Error, Result};

use super::locks::Held;
use super::session::{Desk, Standing};
use super::{Fault, faulty, state_of};

#[derive(Clone)]
pub struct Book {
    pub now: Timestamp,
    pub fault: Option<Fault>,
    pub tasks: BTreeMap<TaskId, Row>,
    pub desks: BTreeMap<SessionId, Desk>,
    batches: BTreeMap<[u8; 16], Timestamp>,
    /// By id: when its run ended, and when it was gone.
    remembered: BTreeMap<TaskId, (Timestamp, Timestamp)>,
    pub locks: BTreeMap<LockName, Held>,
    pub entries: BTreeMap<String, Entry>,
    /// The last version any entry had.
    pub version: u64,
    /// The place of the last in the line, and of the first.
    tail: i64,
    head: i64,
    completed: u64,
    failed: u64,
    pub tick: Option<Timestamp>,
    pub guarded: Timestamp,
    pub paused: bool,
    pub limit: Option<u64>,
    /// Whether something was ever stored in it or said of it.
    pub made: bool,
}

#[derive(Clone)]
pub struct Row {
    pub record: Vec<u8>,
    pub ticket: Ticket,
    remember: bool,
    trail: Trail,
    pub notes: BTreeMap<Slot, Kept>,
    pub lane: Lane,
    /// Its place in the line as far as the contract says; tasks that were due at the same moment share one.
    pub line: i64,
    /// The place this model gives it.
    pub seat: i64,
    /// Whether it may as well stand before those that its place is behind of.
    pub released: bool,
    /// Whether it failed, and goes before the others when it is pending again.
    front: bool,
    /// Whether it was ever claimed to be run.
    pub started: bool,
    /// The names of the lock it wanted.
    pub names: Vec<LockName>,
    /// When it became pending: the earliest and the latest moment one can call so.
    pub since: (Timestamp, Timestamp),
    pub completed: Option<Timestamp>,
    pub place: Place,
    /// Cancelled while it runs.
    pub doomed: bool,
}

#[derive(Clone)]
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
            locks: BTreeMap::new(),
            entries: BTreeMap::new(),
            version: 0,
            tail: 0,
            head: 0,
            completed: 0,
            failed: 0,
            tick: None,
            guarded: Timestamp(0),
            paused: false,
            limit: None,
            made: false,
        }
    }

    pub fn enqueue(&mut self, batch: &Batch) -> Result<Vec<Enqueued>> {
        if batch.tasks.iter().any(|task| task.envelope.header().queue != batch.queue) {
            return Err(Error::invalid("a task of another queue"));
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
        if created > 0 && self.limit.is_some_and(|limit| (live + created) as u64 > limit) {
            *self = before;
            return Err(Error::full(format!("at its limit of {:?}", self.limit)));
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

    fn is_known(&self, id: TaskId) -> bool {
        let mut memory = self.remembered.get(&id).into_iter();
        let remembered = memory.any(|(_, gone)| self.now < gone.plus(KEY_MEMORY));
        self.tasks.contains_key(&id) || remembered && !faulty!(self, ForgetKey)
    }

    pub fn time_of(&self, due: Due) -> Timestamp {
        match due {
            Due::Now => self.now,
            Due::At(at) => at,
            Due::In(delay) => self.now.plus(delay),
        }
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
            since: (self.now, self.now),
            completed: None,
            place,
            doomed: false,
        };
        self.tasks.insert(id, row);
        answer
    }

    pub fn hand_out(&mut self, id: TaskId, session: SessionId, cause: Cause) -> Result<Claim> {
        let row = self.tasks.get_mut(&id).ok_or_else(|| Error::not_found("no such task"))?;
        row.place = Place::Active(session);
        row.started |= cause == Cause::Dequeued;
        row.front = false;
        let stored = Stored::parse(id, row.record.clone())?;
        Ok(Claim { ticket: row.ticket, cause, stored, trail: row.trail.clone(), group: None })
    }

    pub fn release(&mut self, id: TaskId) {
        let now = self.now;
        self.head -= 1;
        if let Some(row) = self.tasks.get_mut(&id) {
            row.place = Place::Pending;
            (row.released, row.seat) = (true, self.head);
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
        let (doomed, names) = (row.doomed, row.names.clone());
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
            Order::Retry { after, front } => {
                row.place = Place::Retry(now.plus(*after));
                row.front = *front;
                self.failed += 1;
            }
            Order::Snooze { after } => {
                row.place = Place::Scheduled(now.plus(*after));
                row.front = false;
            }
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
        let ended = settlement.order.leads_to().is_none_or(State::is_terminal);
        if ended && faulty!(self, StealLock) {
            self.locks.retain(|name, _| !names.contains(name));
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

    /// Pending from now on, behind the others. Whether one that failed and was to go before them still does, is open.
    pub fn line_up(&mut self, id: TaskId, due: Timestamp) {
        let now = self.now;
        self.tail += 1;
        if let Some(row) = self.tasks.get_mut(&id) {
            row.since = (due.min(now), now);
            (row.place, row.released, row.doomed) = (Place::Pending, row.front, false);
            (row.line, row.seat) = (self.tail, self.tail);
        }
    }

    /// A task is gone; only the id of one with a key of its own is remembered.
    pub fn forget(&mut self, id: TaskId) {
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
            self.tail += i64::from(last.replace(at) != Some(at));
            self.head -= 1;
            if let Some(row) = self.tasks.get_mut(id) {
                // The order among those that go to the front is open.
                let front = row.front && matches!(row.place, Place::Retry(_));
                let line = if front { self.head } else { self.tail };
                row.since = (*at, now);
                (row.place, row.released) = (Place::Pending, row.front);
                (row.line, row.seat) = (line, line);
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
            Place::Pending | Place::Active(_) => row.line.abs_diff(i64::MIN),
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
