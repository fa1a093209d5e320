//! One process of the drill: started, signalled, reaped. It never outlives its value.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use oncue::{Error, Result};
use rustix::process::{Pid, Signal};

use super::child::{Part, Role};
use super::ledger::By;
use super::place::Place;

/// How long a process may take to stand after SIGSTOP, and how often it is looked at.
const STANDS: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(1);

/// How it is with a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Up,
    /// Stopped at a time of the ledger; to be continued.
    Stopped {
        from: u64,
        until: Instant,
    },
    /// Told to end; killed if it does not.
    Told {
        since: Instant,
    },
    Killed,
}

/// A process. Killed when dropped.
pub(super) struct Member {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) standing: Standing,
    child: Child,
}

impl Member {
    /// Starts this binary again and tells it its part.
    pub(super) fn start(place: &Place, name: String, part: &Part) -> Result<Self> {
        let failed = |error| Error::system("cannot start a process of the drill").because(error);
        let log = File::create(place.log(&name)).map_err(failed)?;
        let this = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new(this);
        command
            .args(["drill", "--child"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .env("RUST_BACKTRACE", "0")
            // A Ctrl-C at the terminal is for the drill, which ends its processes itself.
            .process_group(0);
        place.lend_keys(&mut command);
        let mut child = command.spawn().map_err(failed)?;
        let told = serde_json::to_string(part)
            .map_err(|error| Error::system("cannot write a part as JSON").because(error))?;
        if let Some(mut pipe) = child.stdin.take() {
            // One that died is found dead.
            let _ = writeln!(pipe, "{told}");
        }
        Ok(Self { name, role: part.role, standing: Standing::Up, child })
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends a signal. The process is not reaped yet, so its number is no other's.
    pub(super) fn signal(&self, signal: Signal) {
        // One that has ended hears nothing.
        let _ = rustix::process::kill_process(self.pid(), signal);
    }

    /// From now on it runs when nobody else wants to.
    pub(super) fn renice(&self) {
        // Allowed to everybody; where it is not, nothing is starved.
        let _ = rustix::process::setpriority_process(Some(self.pid()), 19);
    }

    /// Sends SIGKILL and waits until it is gone.
    pub(super) fn kill(&mut self) {
        self.standing = Standing::Killed;
        // It may have ended a moment ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// How it ended, if it did.
    pub(super) fn ended(&mut self) -> Option<By> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(self.by(status))
    }

    fn by(&self, status: ExitStatus) -> By {
        let signal = |signal: Signal| status.signal() == Some(signal.as_raw());
        match self.standing {
            Standing::Killed if signal(Signal::KILL) => By::Kill,
            _ if signal(Signal::ABORT) => By::Abort,
            // A producer does not listen; a worker may not do so yet.
            Standing::Told { .. } if status.success() || signal(Signal::TERM) => By::Term,
            _ if status.success() && matches!(self.role, Role::Producer { .. }) => By::Done,
            _ => By::Itself,
        }
    }

    /// Sends SIGSTOP and waits until every thread of it stands.
    pub(super) async fn stop(&self) {
        self.signal(Signal::STOP);
        let path = format!("/proc/{}/stat", self.child.id());
        let stands = || {
            let stat = std::fs::read_to_string(&path).unwrap_or_default();
            let state = stat.rsplit(')').next().unwrap_or_default().trim_start().to_owned();
            // One that is gone stands as well.
            state.is_empty() || state.starts_with(['T', 'Z'])
        };
        let deadline = Instant::now() + STANDS;
        while !stands() && Instant::now() < deadline {
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // SIGKILL ends a process that is stopped, too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
