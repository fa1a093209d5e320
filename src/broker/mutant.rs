//! Planned faults in a broker, one at a time, so that the suite can show it would notice them.
//!
//! Compiled only with the feature `failpoints`; without it nothing of this exists.

/// A fault a broker can be built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Settle does not ask whether the session holds the claim.
    ForgetFence,
    /// A killed session can still settle.
    SettleDead,
    /// A retired session can claim again.
    ReopenRetired,
    /// Retire hands back what is known, too.
    RetireKnown,
    /// Retire hands back nothing.
    RetireNothing,
    /// Reclaim kills sessions whose lease still runs.
    ReclaimAlive,
    /// Reclaim kills at once after a gap in its ticks.
    ReclaimAfterGap,
    /// Advance moves tasks a second early.
    AdvanceEarly,
    /// The newest pending task goes first.
    LastInFirstOut,
    /// Batch ids are not remembered.
    ForgetBatch,
    /// Ids of tasks with a key of their own are not remembered.
    ForgetKey,
    /// A batch over its limit stores its first task before it is refused.
    HalfBatch,
    /// Settle does not store the trail.
    LoseTrail,
    /// A kept task loses its result.
    LoseResult,
    /// Dequeue takes kinds that are not accepted.
    IgnoreAccept,
    /// A beat brings a dead session back.
    BeatRevives,
    /// Tasks that must run alone are handed out like others.
    MixLanes,
    /// Retention is ignored: completed tasks stay for ever.
    NeverExpire,
    /// A lock is not released when its task is archived.
    LeakLock,
    /// A task that ends releases its lock even if another holds it by now.
    StealLock,
    /// A tick is enqueued although it was.
    TickTwice,
    /// Of a closed group only as many tasks are claimed as a dequeue asks for.
    SplitGroup,
    /// A group closes a second early.
    CloseEarly,
    /// What is handed back of a group is pending by itself.
    ForgetGroup,
    /// How many tasks of a queue or kind are active is not looked at.
    IgnoreConcurrency,
    /// Of what is kept, the newest goes when it is too many.
    TrimNewest,
}

impl Mutant {
    /// Every fault.
    pub const ALL: [Self; 26] = [
        Self::ForgetFence,
        Self::SettleDead,
        Self::ReopenRetired,
        Self::RetireKnown,
        Self::RetireNothing,
        Self::ReclaimAlive,
        Self::ReclaimAfterGap,
        Self::AdvanceEarly,
        Self::LastInFirstOut,
        Self::ForgetBatch,
        Self::ForgetKey,
        Self::HalfBatch,
        Self::LoseTrail,
        Self::LoseResult,
        Self::IgnoreAccept,
        Self::BeatRevives,
        Self::MixLanes,
        Self::NeverExpire,
        Self::LeakLock,
        Self::StealLock,
        Self::TickTwice,
        Self::SplitGroup,
        Self::CloseEarly,
        Self::ForgetGroup,
        Self::IgnoreConcurrency,
        Self::TrimNewest,
    ];
}
