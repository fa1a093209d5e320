//! Several processes on one queue, in a file or in Redis: killed, stopped, told to end, waking one another, and
//! living by clocks that jump.
//!
//! The other processes are this binary again: a [`player::Player`] starts it with nothing but [`child`] to
//! run, in a role that an environment variable names. What they say comes through a pipe, what must be
//! believed later is in a [`ledger`](ledger::Ledger) beside the broker.

mod abort;
mod clocks;
mod commits;
mod crowd;
mod evidence;
#[cfg(feature = "redis")]
mod files;
mod fleet;
mod kills;
mod ledger;
#[cfg(all(feature = "rusqlite-0_41", feature = "redis"))]
mod outbox;
mod pickup;
mod pill;
mod player;
mod role;
mod signals;
mod stage;
mod ticks;

/// No test of its own: what another process of this binary does. Without a role there is nothing to do.
#[test]
fn child() {
    role::play();
}
