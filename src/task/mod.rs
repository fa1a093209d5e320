//! A task: a typed payload with a kind, and the defaults its kind carries.
//!
//! A task says *what* is to be done. How it is stored is [`envelope`](crate::envelope)'s business,
//! who does it is a handler's.

mod draft;
mod group;
mod id;
mod log;
mod raw;
mod trail;
mod unique;
mod version;

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use draft::WhenFull;
pub use draft::{Draft, Due, Options};
pub use group::{GROUP_TASKS_MAX, GROUP_WAIT_MAX, Group};
pub use id::TaskId;
pub use log::{LINE_BYTES_MAX, LOG_BYTES_MAX, Line, Log};
pub use raw::RawTask;
pub use trail::{CLASS_BYTES_MAX, Crash, Trail};
pub(crate) use trail::{Detail, plain_class};
pub(crate) use unique::By;
pub use unique::{Conflict, Hold, Unique};
pub use version::Old;
pub(crate) use version::read;

use crate::codec::Codec;
use crate::retry::RetryPolicy;

/// A unit of work that can be enqueued.
///
/// ```
/// use std::time::Duration;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct SendEmail {
///     to: String,
/// }
///
/// impl oncue::Task for SendEmail {
///     const KIND: &'static str = "email:send";
///     const MAX_RETRY: u32 = 5;
///     const TIMEOUT: Duration = Duration::from_secs(20);
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a task",
    note = "a task is a type with serde's `Serialize` and `Deserialize` and `impl oncue::Task` naming its `KIND`"
)]
pub trait Task: Serialize + DeserializeOwned + Send + 'static {
    /// The kind: names the handler. `[a-z0-9][a-z0-9_.:-]{0,63}`.
    const KIND: &'static str;
    /// The queue, unless the enqueue names one.
    const QUEUE: &'static str = "default";
    /// How many times a failed run is repeated.
    const MAX_RETRY: u32 = 25;
    /// How long one run may take, in ms precision; zero means no limit.
    const TIMEOUT: Duration = Duration::from_secs(30 * 60);
    /// How long the task and its result are kept once completed; zero: gone at once.
    const RETENTION: Duration = Duration::ZERO;
    /// How the payload is written.
    const CODEC: Codec = Codec::Json;
    /// The version of the payload's shape.
    const VERSION: u16 = 1;
    /// How long to wait before each retry.
    const RETRY: RetryPolicy = RetryPolicy::DEFAULT;

    /// Reads a payload that was enqueued with an older [`VERSION`](Self::VERSION); without a word of its own as if it were
    /// of this one, which is enough where fields were added with `#[serde(default)]`. Payloads of a newer version
    /// than the type's are put off, at no cost, until a worker comes that knows it, for 24 h.
    ///
    /// ```
    /// # use oncue::{Result, Task, task::Old};
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct SendEmail {
    ///     to: Vec<String>,
    /// }
    ///
    /// #[derive(serde::Deserialize)]
    /// struct SendEmailV1 {
    ///     to: String,
    /// }
    ///
    /// impl Task for SendEmail {
    ///     const KIND: &'static str = "email:send";
    ///     const VERSION: u16 = 2;
    ///
    ///     fn upcast(old: Old<'_>) -> Result<Self> {
    ///         let first: SendEmailV1 = old.decode()?;
    ///         Ok(Self { to: vec![first.to] })
    ///     }
    /// }
    /// ```
    fn upcast(old: Old<'_>) -> crate::Result<Self> {
        old.decode()
    }

    /// This task with options of its own.
    fn draft(self) -> Draft<Self>
    where
        Self: Sized,
    {
        Draft::new(self)
    }
}
