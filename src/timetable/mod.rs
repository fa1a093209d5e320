//! The timetable at work: tasks that are enqueued again and again, at the ticks of a [`Schedule`](crate::cron::Schedule).
//!
//! An [`Entry`] says what and when. [`Cron`](crate::client::Cron) and workers put entries into the broker, where each is a
//! [`Plan`]: clear but for the payload, which is sealed for this entry alone. The Scheduler of every worker reads them
//! and enqueues what is due; that a tick is enqueued once is the broker's to keep. What is written here knows
//! no actor, and of time only what it is told.

mod entry;
mod listed;
mod missed;
mod plan;
mod store;
mod task;

pub use entry::Entry;
pub use listed::Listed;
pub(crate) use missed::Due;
pub use missed::{CATCH_UP_MIN, MISSED_MAX, Missed, ON_TIME};
pub use plan::{Origin, Plan, Runs};
pub(crate) use store::{Put, edit, find, pause, put};
pub use task::{ENTRY_HEADER, TICK_HEADER};
pub(crate) use task::{run_now, tick};
