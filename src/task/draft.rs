//! A draft: a task and the options of this one enqueue.
//!
//! Options left out fall back to the consts of the task's kind. A draft is not sealed and has no id yet.

use std::time::{Duration, SystemTime};

use crate::clock::Timestamp;
use crate::retry::RetryPolicy;
use crate::task::{By, Group, Task, Unique};

/// When a new task becomes pending. The broker's clock decides, never the client's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Due {
    /// At once.
    #[default]
    Now,
    /// At a time; one in the past means at once.
    At(Timestamp),
    /// After a delay, added to the broker's time; ms precision, rounded up.
    In(Duration),
}

/// The options of one enqueue.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub(crate) queue: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) due: Due,
    pub(crate) max_retry: Option<u32>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) deadline: Option<SystemTime>,
    pub(crate) expires: Option<Duration>,
    pub(crate) retention: Option<Duration>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) replicas: u8,
    pub(crate) priority: u8,
    pub(crate) front: bool,
    pub(crate) unique: Option<Unique>,
    pub(crate) group: Option<Group>,
    pub(crate) tags: Vec<String>,
    pub(crate) retry: Option<RetryPolicy>,
    pub(crate) when_full: WhenFull,
}

/// What an enqueue does at a queue that is at its limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum WhenFull {
    /// It fails: [`is_full`](crate::Error::is_full).
    #[default]
    Fail,
    /// It waits for room, so long at most.
    Wait(Duration),
    /// It goes to this queue instead.
    Spill(String),
}

impl WhenFull {
    pub(crate) fn patience(&self) -> Option<Duration> {
        match self {
            Self::Wait(patience) => Some(*patience),
            _ => None,
        }
    }
}

/// A task on its way to be enqueued, with options.
///
/// ```
/// # use std::time::Duration;
/// # use oncue::Task;
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Greet(String);
/// # impl Task for Greet { const KIND: &'static str = "greet"; }
/// let draft = Greet("Ada".into()).draft().queue("mail").after(Duration::from_secs(5)).max_retry(3);
/// ```
#[derive(Clone)]
pub struct Draft<T> {
    pub(crate) task: T,
    pub(crate) options: Options,
}

impl<T> Draft<T> {
    /// A draft without options.
    pub fn new(task: T) -> Self {
        Self { task, options: Options::default() }
    }

    fn with(mut self, set: impl FnOnce(&mut Options)) -> Self {
        set(&mut self.options);
        self
    }

    /// The queue, instead of the kind's. Served only by workers with a [`Lane`](crate::Lane) that names it, or
    /// with a handler of a kind whose own queue it is.
    pub fn queue(self, name: impl Into<String>) -> Self {
        self.with(|o| o.queue = Some(name.into()))
    }

    /// The caller's own key: enqueueing the same key of the same kind again finds the first task, as
    /// long as that exists and for 24 h after its end. Only an HMAC of it is stored.
    pub fn key(self, key: impl Into<String>) -> Self {
        self.with(|o| o.key = Some(key.into()))
    }

    /// Not before this time.
    pub fn at(self, time: SystemTime) -> Self {
        self.with(|o| o.due = Due::At(time.into()))
    }

    /// Not before this delay is over.
    pub fn after(self, delay: Duration) -> Self {
        self.with(|o| o.due = Due::In(delay))
    }

    /// How many times a failed run is repeated.
    pub fn max_retry(self, retries: u32) -> Self {
        self.with(|o| o.max_retry = Some(retries))
    }

    /// How long one run may take; zero means no limit.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|o| o.timeout = Some(timeout))
    }

    /// When the work is of no more use: no run starts after it and a running one is stopped.
    pub fn deadline(self, time: SystemTime) -> Self {
        self.with(|o| o.deadline = Some(time))
    }

    /// How long the task may wait for its first run, counted from when it is due.
    pub fn expires(self, after: Duration) -> Self {
        self.with(|o| o.expires = Some(after))
    }

    /// How long the task and its result are kept once completed.
    pub fn retention(self, keep: Duration) -> Self {
        self.with(|o| o.retention = Some(keep))
    }

    /// How many replicas must have the task before its enqueue returns; 0, the default: the broker's word is
    /// enough. Only where there are replicas: Redis. If they do not confirm in time the error
    /// [`is_not_durable`](crate::Error::is_not_durable), and the task is stored all the same.
    pub fn replicas(self, replicas: u8) -> Self {
        self.with(|o| o.replicas = replicas)
    }

    /// From 0, the default, to 9: within its kind and queue a higher one goes first.
    pub fn priority(self, priority: u8) -> Self {
        self.with(|o| o.priority = priority)
    }

    /// Goes before all that waits in its queue already with its kind and priority. Due at once only.
    pub fn front(self) -> Self {
        self.with(|o| o.front = true)
    }

    /// One of its sort at a time, as [`Unique`] says.
    pub fn unique(self, unique: Unique) -> Self {
        self.with(|o| o.unique = Some(unique))
    }

    /// Runs once it has been quiet for this long: each further one, of the same payload or as [`unique`](Self::unique)
    /// said, takes the place of the one before and starts the wait anew, for `max_wait` at most after the first.
    pub fn debounce(self, quiet: Duration, max_wait: Option<Duration>) -> Self {
        self.with(|o| {
            let by = o.unique.take().map_or(By::Payload, |unique| unique.by);
            let unique = Unique { by, within: max_wait, ..Unique::until_start().replace() };
            o.due = Due::In(quiet);
            o.unique = Some(unique);
        })
    }

    /// Gathers with others, as [`Group`] says, once it is due. Has no priority and does not go to the front.
    pub fn group(self, group: Group) -> Self {
        self.with(|o| o.group = Some(group))
    }

    /// A word to find the task by, in clear: 1 to 64 visible ASCII characters, at most 16 of them.
    pub fn tag(self, tag: impl Into<String>) -> Self {
        self.with(|o| o.tags.push(tag.into()))
    }

    /// How long to wait before each retry of this very task, in place of what its kind says;
    /// [`retry_on`](crate::Registration::retry_on) goes before.
    pub fn retry(self, policy: RetryPolicy) -> Self {
        self.with(|o| o.retry = Some(policy))
    }

    /// Waits for room for this long if the queue is at its limit, in place of failing at once. Needs a tokio or actix
    /// runtime.
    pub fn wait_if_full(self, patience: Duration) -> Self {
        self.with(|o| o.when_full = WhenFull::Wait(patience))
    }

    /// Goes to this queue if its own is at its limit.
    pub fn spill_to(self, queue: impl Into<String>) -> Self {
        self.with(|o| o.when_full = WhenFull::Spill(queue.into()))
    }

    /// Metadata for the handler, sealed with the payload. A name may be given again: all are kept, in their order, and
    /// a handler that asks for one header of this name gets the first.
    pub fn header(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.with(|o| o.headers.push((name.into(), value.into())))
    }
}

impl<T: Task> From<T> for Draft<T> {
    fn from(task: T) -> Self {
        Self::new(task)
    }
}
