//! One history under way: after every step both brokers show the same, and the invariants hold.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use oncue::broker::*;
use oncue::clock::Timestamp;
use oncue::task::{TaskId, Trail};

use super::Op;
use super::census::{Census, Face};
use super::invariant::{Invariant, Moment};
use super::locks::Taken;
use super::ticks::Seen;
use crate::fixture::*;
use crate::model::{Book, Model};

/// The kinds of the plans; the last one is known to no sweeper.
pub const KINDS_ASKED: [&str; 4] = [KINDS[0], KINDS[1], KINDS[2], "odd:one"];

pub type Verdict<T = ()> = Result<T, String>;

pub struct Run {
    pub bench: Bench,
    pub model: Arc<Model>,
    pub twin: Bench,
    pub batches: Vec<Sent>,
    pub tasks: Vec<NewTask>,
    pub sessions: Vec<Session>,
    pub hands: [Session; 3],
    pub claims: Vec<Claim>,
    pub trails: BTreeMap<TaskId, Trail>,
    pub taken: BTreeMap<TaskId, Taken>,
    pub seen: Vec<Seen>,
    pub created: usize,
    pub ended: usize,
    pub serial: u64,
    pub census: Census,
    pub refused: bool,
}

pub struct Sent {
    pub batch: Batch,
    pub first: Timestamp,
    pub last: Timestamp,
}

/// A refusal as far as it is compared: by its code.
pub fn coded<T>(reply: oncue::Result<T>) -> Result<T, String> {
    reply.map_err(|error| error.code().to_owned())
}

pub fn agree<T: PartialEq + std::fmt::Debug>(what: &str, theirs: &T, ours: &T) -> Verdict {
    let differ = || format!("{what}: the broker says {theirs:?}, the model {ours:?}");
    if theirs == ours { Ok(()) } else { Err(differ()) }
}

pub fn ensure(holds: bool, breach: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(breach()) }
}

impl Run {
    pub fn new(open: Opener<'_>) -> Self {
        let bench = Bench::new(open);
        let model = Arc::new(Model::new(bench.clock.clone(), None));
        let twin = bench.twin(model.clone());
        let census = Census::take(&bench);
        let hands = [(); 3].map(|()| bench.session());
        Self {
            bench,
            model,
            twin,
            batches: Vec::new(),
            tasks: Vec::new(),
            sessions: hands.to_vec(),
            hands,
            claims: Vec::new(),
            trails: BTreeMap::new(),
            taken: BTreeMap::new(),
            seen: Vec::new(),
            created: 0,
            ended: 0,
            serial: 0,
            census,
            refused: false,
        }
    }

    pub fn book<T>(&self, act: impl FnOnce(&mut Book) -> T) -> T {
        self.model.at(&self.bench.queue, act)
    }

    pub fn open_session(&mut self) -> Session {
        let session = self.bench.session();
        self.sessions.push(session.clone());
        session
    }

    pub fn any_session(&self, pick: usize) -> Session {
        self.sessions[pick % self.sessions.len()].clone()
    }

    pub fn step(&mut self, op: &Op) -> Verdict {
        self.refused = false;
        match op {
            Op::Enqueue { plans, lost } => self.enqueue_new(plans, *lost)?,
            Op::RepeatBatch { pick } => self.repeat(*pick)?,
            Op::Oversized { plan } => self.oversize(*plan)?,
            Op::Dequeue { hand, max, lane, limits, lost } => {
                self.dequeue_by_hand(*hand, *max, *lane, *limits, *lost)?;
            }
            Op::LateDequeue { pick } => {
                let ask = self.bench.ask(&self.any_session(*pick), 3);
                if self.book(|book| book.is_remembered(ask.session.id)) {
                    self.dequeue(&ask)?;
                }
            }
            Op::Settle { pick, deeds, lost } => self.settle_held(*pick, deeds, *lost)?,
            Op::Stray { pick, ticket, deed } => self.stray(*pick, *ticket, *deed)?,
            Op::Retire { pick, known } => {
                let session = self.any_session(*pick);
                let held = self.book(|book| book.held(session.id));
                let bit = |(n, id)| (known >> (n % 8) & 1 == 1).then_some(id);
                let known: Vec<_> = held.into_iter().enumerate().filter_map(bit).collect();
                self.retire(&session, &known)?;
            }
            Op::Advance { limit } => self.advance(*limit)?,
            Op::Reclaim { max, known } => self.reclaim(*max, *known)?,
            Op::Patrol { beating } => {
                for _ in 0..3 {
                    self.reclaim(SWEEP_MAX, u8::MAX)?;
                    self.bench.pass(Duration::from_millis(31_001));
                    self.beat(*beating)?;
                }
                self.reclaim(SWEEP_MAX, u8::MAX)?;
            }
            Op::Beat { sessions } => self.beat(*sessions)?,
            Op::Cancel { pick } => self.cancel(*pick)?,
            Op::Act { pick, act } => self.act(*pick, *act)?,
            Op::Edit { pick, body } => self.edit(*pick, *body)?,
            Op::Note { pick, notes } => self.note_held(*pick, notes)?,
            Op::StrayNote { pick, ticket, slot } => self.stray_note(*pick, *ticket, *slot)?,
            Op::Entry { remove } => self.write_entry(*remove)?,
            Op::Fire { ago, after, plans, lost } => self.fire(*ago, *after, plans, *lost)?,
            Op::Pause(paused) => self.set(Setting::Paused(*paused))?,
            Op::Limit(limit) => self.set(Setting::Limit(*limit))?,
            Op::Set(setting) => self.set(setting.clone())?,
            Op::Tick(time) => self.bench.pass(*time),
        }
        self.look()
    }

    /// Compares what both show, and checks the invariants on what the broker shows.
    fn look(&mut self) -> Verdict {
        let (now, ours) = (Census::take(&self.bench), Census::take(&self.twin));
        self.forget_ended(&now);
        let held = self.sessions.iter().flat_map(|session| self.book(|book| book.held(session.id)));
        let moment = Moment {
            before: &self.census,
            now: &now,
            refused: self.refused,
            held: held.collect(),
            trails: &self.trails,
            holders: self.holders()?,
            locked: self.held_to_the_end(),
            created: self.created,
            ended: self.ended,
        };
        for invariant in Invariant::ALL {
            ensure(invariant.holds(&moment), || format!("{invariant:?} does not hold"))?;
        }
        agree("tasks", &now.by_id(), &ours.by_id())?;
        agree("groups", &now.groups, &ours.groups)?;
        let since = |gathering: &Gathering| gathering.since;
        ensure(self.bench.groups().is_sorted_by_key(since), || {
            "the oldest group is not first".into()
        })?;
        let runs = |census: &Census| {
            let stats = &census.stats;
            (
                (stats.completed, stats.failed, stats.trimmed, stats.bytes),
                (stats.paused, stats.limit, stats.settings.clone()),
            )
        };
        agree("runs and settings", &runs(&now), &runs(&ours))?;
        let oldest = now.stats.oldest;
        let bounds = self.book(|book| book.oldest());
        let fits = oldest.is_some() == bounds.is_some()
            && oldest.zip(bounds).is_none_or(|(at, (low, high))| low <= at && at <= high);
        ensure(fits, || format!("oldest is {oldest:?}, not within {bounds:?}"))?;
        self.census = now;
        Ok(())
    }

    /// At the end every task there ever was is shown as it was listed, or not at all, with its notes.
    pub fn finish(self) -> Verdict {
        let listed = self.census.by_id();
        for task in &self.tasks {
            let id = task.envelope.id();
            let shown = self.bench.show(id);
            agree("show", &shown.as_ref().map(Face::from).as_ref(), &listed.get(&id).copied())?;
            self.compare_notes(id)?;
        }
        Ok(())
    }
}
