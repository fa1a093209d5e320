//! Uniqueness: of which tasks there is to be one at a time, for how long, and what becomes of a second.
//!
//! Only an HMAC of what makes a task unique leaves the process, never a digest and never the text.

use std::time::Duration;

/// How a task is to be the only one of its sort: of its kind, in its queue.
///
/// Alike are tasks with the same payload, unless [`key`](Self::key) or [`fields`](Self::fields) says otherwise.
///
/// ```
/// # use std::time::Duration;
/// # use oncue::{Task, Unique};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Reindex { shop: u64, full: bool }
/// # impl Task for Reindex { const KIND: &'static str = "reindex"; }
/// let draft = Reindex { shop: 7, full: true }.draft();
/// // One per shop until it has ended, for an hour at most; a second one is dropped.
/// let draft = draft.unique(Unique::until_end().fields(["shop"]).lasts(Duration::from_secs(3600)));
/// ```
#[derive(Clone, Debug)]
pub struct Unique {
    pub(crate) by: By,
    pub(crate) hold: Hold,
    pub(crate) lasts: Option<Duration>,
    pub(crate) conflict: Conflict,
    pub(crate) within: Option<Duration>,
}

/// When a lock is released, unless it [`lasts`](Unique::lasts) shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// By the first dequeue of its task, or by its end without one. What happens to that claim does not bring it back.
    UntilStart,
    /// By the end of its task: completed, archived, or gone, in whatever way.
    UntilEnd,
    /// By nothing but time; with its task, if that is deleted by a person or replaced.
    Always,
}

/// What happens to a task whose lock is held: by the holder under the first of its names that is held. A task that runs, or
/// has ended, is never touched; nor is one of several that hold the lock, each under another of its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// It is not stored.
    Keep,
    /// It takes the place of the holder, which is gone, if that one waits: scheduled, pending or to be retried.
    /// Otherwise it is not stored.
    Replace,
    /// It is not stored; the holder, if it waits, is due when this one would have been, and holds its lock as long as this
    /// one would have.
    Reschedule,
}

impl Hold {
    /// The number this is stored as. Golden: never changes. 0 means that there is no lock.
    pub const fn code(self) -> u8 {
        match self {
            Self::UntilStart => 1,
            Self::UntilEnd => 2,
            Self::Always => 3,
        }
    }
}

/// What makes two tasks alike.
#[derive(Clone)]
pub(crate) enum By {
    Payload,
    Fields(Vec<String>),
    Key(String),
}

impl std::fmt::Debug for By {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Payload => f.write_str("Payload"),
            Self::Fields(fields) => write!(f, "Fields({fields:?})"),
            Self::Key(key) => write!(f, "Key({} bytes)", key.len()),
        }
    }
}

impl Unique {
    fn new(hold: Hold) -> Self {
        Self { by: By::Payload, hold, lasts: None, conflict: Conflict::Keep, within: None }
    }

    /// Until its first run starts: what happens meanwhile needs another task.
    pub fn until_start() -> Self {
        Self::new(Hold::UntilStart)
    }

    /// Until it has ended: completed, archived, or gone, in whatever way.
    pub fn until_end() -> Self {
        Self::new(Hold::UntilEnd)
    }

    /// For this long from when it is due, whatever becomes of it.
    pub fn for_time(time: Duration) -> Self {
        Self { lasts: Some(time), ..Self::new(Hold::Always) }
    }

    /// For ever, or until a person deletes the task. It takes some room for as long.
    pub fn for_ever() -> Self {
        Self::new(Hold::Always)
    }

    /// Alike are tasks of one kind with this key.
    #[must_use]
    pub fn key(self, key: impl Into<String>) -> Self {
        Self { by: By::Key(key.into()), ..self }
    }

    /// Alike are tasks that agree in these fields of their payload; a missing one is alike null.
    #[must_use]
    pub fn fields<F: Into<String>>(self, fields: impl IntoIterator<Item = F>) -> Self {
        Self { by: By::Fields(fields.into_iter().map(Into::into).collect()), ..self }
    }

    /// For this long at most, counted from when it is due.
    #[must_use]
    pub fn lasts(self, time: Duration) -> Self {
        Self { lasts: Some(time), ..self }
    }

    /// A second one takes the place of the first, if that has not started; otherwise it is dropped. Without this it is
    /// dropped in any case, and its handle is that of the first.
    #[must_use]
    pub fn replace(self) -> Self {
        Self { conflict: Conflict::Replace, ..self }
    }

    /// A second one is dropped, and the first, if it has not started, is due when the second would have been.
    #[must_use]
    pub fn reschedule(self) -> Self {
        Self { conflict: Conflict::Reschedule, ..self }
    }

    /// With [`replace`](Self::replace) and [`reschedule`](Self::reschedule): never due later than this after the first
    /// one came.
    #[must_use]
    pub fn within(self, time: Duration) -> Self {
        Self { within: Some(time), ..self }
    }
}
