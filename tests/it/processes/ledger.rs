//! A ledger outside the broker: what happened, by one process, in lines that outlive it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

/// Nanoseconds that are the same for all processes of this machine.
pub fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).expect("after boot") * 1_000_000_000
        + u64::try_from(now.tv_nsec).expect("nanoseconds")
}

/// The ledger of one incarnation of one process: appended to, one write a line. What was written before a
/// SIGKILL stays, for the page cache is the kernel's.
pub struct Ledger(File);

impl Ledger {
    /// Opens the ledger.
    pub fn open(path: &Path) -> Self {
        Self(OpenOptions::new().append(true).create(true).open(path).expect("a ledger"))
    }

    /// Adds a line.
    pub fn line(&self, line: &str) {
        (&self.0).write_all(format!("{line}\n").as_bytes()).expect("a ledger that is written");
    }
}

/// The lines of a ledger, in words. A last one that was cut short by a kill was not written.
pub fn read(path: &Path) -> Vec<Vec<String>> {
    // A process that was killed before its first line has none.
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
}
