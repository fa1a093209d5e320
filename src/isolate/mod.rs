//! A child process that can be killed for real: its cage, how it is spoken to, and how it is ended.
//!
//! The child is this very binary, started anew: first it puts on its cage, then it starts itself again inside, and
//! only then it is told what to do. It gets no environment, no descriptors but three, and no keys. What a handler is,
//! and what its end means for a task, is [`handler`](crate::handler)'s business; there is no actor in here.

#[cfg(target_os = "linux")]
mod cage;
#[cfg(target_os = "linux")]
mod cgroup;
#[cfg(target_os = "linux")]
mod child;
#[cfg(target_os = "linux")]
mod descriptors;
#[cfg(not(target_os = "linux"))]
mod elsewhere;
mod ending;
#[cfg(target_os = "linux")]
mod frame;
#[cfg(target_os = "linux")]
mod keeper;
mod limits;
mod order;
#[cfg(target_os = "linux")]
mod paths;
#[cfg(target_os = "linux")]
mod place;
#[cfg(target_os = "linux")]
mod pool;
#[cfg(target_os = "linux")]
mod process;
mod program;
#[cfg(target_os = "linux")]
mod refused;
#[cfg(target_os = "linux")]
mod spawner;
#[cfg(target_os = "linux")]
mod syscalls;
#[cfg(target_os = "linux")]
mod tail;

#[cfg(target_os = "linux")]
pub(crate) use child::{Entry, is_child, serve};
#[cfg(not(target_os = "linux"))]
pub(crate) use elsewhere::{Entry, Pool, Started, is_child, serve};
pub(crate) use ending::Ending;
pub use limits::{Limits, Network};
pub(crate) use order::{Answer, Call, Tell, Word};
#[cfg(target_os = "linux")]
pub(crate) use pool::{Pool, Started};
pub use program::Program;

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the main of this program gave way to children.
static GAVE_WAY: AtomicBool = AtomicBool::new(false);

/// This program lets its children be children: `main` asked, and this process is none.
pub(crate) fn give_way() {
    GAVE_WAY.store(true, Ordering::Release);
}

/// Whether a child of this program would know that it is one. One that does not would be a second worker.
pub(crate) fn gives_way() -> bool {
    GAVE_WAY.load(Ordering::Acquire) && !is_child()
}
