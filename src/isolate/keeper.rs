//! The keeper of a child that may have children: a process between it and the worker, which outlives none of them.
//!
//! It is their subreaper: whoever loses its parent becomes its child, by `setsid` and a double fork too, and is found
//! again. A library must not do that in the worker, whose program may have children of its own. The keeper runs no
//! task and stays outside of the cage and of the control group that bounds the child. It ends as the child ended, once
//! nobody is left.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait, waitpid};
use tokio::signal::unix::{SignalKind, signal};

use super::cgroup::Group;
use super::child::{Step, die_with, own};
use super::order::Kept;
use super::{cage, descriptors, frame};

/// How it ends when it is told to.
const TOLD: i32 = SIGNALLED + 15;
/// What is added to the number of a signal by which it cannot end itself.
const SIGNALLED: i32 = 128;
/// How often it looks for descendants after a kill, at most. Each round kills all it finds, and what they started
/// meanwhile is found in the next; only a crowd that forks faster than it dies outlasts this.
const ROUNDS_MAX: usize = 100_000;

/// Starts a child and waits for it; then, or when told to end, kills all that is left of it.
pub(super) fn keep(kind: &str, parent: u32, processes: u32) -> Result<i32, String> {
    // It ends by the same signal as its child, and leaves no core either.
    cage::leave_no_core()?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|error| format!("subreaper: {error}"))?;
    descriptors::close_all()?;
    rustix::process::setsid().map_err(|error| format!("setsid: {error}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let runtime = runtime.map_err(|error| format!("runtime: {error}"))?;
    let mut group = None;
    let watched = runtime.block_on(watch(kind, parent, processes, &mut group));
    if let Some(group) = &group {
        group.kill();
    }
    let killed = kill_all();
    if let Some(group) = group {
        group.remove();
    }
    killed?;
    let Some(status) = watched? else { return Ok(TOLD) };
    if let Some(signal) = status.signal().and_then(Signal::from_named_raw) {
        // It ends this process as it did its child. Twice: Rust's own handler of SIGSEGV and SIGBUS takes the first to be
        // over a fault of this process, and gives way to the second.
        for _ in 0..2 {
            let _ = kill_process(rustix::process::getpid(), signal);
        }
        // Still here: SIGTERM has a handler, SIGPIPE is ignored. As a shell tells it.
        return Ok(SIGNALLED + signal.as_raw());
    }
    Ok(status.code().unwrap_or(TOLD))
}

/// Waits for the end of the child, or for the order to end it: none.
async fn watch(
    kind: &str,
    parent: u32,
    processes: u32,
    group: &mut Option<Group>,
) -> Result<Option<ExitStatus>, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut told = signal(SignalKind::terminate()).map_err(text)?;
    // From here on the death of the worker is an order like any other.
    die_with(parent, Signal::TERM)?;
    let mut died = signal(SignalKind::child()).map_err(text)?;
    let made = Group::make(processes).map(|made| group.insert(made));
    let mut child = Step::Cage.command(kind).spawn().map_err(text)?;
    // It starts nobody before it hears its order, and that comes after this word.
    let ungrouped = made.and_then(|group| group.admit(child.id())).err();
    let mut answers = own(rustix::stdio::stdout())?;
    frame::write(&mut answers, &Kept { ungrouped }).map_err(|error| error.to_string())?;
    drop(answers);
    // The streams are the child's: they close when it ends, and those it started.
    let nothing =
        std::fs::File::options().read(true).write(true).open("/dev/null").map_err(text)?;
    rustix::stdio::dup2_stdin(&nothing)
        .and_then(|()| rustix::stdio::dup2_stdout(&nothing))
        .and_then(|()| rustix::stdio::dup2_stderr(&nothing))
        .map_err(|error| error.to_string())?;
    loop {
        tokio::select! {
            biased;
            _ = told.recv() => return Ok(None),
            _ = died.recv() => {
                if let Some(status) = child.try_wait().map_err(text)? {
                    return Ok(Some(status));
                }
                // Else it was an orphan of somebody's.
                reap_orphans(&child);
            }
        }
    }
}

/// Reaps whoever ended among those that lost their parents, and leaves the child itself alone.
fn reap_orphans(child: &Child) {
    for orphan in children().into_iter().filter(|pid| *pid != Pid::from_child(child)) {
        let _ = waitpid(Some(orphan), WaitOptions::NOHANG);
    }
}

/// Kills and reaps until nobody is left.
fn kill_all() -> Result<(), String> {
    for _ in 0..ROUNDS_MAX {
        let children = children();
        for child in &children {
            let _ = kill_process(*child, Signal::KILL);
        }
        let options = if children.is_empty() { WaitOptions::NOHANG } else { WaitOptions::empty() };
        // For any of them: `waitpid` without a pid means those of its own process group, which they left.
        match wait(options) {
            Err(rustix::io::Errno::CHILD) => return Ok(()),
            Err(error) => return Err(format!("waiting for children: {error}")),
            Ok(_) => {}
        }
    }
    Err(format!("descendants are left after {ROUNDS_MAX} rounds"))
}

/// The children of this process, orphans among its descendants included.
fn children() -> Vec<Pid> {
    let own = std::process::id().to_string();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let is_child = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // After the name, which may hold anything: state, then parent.
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1));
        parent == Some(&own)
    };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(is_child).filter_map(Pid::from_raw).collect()
}
