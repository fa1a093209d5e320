//! Redis as tests want it: real servers alone, under Sentinels and in a cluster, started in milliseconds and
//! ended with their test; and two things that are no server: a proxy that breaks the way to one, and a stub
//! that answers what it was told to.
//!
//! Not here: anything of oncue. What is tested with these stands beside them.

#![allow(dead_code, reason = "a harness offers more than the tests of one day ask for")]

mod background;
pub mod cluster;
pub mod frame;
mod ports;
mod process;
pub mod proxy;
pub mod sentinel;
pub mod server;
pub mod setup;
pub mod stub;
#[cfg(test)]
mod tests;
pub mod tls;

use std::time::{Duration, Instant};

/// Longest a deployment may take to come up, or to be what a test waits for.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until there is an answer. For what no server tells of by itself.
#[track_caller]
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
