//! The descriptors of a child: three, whatever the program that started it left open for its children.

use std::fs;
use std::os::fd::RawFd;

/// Highest of the standard streams.
const STANDARD_MAX: RawFd = 2;

/// Closes everything but the standard streams. For a process that owns nothing else yet.
pub(super) fn close_all() -> Result<(), String> {
    let open = |error| format!("/proc/self/fd: {error}");
    let entries = fs::read_dir("/proc/self/fd").map_err(open)?;
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let numbers: Vec<RawFd> = numbers.filter(|number| *number > STANDARD_MAX).collect();
    for number in numbers {
        // Among them the one that was just read from, which is closed already.
        let _ = nix::unistd::close(number);
    }
    Ok(())
}
