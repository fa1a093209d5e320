//! How many processes a handler has at once, as root too, and the control group that bounds them.
//!
//! Where no group can be made, which these tests find out for themselves, they hold the product to saying so.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, getpid, kill_process};

use super::stage::{
    Running, clear, finish, mark, marked, run, run_as_nobody, wait_for, why_refused, within,
    without_groups,
};

/// Where version 2 is beside version 1.
const UNIFIED: &str = "/sys/fs/cgroup/unified";

/// The directory of the group a process is in, of those that bound processes.
fn group_of(pid: Pid) -> Option<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{}/cgroup", pid.as_raw_pid())).ok()?;
    let path =
        |prefix: &str| text.lines().find_map(|line| line.split_once(prefix)).map(|two| two.1);
    let mounted = |at: &str, path: &str| Path::new(at).join(path.trim_start_matches('/'));
    match path(":pids:/") {
        Some(path) => Some(mounted("/sys/fs/cgroup/pids", path)),
        None if Path::new(UNIFIED).exists() => Some(mounted(UNIFIED, path("0::/")?)),
        None => Some(mounted("/sys/fs/cgroup", path("0::/")?)),
    }
}

/// Whether whoever runs the tests may make groups: in its own with version 1, in a delegated one above with version 2.
fn has_groups() -> bool {
    let own = group_of(getpid()).expect("a group");
    let place = if own.starts_with("/sys/fs/cgroup/pids") {
        own
    } else {
        let above = own.parent().expect("a group above").to_owned();
        if rustix::fs::getxattr(&above, "user.delegate", &mut [0; 2][..]).is_err() {
            return false;
        }
        above
    };
    let probe = place.join(format!("probe-{}", std::process::id()));
    fs::create_dir(&probe).and_then(|()| fs::remove_dir(&probe)).is_ok()
}

fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

/// The group of a process of ours that is marked, once there is one.
fn group_of_marked(word: &str) -> PathBuf {
    wait_for("a process", || !marked(word).is_empty());
    marked(word).into_iter().find_map(group_of).expect("a group")
}

fn number(group: &Path, file: &str) -> Option<u64> {
    let text = fs::read_to_string(group.join(file)).ok()?;
    text.trim().trim_start_matches("max ").parse().ok()
}

#[test]
fn there_are_as_many_as_allowed_and_not_one_more() {
    let bomb = ["bomb", "word=40", "processes=16"];
    if has_groups() {
        // With the child itself they are 16.
        let told = run(&[&bomb[..], &["required"]].concat());
        assert!(told.result().starts_with("15 started, then refused"), "{told:?}");
        assert_eq!(told.0["lacks"], serde_json::json!([]));
    }
    if is_root() {
        let told = finish(without_groups(), &bomb);
        assert_eq!(told.result(), "40 started");
        let lack = told.0["lacks"][0].as_str().expect("a lack");
        assert!(lack.starts_with("processes: root is spared"), "{lack}");
        assert!(lack.contains("there is no control group: "), "{lack}");
        let told = why_refused(without_groups(), &[&bomb[..], &["required"]].concat());
        assert!(told.contains("requires all its limits"), "{told}");
    }
    // Who may make no group is bounded by what the kernel counts for a user, which is more than its own.
    let told = run_as_nobody(&["bomb", "word=500", "processes=16", "required"]);
    assert!(told.result().contains("then refused"), "{told:?}");
}

#[test]
fn a_swarm_is_bounded_and_ends_with_its_task() {
    let (word, wall) = (mark(11), Duration::from_secs(3));
    let option = format!("word={word}");
    let words = ["swarm", &option, "processes=16", "wall=3000"];
    let running = Running::until(&words, "started deed");
    let group = group_of_marked(&word);
    if has_groups() {
        wait_for("a refusal", || number(&group, "pids.events").is_some_and(|refused| refused > 0));
        // The most there ever were, or on a kernel that does not tell, how many there are now.
        let most = number(&group, "pids.peak").or_else(|| number(&group, "pids.current"));
        assert!(most.is_some_and(|most| most <= 16), "{most:?}");
    }
    let told = running.finish();
    assert_eq!(told.class(), "wall");
    within(&told, wall);
    assert_eq!(marked(&word), []);
    assert!(!has_groups() || !group.exists(), "{group:?} is left");
}

#[test]
fn a_worker_that_is_killed_leaves_no_group() {
    let word = mark(12);
    let option = format!("word={word}");
    let running = Running::until(&["escape", &option, "processes=16"], "started deed");
    let group = group_of_marked(&word);
    running.kill();
    wait_for("the end of its descendants", || marked(&word).is_empty());
    if has_groups() {
        wait_for("the end of the group", || !group.exists());
    }
}

#[test]
fn a_group_whose_keeper_was_killed_is_removed_once_it_is_empty() {
    let word = mark(13);
    let option = format!("word={word}");
    let running = Running::until(&["escape", &option, "processes=16"], "started deed");
    wait_for("descendants", || marked(&word).len() == 2);
    let group = group_of_marked(&word);
    if has_groups() {
        let name = group.file_name().and_then(|name| name.to_str()).expect("a name");
        let keeper = name.split('-').nth(2).and_then(|pid| pid.parse().ok());
        let keeper = keeper.and_then(Pid::from_raw).expect("the pid of a keeper");
        kill_process(keeper, Signal::KILL).expect("killed");
        assert_eq!(running.finish().class(), "signal(9)");
        // Another keeper started, and somebody is in the group still.
        run(&["fine", "processes=4"]);
        assert_eq!((marked(&word).len(), group.exists()), (2, true));
        clear(&word);
        wait_for("the end of what was left", || marked(&word).is_empty());
        run(&["fine", "processes=4"]);
        assert!(!group.exists(), "{group:?} is left");
    } else {
        running.kill();
        wait_for("the end of its descendants", || marked(&word).is_empty());
    }
}

#[test]
fn nobody_leaves_the_group_or_raises_its_bound() {
    if has_groups() {
        let own = group_of(getpid()).expect("a group");
        let word = format!("word={}", own.display());
        let told = run(&["leave", &word, "processes=4"]);
        assert_eq!(told.result(), "raised false, left false");
        let told = run(&["leave", &word, "processes=4", "write=/sys/fs/cgroup"]);
        assert_eq!(told.result(), "raised true, left true");
    }
    // Nor is another born outside: what tells the kernel so is unknown here (ENOSYS), and not to others (EINVAL).
    assert_eq!(run(&["clone3", "processes=4"]).result(), "38");
    assert_eq!(run(&["clone3", "inplace"]).result(), "22");
}
