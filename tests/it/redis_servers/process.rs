//! One server as a process: spawned, signalled, reaped, its log at hand. Knows no Redis command.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, WaitOptions};

/// Names another server binary, such as a `valkey-server`.
const BINARY: &str = "ONCUE_REDIS_SERVER";
/// Lines of the log that are shown when something went wrong.
const TAIL: usize = 40;

/// A server process. Killed when dropped; its log is shown if the test fails.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Spawns a server in this directory, which holds its configuration.
    pub fn spawn(directory: &Path, more: &[&str], environment: &[(&str, PathBuf)]) -> Self {
        let mut binary = std::env::var(BINARY).unwrap_or_else(|_| "redis-server".to_owned());
        if binary.contains('/') {
            // The server runs in another directory.
            let path = std::path::absolute(&binary).expect("a path");
            binary = path.to_str().expect("UTF-8").to_owned();
        }
        Self::spawn_binary(&binary, directory, more, environment)
    }

    pub(super) fn spawn_binary(
        binary: &str,
        directory: &Path,
        more: &[&str],
        environment: &[(&str, PathBuf)],
    ) -> Self {
        let log = directory.join("server.log");
        let out = File::options().create(true).append(true).open(&log).expect("a log");
        let spawned = Command::new(binary)
            .arg(directory.join("server.conf"))
            .args(more)
            .envs(environment.iter().cloned())
            .current_dir(directory)
            .stdin(Stdio::null())
            .stderr(out.try_clone().expect("a log"))
            .stdout(out)
            .spawn();
        let child = spawned.unwrap_or_else(|error| match error.kind() {
            ErrorKind::NotFound => panic!(
                "no {binary}: these tests need a Redis server. Install one:\n    \
                 apt-get install -y redis-server\nor name one: {BINARY}=/path/to/valkey-server"
            ),
            _ => panic!("{binary} does not start: {error}"),
        });
        Self { child, log }
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("asked").is_some()
    }

    /// Sends SIGKILL and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("reaped");
    }

    /// Sends SIGTERM and waits until it is gone.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
        self.child.wait().expect("reaped");
    }

    /// Stops it with SIGSTOP; answers once it stands.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
        let stood =
            rustix::process::waitpid(Some(Pid::from_child(&self.child)), WaitOptions::UNTRACED);
        assert!(stood.expect("waited").expect("a status").1.stopped(), "it ended instead");
    }

    /// Lets it go on after `stop`.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).expect("signalled");
    }

    /// All it has written, of every life it had in its directory.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The end of the log, for people.
    pub fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let last = &lines[lines.len().saturating_sub(TAIL)..];
        format!("--- the end of {}:\n{}\n---", self.log.display(), last.join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.tail());
        }
        // It may have ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
