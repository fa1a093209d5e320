//! Who is left: processes whose parent is this one, dead or alive.

use std::time::{Duration, Instant};

/// Longest wait until they are gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until there are no more than so many, and names those there are.
pub fn left(allowed: usize) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = children();
        if left.len() <= allowed || Instant::now() > deadline {
            return left;
        }
        std::thread::yield_now();
    }
}

fn children() -> Vec<String> {
    let own = std::process::id().to_string();
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let stats = entries.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    let ours = |stat: &String| {
        let rest = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace());
        rest.and_then(|mut words| words.nth(1)) == Some(&own)
    };
    stats.filter(ours).collect()
}
