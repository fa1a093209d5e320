//! The timetable at work: Schedulers of real workers on a broker whose clock a test moves.

#[cfg(feature = "redis")]
mod by_redis;
mod entries;
mod hostile;
mod missed;
mod once;
mod scene;
