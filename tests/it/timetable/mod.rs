//! The timetable at work: Schedulers of real workers on a broker whose clock a test moves.

mod entries;
mod hostile;
mod missed;
mod once;
mod scene;
