//! Who is left: processes whose parent is this one, dead or alive.

use std::time::{Duration, Instant};

/// Longest wait until they are gone.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks: who is waited for needs a core too.
const LOOK: Duration = Duration::from_millis(2);

/// Waits until there are no more than so many, and names those there are.
pub fn left(allowed: usize) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = children();
        if left.len() <= allowed || Instant::now() > deadline {
            return left;
        }
        std::thread::sleep(LOOK);
    }
}

/// Waits until this process has so many descendants, and names them.
pub fn descendants(count: usize) -> Vec<i32> {
    let (deadline, own) = (Instant::now() + PATIENCE, pid(std::process::id()));
    loop {
        let (all, mut found) = (all(), vec![own]);
        let mut next = 0;
        while next < found.len() {
            let parent = found[next];
            found.extend(all.iter().filter(|one| one.parent == parent).map(|one| one.pid));
            next += 1;
        }
        found.remove(0);
        if found.len() == count {
            return found;
        }
        assert!(Instant::now() < deadline, "{} descendants instead of {count}", found.len());
        std::thread::sleep(LOOK);
    }
}

/// Waits until these processes are gone, buried and not only dead, and counts those that stay.
pub fn alive(pids: &[i32]) -> usize {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = all().iter().filter(|one| pids.contains(&one.pid)).count();
        if left == 0 || Instant::now() > deadline {
            return left;
        }
        std::thread::sleep(LOOK);
    }
}

struct One {
    pid: i32,
    parent: i32,
    stat: String,
}

fn pid(number: u32) -> i32 {
    i32::try_from(number).expect("a pid")
}

/// All processes.
fn all() -> Vec<One> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let stats = entries.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    // The name between may hold anything.
    let read = |stat: String| {
        let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        Some(One { pid: stat.split(' ').next()?.parse().ok()?, parent, stat })
    };
    stats.filter_map(read).collect()
}

fn children() -> Vec<String> {
    let own = pid(std::process::id());
    all().into_iter().filter(|one| one.parent == own).map(|one| one.stat).collect()
}
