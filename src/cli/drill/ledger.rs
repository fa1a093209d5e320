//! The ledger outside the broker: what happened, one file a process, appended to, one write a line.
//!
//! What was written before a SIGKILL stays, for the page cache is the kernel's. It is not synced: a drill
//! ends processes, not the machine.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use oncue::{Error, Result, TaskId};
use serde::{Deserialize, Serialize};

/// How a run ended, as its handler says. One whose process died says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum How {
    Completed,
    Failed,
    Snoozed,
    /// The worker gave it up.
    Dropped,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum By {
    /// By SIGKILL of the drill.
    Kill,
    /// By SIGTERM of the drill.
    Term,
    /// By SIGABRT of its own.
    Abort,
    /// It had no more to do.
    Done,
    /// Nobody asked for it.
    Itself,
}

/// One fact. Times are nanoseconds since boot, the same for all processes of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    /// These numbers are about to be enqueued.
    Going {
        from: u64,
        until: u64,
    },
    /// The broker has it.
    Acked {
        number: u64,
        id: TaskId,
        created: bool,
    },
    Started {
        run: u64,
        number: u64,
        id: TaskId,
        attempt: u32,
        at: u64,
    },
    Ended {
        run: u64,
        how: How,
        at: u64,
    },
    /// What a run did is not settled.
    LeaseLost {
        id: TaskId,
    },
    Stuck {
        at: u64,
    },
    Quarantined {
        at: u64,
    },
    BeatFailed {
        at: u64,
    },
    /// This process did not get to run.
    Starved {
        from: u64,
        until: u64,
    },
    /// A process was stopped by the drill, and continued.
    Stopped {
        who: String,
        from: u64,
        until: u64,
    },
    /// A process was told to end.
    Told {
        who: String,
        at: u64,
    },
    Died {
        who: String,
        by: By,
        at: u64,
    },
    /// A task of the calm phases, from its enqueue to its end.
    Probed {
        storm: bool,
        ns: u64,
    },
}

/// Nanoseconds since boot.
pub(super) fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let (seconds, ns) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    seconds.unwrap_or(0) * 1_000_000_000 + ns.unwrap_or(0)
}

/// The ledger of one incarnation of one process.
pub(super) struct Ledger(File);

impl Ledger {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path);
        file.map(Self).map_err(|error| {
            Error::system(format!("cannot write the ledger {}", path.display())).because(error)
        })
    }

    /// Adds lines in one write. A process that cannot write down what it does must not do it: it ends.
    pub(super) fn add(&self, lines: &[Line]) {
        let mut text = Vec::new();
        for line in lines {
            if serde_json::to_writer(&mut text, line).is_err() {
                std::process::exit(1);
            }
            text.push(b'\n');
        }
        if let Err(error) = (&self.0).write_all(&text) {
            // The standard error is a file beside the ledger, and may fail as well.
            let _ = writeln!(std::io::stderr(), "cannot write the ledger: {error}");
            std::process::exit(1);
        }
    }
}

/// The lines of a ledger. A last one that was cut short by a kill was not written; a ledger that is not there
/// has none: its process was killed before.
pub(super) fn read(path: &Path) -> Result<Vec<Line>> {
    let text = match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.map_err(|error| unreadable(path).because(error))?,
    };
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let lines = text[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).map_err(|error| unreadable(path).because(error)))
        .collect()
}

fn unreadable(path: &Path) -> Error {
    Error::corrupt(format!("cannot read the ledger {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_cut_short_was_not_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger");
        assert_eq!(read(&path).expect("none"), []);
        let lines = [Line::Stuck { at: 1 }, Line::Going { from: 2, until: 3 }];
        Ledger::open(&path).expect("opens").add(&lines);
        let whole = std::fs::read(&path).expect("read");
        std::fs::write(&path, [&whole[..], b"{\"going\":{"].concat()).expect("written");
        assert_eq!(read(&path).expect("read"), lines);
        std::fs::write(&path, "nonsense\n").expect("written");
        assert!(read(&path).expect_err("nonsense").is_corrupt());
    }
}
