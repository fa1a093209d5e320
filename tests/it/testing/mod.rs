//! The test kit itself: what it says happened, happened, and what does not hold, it tells.

mod crash;
mod drain;
mod enqueued;
mod inline;
#[cfg(feature = "cron")]
mod ticks;
