//! Another process: started in a role, heard, told, signalled, and never outliving its test.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use oncue::connect::KEY_FILE_VARIABLE;
use rustix::process::{Pid, Signal};

use super::stage::{Home, wait_for};
use crate::runtime::company::PATIENCE;

/// Names the role of a child.
pub const ROLE: &str = "ONCUE_TEST_ROLE";
/// Names the process it must not outlive.
pub const PARENT: &str = "ONCUE_TEST_PARENT";
/// Names the queue it works on.
pub const QUEUE: &str = "ONCUE_TEST_QUEUE";
/// Marks what a child says among what its test harness prints.
pub const MARK: char = '@';

/// A child in a role. Killed when dropped.
pub struct Player {
    child: Child,
    said: Receiver<String>,
}

impl Player {
    /// Starts a child on the queue of this home. The words are variables of its environment.
    pub fn start(home: &Home, role: &str, words: &[(&str, &str)]) -> Self {
        let this = std::env::current_exe().expect("this binary");
        let mut child = Command::new(this)
            .args(["--exact", "processes::child", "--nocapture", "--test-threads", "1"])
            .env(ROLE, role)
            .env(PARENT, std::process::id().to_string())
            .env(QUEUE, home.url())
            .env(KEY_FILE_VARIABLE, home.key())
            .envs(words.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let (tell, said) = channel();
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        // Ends with the child, which has no children of its own to keep the pipe open.
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if let Some(line) = line.strip_prefix(MARK) {
                    let _ = tell.send(line.to_owned());
                }
            }
        });
        Self { child, said }
    }

    /// Waits until it says something that begins with this word; answers the rest.
    #[track_caller]
    pub fn until(&self, word: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.said.recv_timeout(left);
            let line = line.unwrap_or_else(|error| panic!("waiting for {word:?}: {error}"));
            if let Some(rest) = line.strip_prefix(word) {
                return rest.trim_start().to_owned();
            }
        }
    }

    /// Waits until it has said something that begins with each of these words, in any order.
    #[track_caller]
    pub fn until_all(&self, words: &[&str]) {
        let mut words = words.to_vec();
        while !words.is_empty() {
            let line = self.until("");
            if let Some(found) = words.iter().position(|word| line.starts_with(word)) {
                words.remove(found);
            }
        }
    }

    /// All it still said, once it has ended.
    #[track_caller]
    pub fn last_words(&self) -> Vec<String> {
        let mut words = Vec::new();
        loop {
            match self.said.recv_timeout(PATIENCE) {
                Ok(line) => words.push(line),
                Err(RecvTimeoutError::Disconnected) => return words,
                Err(RecvTimeoutError::Timeout) => panic!("the child goes on after {words:?}"),
            }
        }
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Tells it a line.
    pub fn tell(&mut self, line: &str) {
        let pipe = self.child.stdin.as_mut().expect("a pipe");
        writeln!(pipe, "{line}").expect("the child listens");
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).expect("signalled");
    }

    /// Sends it SIGKILL and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("reaped");
    }

    /// How it ended, if it did.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("asked")
    }

    /// Waits until it has ended by itself; answers how.
    #[track_caller]
    pub fn end(&mut self) -> ExitStatus {
        self.last_words();
        self.child.wait().expect("reaped")
    }

    /// Waits until it catches this signal instead of dying of it. The kernel tells nobody of the moment,
    /// so it is asked.
    #[track_caller]
    pub fn catches(&self, signal: Signal) {
        let path = format!("/proc/{}/status", self.child.id());
        wait_for(|| {
            let status = std::fs::read_to_string(&path).expect("a process that lives");
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
            let caught = u64::from_str_radix(caught.expect("a mask").trim(), 16).expect("hex");
            caught >> (signal.as_raw() - 1) & 1 == 1
        });
    }

    /// Stops it with SIGSTOP, at a moment when it holds no lock on a file: one that does stops everybody
    /// until it goes on, which is in the nature of a shared file and not what is tested here.
    #[track_caller]
    pub fn stop(&self, home: &Home) {
        wait_for(|| {
            self.signal(Signal::STOP);
            let path = format!("/proc/{}/stat", self.child.id());
            // Stopped is what it is once every thread of it stands.
            wait_for(|| {
                let stat = std::fs::read_to_string(&path).expect("a process that lives");
                stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
            });
            let free = home.is_free();
            if !free {
                self.signal(Signal::CONT);
            }
            free
        });
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
