//! The runtime on the embedded broker: real actors, real time, and events to wait for.

pub mod company;
mod faults;
mod handlers;
mod lifecycle;
mod outcomes;
#[cfg(feature = "failpoints")]
mod panics;
mod queues;
mod sealed;
