//! What a handler in a process of its own may use. Not how that is enforced: see `cage`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Least memory: below it no process of this program starts.
const MEMORY_MIN: u64 = 16 << 20;
/// Fewest open files: standard streams, frames, and what the loader needs.
const FILES_MIN: u64 = 8;
/// Most paths a handler may be given, each way.
pub(super) const PATHS_MAX: usize = 64;

/// What an isolated handler may use. New fields may come: write `Limits { .., ..Limits::default() }`.
///
/// ```
/// use std::time::Duration;
///
/// let limits = oncue::Limits {
///     cpu: Some(Duration::from_secs(10)),
///     memory: 256 << 20,
///     read: vec!["/usr/share".into()],
///     ..oncue::Limits::default()
/// };
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Processor time of one task, in whole seconds, rounded up. Counted per process. Default: 60 s.
    pub cpu: Option<Duration>,
    /// Time on the wall of one task, beside the task's own timeout. Default: none.
    pub wall: Option<Duration>,
    /// Bytes of address space of a process, which is more than it uses; `u64::MAX`: no limit. Default: 1 GiB.
    pub memory: u64,
    /// Open files of a process. Default: 64.
    pub files: u64,
    /// Bytes of the largest file it may write; `u64::MAX`: no limit. Default: 64 MiB.
    pub file_size: u64,
    /// Processes at once, itself among them. 1, the default: it can start none, and threads are not counted. With more
    /// it may start others, threads count as well, and a process of ours watches over them all; a control group bounds
    /// them where one can be made.
    pub processes: u32,
    /// What it may speak to. Default: nobody.
    pub network: Network,
    /// Files and directories it may read and run, beside what any program needs to start.
    pub read: Vec<PathBuf>,
    /// Files and directories it may read and write.
    pub write: Vec<PathBuf>,
    /// Whether it may set modes, owners, attributes and times. Only for handlers you trust: no rule of the kernel keeps
    /// them to `write`, so it may of every file that belongs to the worker's user. Default: not by path.
    pub metadata: bool,
    /// Whether a limit that this system cannot enforce is an error rather than a warning.
    pub required: bool,
}

/// What an isolated handler may speak to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Nobody: it can make no socket.
    #[default]
    None,
    /// Unix sockets.
    Unix,
    /// Whatever this machine can reach.
    All,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cpu: Some(Duration::from_secs(60)),
            wall: None,
            memory: 1 << 30,
            files: 64,
            file_size: 64 << 20,
            processes: 1,
            network: Network::None,
            read: Vec::new(),
            write: Vec::new(),
            metadata: false,
            required: false,
        }
    }
}

impl Limits {
    /// What this system cannot enforce is an error when the worker starts, not a warning.
    #[must_use]
    pub fn require_all(self) -> Self {
        Self { required: true, ..self }
    }

    /// Whether it may start processes.
    pub(super) fn forks(&self) -> bool {
        self.processes > 1
    }

    /// The processor time of one task in the kernel's measure.
    pub(super) fn cpu_seconds(&self) -> Option<u64> {
        self.cpu.map(|cpu| cpu.as_secs().saturating_add(u64::from(cpu.subsec_nanos() > 0)))
    }

    /// Refuses what can be no limit, and paths that are not there; so does the start of a worker.
    ///
    /// # Errors
    /// What is wrong and what to do, [`is_invalid`](Error::is_invalid).
    pub fn check(&self) -> Result<()> {
        let zero = |limit: Option<Duration>| limit.is_some_and(|limit| limit.is_zero());
        let wrong = if zero(self.cpu) || zero(self.wall) {
            "a cpu or wall (timeout) of zero; leave it out for no limit".to_owned()
        } else if self.memory < MEMORY_MIN {
            format!("memory {}; no process starts with less than {MEMORY_MIN} bytes", self.memory)
        } else if self.files < FILES_MIN {
            format!("files {}; a process needs {FILES_MIN}", self.files)
        } else if self.processes == 0 {
            "processes 0; 1 is the handler itself".to_owned()
        } else if self.read.len().max(self.write.len()) > PATHS_MAX {
            format!("over {PATHS_MAX} paths; name the directory they are in")
        } else {
            return self.read.iter().chain(&self.write).try_for_each(|path| check_path(path));
        };
        Err(Error::invalid(format!("the limits of an isolated handler: {wrong}")))
    }
}

fn check_path(path: &Path) -> Result<()> {
    let wrong = |what: &str| {
        let path = path.display();
        Err(Error::invalid(format!("the limits of an isolated handler: {path} {what}")))
    };
    if !path.is_absolute() || path.to_str().is_none() {
        return wrong("is not an absolute path in UTF-8");
    }
    if !path.exists() {
        return wrong("does not exist; create it before the worker starts");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_no_limit_is_refused_in_words() {
        let fine = Limits::default();
        fine.check().expect("the default");
        for (limits, words) in [
            (Limits { cpu: Some(Duration::ZERO), ..fine.clone() }, "cpu"),
            (Limits { memory: 1, ..fine.clone() }, "memory"),
            (Limits { files: 3, ..fine.clone() }, "files"),
            (Limits { processes: 0, ..fine.clone() }, "processes"),
            (Limits { read: vec!["etc".into()], ..fine.clone() }, "absolute"),
            (Limits { write: vec!["/no/such".into()], ..fine.clone() }, "does not exist"),
            (Limits { read: vec!["/".into(); PATHS_MAX + 1], ..fine }, "paths"),
        ] {
            let error = limits.check().expect_err(words);
            assert!(error.is_invalid() && error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn processor_time_is_rounded_up() {
        let limits = Limits { cpu: Some(Duration::from_millis(1_001)), ..Limits::default() };
        assert_eq!(limits.cpu_seconds(), Some(2));
    }
}
