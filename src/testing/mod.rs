//! Testing what is built on oncue: workers that run to the end of all that is due, on a clock that jumps; handlers
//! called one by one; assertions on what is enqueued; crashes at every step. Feature `testing`, for dev-dependencies.
//!
//! ```
//! use std::time::Duration;
//!
//! use oncue::testing::{Bench, inline};
//! use oncue::{RetryPolicy, Task, TaskContext, TaskError, TaskResult, assert_enqueued};
//!
//! #[derive(Debug, serde::Serialize, serde::Deserialize)]
//! struct Remind(String);
//!
//! impl Task for Remind {
//!     const KIND: &'static str = "remind";
//!     const RETRY: RetryPolicy = RetryPolicy::fixed(Duration::from_secs(24 * 3600));
//! }
//!
//! async fn remind(task: Remind, context: TaskContext) -> TaskResult<String> {
//!     match context.attempt() {
//!         1..=9 => Err(TaskError::new("nobody was there")),
//!         _ => Ok(format!("reminded {}", task.0)),
//!     }
//! }
//!
//! # fn main() -> oncue::Result<()> {
//! oncue::block_on(async {
//!     let bench = Bench::new()?;
//!     bench.client().enqueue(Remind("Ada".into())).await?;
//!     assert_enqueued!(bench.client(), Remind, |found| found.task.0 == "Ada");
//!
//!     // Nine days of retries.
//!     let drained = bench.drain(|worker| worker.handle(remind)).await?;
//!     assert_eq!((drained.runs, drained.completed), (10, 1));
//!     assert!(drained.passed >= Duration::from_secs(9 * 19 * 3600));
//!
//!     let said: TaskResult<String> = inline(remind).attempt(10).run(Remind("Ada".into())).await;
//!     assert_eq!(said.expect("reminded"), "reminded Ada");
//!     Ok(())
//! })
//! # }
//! ```
//!
//! What follows the clock of a [`Bench`] is all that the broker decides by time: when a task is due, expires, is given
//! up by its deadline before a run, and how long it is kept. What runs is real: a handler's own sleeps, its timeout, and
//! a deadline that comes while it runs take the time they take.

mod bench;
mod crash;
mod crew;
mod enqueued;
mod fuse;
mod ground;
mod inline;
mod wire;

pub use bench::{Bench, BenchClock};
pub use crash::{Crashes, STEPS_MAX, crash_at_every_step};
pub use crew::{Drained, RUNS_MAX, STALLED_AFTER};
#[doc(hidden)]
pub use enqueued::{AsDebug, AsNothing, Shown, overview, predicate};
pub use enqueued::{Found, LISTED_MAX, enqueued};
pub use fuse::{Moment, Step};
pub use inline::{Inline, inline};

pub use crate::{assert_enqueued, refute_enqueued};
