//! Whoever ends a run, the whole tree of its child ends, and nobody is left: no zombie, no orphan.

use super::stage::{Running, clear, mark, marked, run, run_as_nobody, wait_for};

#[test]
fn descendants_in_sessions_of_their_own_die_with_the_child() {
    let word = mark(1);
    let option = format!("word={word}");
    let told = run(&["escape", &option, "processes=16", "wall=2000"]);
    assert_eq!(told.class(), "wall");
    let told = run(&["escape_and_end", &option, "processes=16"]);
    assert_eq!(told.result(), "gone");
    let told = run_as_nobody(&["escape_and_end", &option, "processes=16"]);
    assert_eq!(told.result(), "gone");
    assert_eq!(marked(&word), []);
}

#[test]
fn what_escapes_from_a_recycled_child_dies_with_it() {
    let word = mark(5);
    let option = format!("word={word}");
    // Two tasks, two processes each, and their child is used up: the worker goes on, with another child and its keeper.
    let words = ["escape_and_end", &option, "processes=16", "recycle=2", "runs=1"];
    let told = run(&[&words[..], &["times=2", "after=2"]].concat());
    assert_eq!(told.results(), ["gone", "gone"]);
    // One that is killed in the middle of its life.
    let told = run(&["escape", &option, "processes=16", "recycle=5", "runs=1", "cancel=4"]);
    assert_eq!(told.decision(), "Archive(Cancelled)");
    assert_eq!(marked(&word), []);
}

/// While the worker and its neighbors go on. The slot is free again: the second task has no other.
#[track_caller]
fn leaves_nobody(seed: u32, cut: &str, decision: &str) {
    let told = run(&["sleep", "runs=1", "times=2", &format!("{cut}=1")]);
    assert_eq!(
        (told.decision(), told.0["tasks"][1]["decision"].as_str()),
        (decision, Some(decision))
    );
    let word = mark(seed);
    let option = format!("word={word}");
    // A keeper, the child, and two in a session of their own; or a shell and two it waits for.
    for (deed, processes) in [("escape", 4), ("brood", 5)] {
        let told = run(&[deed, &option, "processes=16", "runs=1", &format!("{cut}={processes}")]);
        assert_eq!(told.decision(), decision);
        assert_eq!(marked(&word), []);
    }
}

#[test]
fn a_cancelled_run_is_killed() {
    leaves_nobody(6, "cancel", "Archive(Cancelled)");
}

#[test]
fn a_run_whose_lease_is_lost_is_killed() {
    leaves_nobody(7, "lease", "LeaseLost");
}

#[test]
fn a_run_over_its_deadline_is_killed() {
    leaves_nobody(8, "deadline", "Archive(Expired)");
}

#[test]
fn without_a_keeper_they_would_live_on() {
    let word = mark(2);
    let told = run(&["escape_and_end", &format!("word={word}"), "inplace"]);
    assert_eq!(told.result(), "gone");
    assert_eq!(marked(&word).len(), 2);
    clear(&word);
    wait_for("the end of what was left", || marked(&word).is_empty());
}

#[test]
fn a_shutdown_that_runs_out_of_patience_kills_and_releases() {
    for words in [&["sleep"][..], &["loop", "processes=4"]] {
        let told = run(&[words, &["leave", "patience=50"]].concat());
        assert_eq!(told.0["released"], 1, "{told:?}");
    }
}

#[test]
fn a_worker_that_is_killed_takes_its_children_along() {
    for (seed, deed, processes, descendants) in [
        (3, "loop", "processes=1", 0),
        (4, "escape", "processes=16", 2),
        (9, "brood", "processes=16", 2),
    ] {
        let word = mark(seed);
        let option = format!("word={word}");
        let running = Running::until(&[deed, &option, processes], "started deed");
        if descendants > 0 {
            wait_for("descendants", || marked(&word).len() == descendants);
        }
        let known = children_of(running.number());
        assert!(!known.is_empty());
        running.kill();
        wait_for("the end of its children", || known.iter().all(|pid| !is_alive(*pid)));
        wait_for("the end of their descendants", || marked(&word).is_empty());
    }
}

fn stat(pid: rustix::process::Pid) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).ok()?;
    Some(stat.rsplit_once(')')?.1.to_owned())
}

/// Whether it lives; a zombie waits for whoever is its parent now, which is none of ours.
fn is_alive(pid: rustix::process::Pid) -> bool {
    stat(pid).is_some_and(|stat| !stat.trim_start().starts_with('Z'))
}

fn children_of(parent: u32) -> Vec<rustix::process::Pid> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let pids = numbers.filter_map(rustix::process::Pid::from_raw);
    let parent = parent.to_string();
    let of_parent = |pid: &rustix::process::Pid| {
        stat(*pid).is_some_and(|stat| stat.split_whitespace().nth(1) == Some(&parent))
    };
    pids.filter(of_parent).collect()
}
