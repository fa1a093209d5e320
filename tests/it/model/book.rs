//! The books of one queue: every task, where it is, and what is remembered.

use std::collections::BTreeMap;

use oncue::broker::*;
use oncue::clock::Timestamp;
use oncue::envelope::Stored;
use oncue::queue::QueueName;
use oncue::state::{Reason, State};
use oncue::task::{Due, TaskId, Trail};
use oncue::{Error, Result};

use super::gather::Opening;
use super::locks::Held;
use super::session::{Desk, Standing};
use super::{Fault, faulty, state_of};
use crate::fixture::Terms;

#[derive(Clone)]
pub struct Book {
    pub now: Timestamp,
    pub fault: Option<Fault>,
    pub tasks: BTreeMap<TaskId, Row>,
    pub desks: BTreeMap<SessionId, Desk>,
    pub batches: BTreeMap<[u8; 16], Timestamp>,
    /// By id: when its run ended, and when it was gone.
    remembered: BTreeMap<TaskId, (Timestamp, Timestamp)>,
    pub locks: BTreeMap<LockName, Held>,
    pub openings: BTreeMap<u64, Opening>,
    /// The number of the last one opened.
    pub opened: u64,
    pub entries: BTreeMap<String, Entry>,
    /// The last version any entry had.
    pub version: u64,
    /// The place of the last in the line, and of the first.
    pub tail: i64,
    pub head: i64,
    completed: u64,
    failed: u64,
    pub tick: Option<Timestamp>,
    pub guarded: Timestamp,
    pub paused: bool,
    pub limit: Option<u64>,
    pub settings: Settings,
    /// How many were too many to keep, ever.
    pub trimmed: u64,
    /// Whether something was ever stored in it or said of it.
    pub made: bool,
}

#[derive(Clone)]
pub struct Row {
    pub record: Vec<u8>,
    pub ticket: Ticket,
    pub remember: bool,
    pub trail: Trail,
    pub notes: BTreeMap<Slot, Kept>,
    pub lane: Lane,
    /// Its place in the line as far as the contract says; tasks that were due at the same moment share one.
    pub line: i64,
    /// The place this model gives it.
    pub seat: i64,
    /// Whether it may as well stand before those that its place is behind of.
    pub released: bool,
    /// Whether it failed, and goes before the others when it is pending again.
    pub front: bool,
    /// Whether it was ever claimed to be run.
    pub started: bool,
    /// The names of the lock it wanted.
    pub names: Vec<LockName>,
    pub group: Option<Terms>,
    /// When it joined its group for the last time.
    pub joined: Timestamp,
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
    Completed {
        until: Timestamp,
        result: Option<Kept>,
    },
    Archived(Reason, Timestamp),
    /// In the gathering of this number.
    Aggregating(u64),
}

impl Place {
    /// When it is due, if it has such a time.
    pub fn due(&self) -> Option<Timestamp> {
        match self {
            Self::Scheduled(due) | Self::Retry(due) => Some(*due),
            _ => None,
        }
    }

    pub fn gathering(&self) -> Option<u64> {
        match self {
            Self::Aggregating(n) => Some(*n),
            _ => None,
        }
    }
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
            openings: BTreeMap::new(),
            opened: 0,
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
            settings: Settings::default(),
            trimmed: 0,
            made: false,
        }
    }

    pub fn is_known(&self, id: TaskId) -> bool {
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

    pub fn hand_out(
        &mut self,
        id: TaskId,
        session: SessionId,
        cause: Cause,
        group: Option<u32>,
    ) -> Result<Claim> {
        let row = self.tasks.get_mut(&id).ok_or_else(|| Error::not_found("no such task"))?;
        row.place = Place::Active(session);
        row.started |= cause == Cause::Dequeued;
        row.front = false;
        let stored = Stored::parse(id, row.record.clone())?;
        Ok(Claim { ticket: row.ticket, cause, stored, trail: row.trail.clone(), group })
    }

    pub fn release(&mut self, id: TaskId) {
        let now = self.now;
        self.head -= 1;
        if let Some(row) = self.tasks.get_mut(&id) {
            row.place = Place::Pending;
            (row.released, row.seat) = (true, self.head);
            row.since.1 = now;
        }
        let Some(row) = self.tasks.get(&id) else { return };
        if row.doomed {
            self.doom(id);
        } else if row.gathers() && !faulty!(self, ForgetGroup) {
            self.join(id);
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
                // A cancelled one is archived, as if nothing had been said of a lane.
                row.lane = if doomed { row.lane } else { *lane };
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

    pub fn stats(&self, queue: QueueName) -> QueueStats {
        let mut stats = QueueStats::empty(queue);
        for row in self.tasks.values() {
            stats.counts[usize::from(state_of(&row.place).code())] += 1;
        }
        (stats.completed, stats.failed) = (self.completed, self.failed);
        (stats.paused, stats.limit) = (self.paused, self.limit);
        stats.settings = self.settings.clone();
        stats.bytes = self.settings.bytes.map(|_| self.bytes());
        stats.trimmed = self.trimmed;
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
            Place::Aggregating(_) => row.joined.0,
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
            Place::Pending | Place::Active(_) | Place::Aggregating(_) => (None, None, None),
        };
        let stored = Stored::parse(id, row.record.clone()).ok()?;
        let (state, trail) = (state_of(&row.place), row.trail.clone());
        Some(TaskView { state, until, reason, stored, trail, result })
    }
}
