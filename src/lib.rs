//! Sealed background tasks for Rust, run on cue by supervised actors.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod clock;
pub mod codec;
pub mod envelope;
mod error;
pub mod outcome;
pub mod queue;
pub mod retry;
pub mod seal;
pub mod state;
pub mod task;

pub use error::{Error, Result};
pub use task::{Draft, Task, TaskId};
