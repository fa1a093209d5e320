//! Handlers in processes of their own: how they end, what their cage keeps from them, and that nothing is left.
//!
//! Each check has its control: the same deed with the limit lifted, or in the worker's own process, succeeds.

mod cage;
mod crowd;
mod ends;
mod floods;
mod kills;
#[cfg(feature = "cli")]
mod programs;
mod stage;
mod start;
