//! Random histories: a broker and the model live through the same calls and must agree at every step.
//!
//! Both get the same sealed envelopes and read the same clock. Every delay is a whole number of seconds
//! and every tick one millisecond more, so that no moment ever falls on the very end of a lease, a
//! memory or a grace: which side that moment belongs to is the broker's choice.

mod acts;
mod advance;
mod calls;
mod census;
mod invariant;
mod locks;
mod notes;
mod plan;
mod run;
mod ticks;

use std::time::Duration;

use oncue::broker::{Act, Lane, Setting, Slot};
use oncue::queue::Kind;
use oncue::state::Reason;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestError, TestRng, TestRunner};

use crate::fixture::Opener;
#[cfg_attr(
    not(feature = "failpoints"),
    expect(unused_imports, reason = "asked only about mutants")
)]
pub use plan::{Join, PLAN, Plan, Want};
use plan::{delay, due, plan};

/// Longest history, before the disturbances it does without are left out.
const STEPS: usize = 72;

/// One thing that happens. Numbers named `pick` choose, modulo, among what there is at that moment.
#[derive(Clone, Debug)]
pub enum Op {
    /// A batch; with `lost` its reply is lost and it is sent again.
    Enqueue { plans: Vec<Plan>, lost: bool },
    /// A batch of the past is sent again.
    RepeatBatch { pick: usize },
    /// A batch over its limit.
    Oversized { plan: Plan },
    /// A worker claims; with `lost` it never hears the answer and retires its session.
    Dequeue { hand: usize, max: usize, lane: Lane, limits: [usize; 4], lost: bool },
    /// Any session of the past claims.
    LateDequeue { pick: usize },
    /// A session settles what it holds; with `lost` it does so twice.
    Settle { pick: usize, deeds: Vec<(usize, Deed)>, lost: bool },
    /// Any session settles any ticket there ever was.
    Stray { pick: usize, ticket: usize, deed: Deed },
    /// A session is closed; bit n of `known` says whether its n-th claim is known.
    Retire { pick: usize, known: u8 },
    /// Time's work is done in steps of `limit`.
    Advance { limit: usize },
    /// One sweep.
    Reclaim { max: usize, known: u8 },
    /// Sweeps until the gap guard is satisfied; sessions in `beating` live on.
    Patrol { beating: u16 },
    /// The sessions with these numbers, modulo 16, show that they live.
    Beat { sessions: u16 },
    /// Any task there ever was is cancelled.
    Cancel { pick: usize },
    /// A person does this to any task there ever was.
    Act { pick: usize, act: Act },
    /// Another record of this size in place of any task there ever was.
    Edit { pick: usize, body: usize },
    /// A session writes notes beside what it holds.
    Note { pick: usize, notes: Vec<(usize, Slot)> },
    /// Any session writes a note with any ticket there ever was.
    StrayNote { pick: usize, ticket: usize, slot: Slot },
    /// The one entry of the timetable is written, or removed.
    Entry { remove: bool },
    /// A tick of that entry as it was seen so many changes ago, so long after the last one seen.
    Fire { ago: usize, after: Duration, plans: Vec<Plan>, lost: bool },
    /// The queue is paused, or goes on.
    Pause(bool),
    /// The queue is limited, or no more.
    Limit(Option<u64>),
    /// Anything else about the queue is set.
    Set(Setting),
    /// Time passes.
    Tick(Duration),
}

/// How a claim is settled, and the attempts its trail tells of from then on.
#[derive(Clone, Copy, Debug)]
pub struct Deed {
    pub end: End,
    pub trail: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
pub enum End {
    Complete { keep: Duration, result: bool },
    Retry { after: Duration, front: bool },
    Snooze(Duration),
    Release(Lane),
    Archive(Reason),
    Drop,
}

fn lane() -> impl Strategy<Value = Lane> {
    prop_oneof![2 => Just(Lane::Shared), 1 => Just(Lane::Alone)]
}

fn deed() -> impl Strategy<Value = Deed> {
    let keep = prop_oneof![1 => Just(Duration::ZERO), 2 => delay()];
    let end = prop_oneof![
        3 => (keep, any::<bool>()).prop_map(|(keep, result)| End::Complete { keep, result }),
        2 => (delay(), any::<bool>()).prop_map(|(after, front)| End::Retry { after, front }),
        1 => delay().prop_map(End::Snooze),
        3 => lane().prop_map(End::Release),
        1 => select(Reason::ALL.to_vec()).prop_map(End::Archive),
        1 => Just(End::Drop),
    ];
    (end, proptest::option::of(0..5u32)).prop_map(|(end, trail)| Deed { end, trail })
}

fn dequeue() -> impl Strategy<Value = Op> {
    let max = prop_oneof![1..6usize, Just(1_000)];
    let limits = [(); 4].map(|()| select(vec![0usize, 1, 9, 9]));
    let lost = prop::bool::weighted(0.15);
    (0..3usize, max, lane(), limits, lost).prop_map(|(hand, max, lane, limits, lost)| Op::Dequeue {
        hand,
        max,
        lane,
        limits,
        lost,
    })
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => Just(Act::Run),
        1 => Just(Act::Archive),
        1 => Just(Act::Delete),
        2 => due().prop_map(Act::Reschedule),
    ]
}

/// Small numbers, so that there is too much of everything.
fn setting() -> impl Strategy<Value = Setting> {
    let few = || proptest::option::weighted(0.7, 0..4u64);
    let bytes = proptest::option::weighted(0.7, select(vec![0u64, 400, 1_000, 3_000]));
    let kind =
        select(run::KINDS_ASKED.to_vec()).prop_map(|kind| Kind::parse(kind).expect("a kind"));
    prop_oneof![
        1 => bytes.prop_map(Setting::Bytes),
        2 => few().prop_map(Setting::Concurrency),
        2 => (kind, few()).prop_map(|(kind, limit)| Setting::KindConcurrency(kind, limit)),
        2 => few().prop_map(Setting::KeepCompleted),
        2 => (few(), proptest::option::of(delay()))
            .prop_map(|(most, time)| Setting::KeepArchived(most, time)),
    ]
}

fn fire() -> impl Strategy<Value = Op> {
    let ago = select(vec![0usize, 0, 0, 1, 5]);
    let fire = (ago, delay(), vec(plan(), 0..3), prop::bool::weighted(0.15));
    fire.prop_map(|(ago, after, plans, lost)| Op::Fire { ago, after, plans, lost })
}

fn tick() -> impl Strategy<Value = Op> {
    let ms = prop_oneof![
        4 => Just(1u64),
        4 => Just(10_001),
        4 => Just(31_001),
        2 => Just(601_001),
        1 => Just(3_601_001),
        1 => Just(90_000_001),
    ];
    ms.prop_map(|ms| Op::Tick(Duration::from_millis(ms)))
}

fn op() -> impl Strategy<Value = Op> {
    let lost = prop::bool::weighted(0.15);
    let pick = 0..64usize;
    let deeds = vec((0..8usize, deed()), 1..5);
    let limit = select(vec![1usize, 2, 1_000]);
    let slot = || select(Slot::ALL.to_vec());
    prop_oneof![
        6 => (vec(plan(), 1..6), lost).prop_map(|(plans, lost)| Op::Enqueue { plans, lost }),
        2 => pick.clone().prop_map(|pick| Op::RepeatBatch { pick }),
        1 => plan().prop_map(|plan| Op::Oversized { plan }),
        8 => dequeue(),
        2 => pick.clone().prop_map(|pick| Op::LateDequeue { pick }),
        8 => (pick.clone(), deeds, lost)
            .prop_map(|(pick, deeds, lost)| Op::Settle { pick, deeds, lost }),
        2 => (pick.clone(), pick.clone(), deed())
            .prop_map(|(pick, ticket, deed)| Op::Stray { pick, ticket, deed }),
        2 => (pick.clone(), any::<u8>()).prop_map(|(pick, known)| Op::Retire { pick, known }),
        3 => pick.clone().prop_map(|pick| Op::Cancel { pick }),
        6 => (pick.clone(), act()).prop_map(|(pick, act)| Op::Act { pick, act }),
        2 => (pick.clone(), vec((0..8usize, slot()), 1..4))
            .prop_map(|(pick, notes)| Op::Note { pick, notes }),
        1 => (pick.clone(), pick.clone(), slot())
            .prop_map(|(pick, ticket, slot)| Op::StrayNote { pick, ticket, slot }),
        2 => (pick, select(vec![2usize, 300])).
            prop_map(|(pick, body)| Op::Edit { pick, body }),
        1 => prop::bool::weighted(0.2).prop_map(|remove| Op::Entry { remove }),
        2 => fire(),
        1 => prop::bool::weighted(0.4).prop_map(Op::Pause),
        1 => proptest::option::weighted(0.5, 0..12u64).prop_map(Op::Limit),
        3 => setting().prop_map(Op::Set),
        4 => limit.clone().prop_map(|limit| Op::Advance { limit }),
        2 => (limit, any::<u8>())
            .prop_map(|(limit, known)| Op::Reclaim { max: limit.min(500), known }),
        2 => any::<u16>().prop_map(|beating| Op::Patrol { beating }),
        2 => any::<u16>().prop_map(|sessions| Op::Beat { sessions }),
        6 => tick(),
    ]
}

/// Which bit of a history's mask lets this happen; the daily round of a task always may.
fn disturbance(op: &Op) -> Option<u32> {
    match op {
        Op::RepeatBatch { .. } | Op::Oversized { .. } => Some(0),
        Op::LateDequeue { .. } | Op::Retire { .. } => Some(1),
        Op::Stray { .. } | Op::StrayNote { .. } => Some(2),
        Op::Reclaim { .. } | Op::Patrol { .. } => Some(3),
        Op::Beat { .. } => Some(4),
        Op::Cancel { .. } => Some(5),
        Op::Pause(_) | Op::Limit(_) => Some(6),
        Op::Act { .. } | Op::Edit { .. } => Some(7),
        Op::Note { .. } | Op::Entry { .. } | Op::Fire { .. } => Some(8),
        Op::Set(_) => Some(11),
        _ => None,
    }
}

/// The bit that lets tasks have locks, and the one that lets them gather.
const LOCKS: u32 = 9;
const GROUPS: u32 = 10;

/// Every history does without some of the disturbances, so that the others and the daily round meet in
/// more ways than if everything happened everywhere.
fn history(least: usize) -> impl Strategy<Value = Vec<Op>> {
    (vec(op(), least..=STEPS), any::<u16>()).prop_map(|(mut ops, mask)| {
        let may = |bit| mask >> bit & 1 == 1;
        ops.retain(|op| disturbance(op).is_none_or(may));
        for op in &mut ops {
            let (Op::Enqueue { plans, .. } | Op::Fire { plans, .. }) = op else { continue };
            for plan in plans {
                plan.want = plan.want.filter(|_| may(LOCKS));
                plan.join = plan.join.filter(|_| may(GROUPS));
            }
        }
        ops
    })
}

/// Lives through one history.
pub fn replay(open: Opener<'_>, ops: &[Op]) -> Result<(), TestCaseError> {
    let mut run = run::Run::new(open);
    for (step, op) in ops.iter().enumerate() {
        run.step(op)
            .map_err(|breach| TestCaseError::fail(format!("step {step}, {op:?}: {breach}")))?;
    }
    run.finish().map_err(TestCaseError::fail)
}

/// Random histories; what fails is shrunk and kept in `proptest-regressions`.
#[track_caller]
pub fn check(open: Opener<'_>, cases: u32) {
    let config = Config { cases, source_file: Some(file!()), ..Config::default() };
    if let Err(failure) = TestRunner::new(config).run(&history(1), |ops| replay(open, &ops)) {
        panic!("{failure}");
    }
}

/// The same histories every time, unshrunk: the first breach among them, if any.
#[cfg_attr(not(feature = "failpoints"), expect(dead_code, reason = "asked only about mutants"))]
pub fn first_breach(open: Opener<'_>, cases: u32) -> Option<String> {
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
    let rng = TestRng::deterministic_rng(config.rng_algorithm);
    let histories = history(STEPS / 2);
    match TestRunner::new_with_rng(config, rng).run(&histories, |ops| replay(open, &ops)) {
        Ok(()) => None,
        Err(TestError::Fail(breach, _) | TestError::Abort(breach)) => Some(breach.to_string()),
    }
}
