//! Tasks to be: what a history enqueues, which locks it wants and which groups it joins. Few names, so that tasks meet.

use std::time::Duration;

use oncue::broker::*;
use oncue::task::Due;
use proptest::prelude::*;
use proptest::sample::select;

use crate::fixture::{START, Terms, gather, name};

/// The longest delay there is: nothing is due later than this from now.
const LATEST: Duration = Duration::from_secs(7_200);

/// The names of locks, each as tasks may know it: while an index key changes, some know two.
const NAMES: [&[u8]; 5] = [&[1], &[2], &[1, 2], &[2, 1], &[3]];

/// A task to be enqueued; with `again` the record and lock of one there was, if there was any.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub kind: usize,
    pub priority: u8,
    pub due: Due,
    pub remember: bool,
    pub front: bool,
    pub want: Option<Want>,
    pub join: Option<Join>,
    pub body: usize,
    pub again: Option<usize>,
}

/// A group to be joined, under one of [`GROUPS`].
#[derive(Clone, Copy, Debug)]
pub struct Join {
    pub name: usize,
    pub grace: Duration,
    pub within: Option<Duration>,
    pub most: usize,
}

/// The names of groups.
const GROUPS: [&str; 2] = ["a", "b"];

/// A lock to be taken, under one of [`NAMES`].
#[derive(Clone, Copy, Debug)]
pub struct Want {
    pub names: usize,
    pub hold: Hold,
    pub lasts: Option<Duration>,
    pub conflict: Conflict,
    pub within: Option<Duration>,
}

/// The plainest task.
pub const PLAN: Plan = Plan {
    kind: 0,
    priority: 0,
    due: Due::Now,
    remember: false,
    front: false,
    want: None,
    join: None,
    body: 2,
    again: None,
};

impl Join {
    pub fn terms(self) -> Terms {
        let Self { name, grace, within, most } = self;
        let terms = gather(GROUPS[name], grace).most(most);
        within.into_iter().fold(terms, Terms::within)
    }
}

impl Want {
    pub fn lock(self) -> Lock {
        let Self { names, hold, lasts, conflict, within } = self;
        let names = NAMES[names].iter().copied().map(name).collect();
        Lock { names, hold, lasts, conflict, within }
    }
}

pub fn delay() -> impl Strategy<Value = Duration> {
    let longest = LATEST.as_secs();
    select(vec![1, 1, 30, 30, 600, longest]).prop_map(Duration::from_secs)
}

pub fn due() -> impl Strategy<Value = Due> {
    prop_oneof![
        6 => Just(Due::Now),
        2 => delay().prop_map(Due::In),
        1 => delay().prop_map(|delay| Due::At(START.plus(delay))),
    ]
}

/// Whoever takes a lock first may be due later than `within` or not: open. So here nobody is.
fn want() -> impl Strategy<Value = Want> {
    let hold = select(vec![Hold::UntilStart, Hold::UntilEnd, Hold::UntilEnd, Hold::Always]);
    let conflict = select(vec![Conflict::Keep, Conflict::Replace, Conflict::Reschedule]);
    let lasts = proptest::option::of(delay());
    let within = proptest::option::of(Just(LATEST));
    (0..NAMES.len(), hold, lasts, conflict, within).prop_map(
        |(names, hold, lasts, conflict, within)| {
            // One that nothing releases would keep out all that come after it.
            let lasts = if hold == Hold::Always { lasts.or(Some(LATEST)) } else { lasts };
            Want { names, hold, lasts, conflict, within }
        },
    )
}

/// Small and quick, so that groups close in the middle of a history.
fn join() -> impl Strategy<Value = Join> {
    let seconds = |all: Vec<u64>| select(all).prop_map(Duration::from_secs);
    let within = proptest::option::of(seconds(vec![1, 30, 600]));
    let most = select(vec![1usize, 2, 3, 3, 500, 500]);
    (0..GROUPS.len(), seconds(vec![0, 1, 1, 10, 600]), within, most)
        .prop_map(|(name, grace, within, most)| Join { name, grace, within, most })
}

pub fn plan() -> impl Strategy<Value = Plan> {
    let again = prop_oneof![3 => Just(None), 1 => (0..64usize).prop_map(Some)];
    let front = prop::bool::weighted(0.3);
    let want = proptest::option::weighted(0.4, want());
    let join = proptest::option::weighted(0.5, join());
    let body = select(vec![2usize, 2, 300]);
    // Most in one line, so that there is an order to be kept.
    let (kind, priority) = (select(vec![0usize, 0, 0, 1, 2, 3]), select(vec![0u8, 0, 0, 1, 2]));
    (kind, priority, due(), any::<bool>(), front, want, join, body, again).prop_map(
        |(kind, priority, due, remember, front, want, join, body, again)| Plan {
            kind,
            priority,
            due,
            remember,
            front,
            want,
            join,
            body,
            again,
        },
    )
}
