//! The suite notices every planned fault: each [`Mutant`] is told from a sound broker by name.
//!
//! Random histories come first, always the same ones. What they do not find, a directed history may; a
//! mutant that outlives both fails the test. The sound broker lives through all of them unharmed, or the
//! checks would prove nothing.

use std::sync::Arc;
use std::time::Duration;

use oncue::broker::{Conflict, Hold, Lane, Mutant, Setting};
use oncue::clock::ManualClock;
use oncue::state::Reason;
use oncue::task::Due;

use crate::fixture::{Opened, SECOND};
use crate::sequences::{Deed, End, Join, Op, PLAN, Plan, Want, first_breach, replay};

/// Random histories per mutant.
const CASES: u32 = 96;

/// Opens a broker, with a fault or without.
pub type MutantOpener<'a> = &'a dyn Fn(Option<Mutant>, Arc<ManualClock>) -> Opened;

#[track_caller]
pub fn every_mutant_is_killed(open: MutantOpener<'_>) {
    let sound = |clock| open(None, clock);
    assert_eq!(first_breach(&sound, CASES), None, "a sound broker was blamed by chance");
    for (name, ops) in directed() {
        replay(&sound, &ops)
            .unwrap_or_else(|breach| panic!("{name} blames a sound broker: {breach}"));
    }
    let survivors: Vec<_> =
        Mutant::ALL.into_iter().filter(|mutant| survives(open, *mutant)).collect();
    assert!(survivors.is_empty(), "these mutants survive: {survivors:?}");
}

/// Says on the way what killed the mutant (shown with `--nocapture`).
fn survives(open: MutantOpener<'_>, mutant: Mutant) -> bool {
    let faulty = |clock| open(Some(mutant), clock);
    let by_chance = first_breach(&faulty, CASES);
    println!("{mutant:?}: histories: {}", by_chance.as_deref().unwrap_or("nothing"));
    let killers = directed().into_iter().filter(|(_, ops)| replay(&faulty, ops).is_err());
    let killers: Vec<_> = killers.map(|(name, _)| name).collect();
    println!("{mutant:?}: directed: {killers:?}");
    by_chance.is_none() && killers.is_empty()
}

fn put(n: usize) -> Op {
    Op::Enqueue { plans: vec![PLAN; n], lost: false }
}

fn put_one(change: impl FnOnce(&mut Plan)) -> Op {
    let mut plan = PLAN;
    change(&mut plan);
    Op::Enqueue { plans: vec![plan], lost: false }
}

fn take(max: usize) -> Op {
    Op::Dequeue { hand: 0, max, lane: Lane::Shared, limits: [9, 9, 9, 0], lost: false }
}

/// Tasks of one group, quiet after a second.
fn gather(n: usize, most: usize) -> Op {
    let join = Some(Join { name: 0, grace: SECOND, within: None, most });
    Op::Enqueue { plans: vec![Plan { join, ..PLAN }; n], lost: false }
}

fn deed(end: End) -> Deed {
    Deed { end, trail: None }
}

fn end(end: End) -> Op {
    Op::Settle { pick: 0, deeds: vec![(0, deed(end))], lost: false }
}

fn complete(keep: Duration, result: bool) -> Op {
    end(End::Complete { keep, result })
}

fn pass(ms: u64) -> Op {
    Op::Tick(Duration::from_millis(ms))
}

/// One short history per fault, each with what it is aimed at.
fn directed() -> Vec<(&'static str, Vec<Op>)> {
    let one_sweep = Op::Reclaim { max: 500, known: u8::MAX };
    let patrol_beating = Op::Patrol { beating: u16::MAX };
    let patrol = || Op::Patrol { beating: 0 };
    let stray = |pick, end| Op::Stray { pick, ticket: 0, deed: deed(end) };
    let retire = |known| Op::Retire { pick: 0, known };
    let advance = || Op::Advance { limit: 1_000 };
    let again = |plan: &mut Plan| plan.again = Some(0);
    let late = || Op::LateDequeue { pick: 0 };
    let (hold, conflict) = (Hold::UntilEnd, Conflict::Keep);
    let want = Want { names: 0, hold, lasts: Some(SECOND), conflict, within: None };
    let locked = || put_one(|plan| plan.want = Some(want));
    let fire = |ago| Op::Fire { ago, after: SECOND, plans: vec![PLAN], lost: false };
    let mut told = deed(End::Retry { after: SECOND, front: false });
    told.trail = Some(1);
    vec![
        (
            "a foreign settle",
            vec![put(1), take(1), retire(0), late(), take(1), take(1), stray(0, End::Drop)],
        ),
        ("a settle of the dead", vec![put(1), take(1), patrol(), stray(0, End::Drop)]),
        ("a claim after retire", vec![put(2), take(1), retire(1), late()]),
        ("retire with what is known", vec![put(2), take(2), retire(1)]),
        ("retire with what is not", vec![put(2), take(2), retire(0)]),
        ("a sweep over the living", vec![put(1), patrol(), take(1), patrol_beating]),
        ("a sweep after a gap", vec![put(1), take(1), pass(61_001), one_sweep]),
        ("a second early", vec![put_one(|p| p.due = Due::In(SECOND)), pass(1), advance()]),
        ("the order of the line", vec![put(3), take(1), take(1), take(1)]),
        (
            "a batch sent again",
            vec![put(1), take(1), complete(Duration::ZERO, false), Op::RepeatBatch { pick: 0 }],
        ),
        (
            "a key used again",
            vec![
                put_one(|plan| plan.remember = true),
                take(1),
                complete(Duration::ZERO, false),
                put_one(again),
            ],
        ),
        ("a batch too large", vec![Op::Oversized { plan: PLAN }]),
        (
            "a trail",
            vec![put(1), take(1), Op::Settle { pick: 0, deeds: vec![(0, told)], lost: false }],
        ),
        ("a result", vec![put(1), take(1), complete(SECOND, true)]),
        ("a kind not asked for", vec![put_one(|plan| plan.kind = 3), put(1), take(9)]),
        ("a beat of the dead", vec![put(1), take(1), patrol(), Op::Beat { sessions: u16::MAX }]),
        ("a task alone", vec![put(1), take(1), end(End::Release(Lane::Alone)), take(1)]),
        (
            "an end of retention",
            vec![put(1), take(1), complete(SECOND, true), pass(1_001), advance()],
        ),
        (
            "a lock of an archived task",
            vec![locked(), take(1), end(End::Archive(Reason::Operator))],
        ),
        (
            "a lock that another took",
            vec![locked(), take(1), pass(1_001), locked(), end(End::Drop)],
        ),
        ("a whole group", vec![gather(2, 2), take(1)]),
        ("a group that waits", vec![gather(1, 9), pass(1), advance()]),
        ("a task back in its group", vec![gather(1, 1), take(1), end(End::Release(Lane::Shared))]),
        ("a limit of active tasks", vec![Op::Set(Setting::Concurrency(Some(1))), put(2), take(9)]),
        (
            "too many to keep",
            vec![
                Op::Set(Setting::KeepCompleted(Some(1))),
                put(1),
                take(1),
                complete(SECOND, false),
                put(1),
                take(1),
                complete(SECOND * 30, false),
                advance(),
            ],
        ),
        ("a tick, twice", vec![Op::Entry { remove: false }, fire(0), fire(1)]),
    ]
}
