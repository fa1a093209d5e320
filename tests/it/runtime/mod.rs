//! The runtime on the embedded broker: real actors, real time, and events to wait for.

mod alone;
mod asked;
mod claims;
pub mod company;
mod deaths;
mod faults;
mod handlers;
mod idle;
mod lifecycle;
mod notes;
mod operators;
mod outcomes;
#[cfg(feature = "failpoints")]
mod panics;
mod policies;
pub mod proxy;
mod queues;
mod replicas;
mod sealed;
mod stuck;
