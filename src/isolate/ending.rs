//! How a child ended that gave no answer: the class its task fails with, and what may lie behind it.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;

use super::limits::Limits;

/// Why there is no answer. The class is certain, the rest of the message is a hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// `cpu`, `wall`, `signal(n)`, `exit(n)`, `exit` (nobody knows how), `result`, `protocol` or `start`.
    pub(crate) class: String,
    pub(crate) message: String,
    /// What it printed last.
    pub(crate) stderr: String,
}

impl Ending {
    pub(super) fn new(
        class: impl Into<String>,
        message: impl Into<String>,
        stderr: String,
    ) -> Self {
        Self { class: class.into(), message: message.into(), stderr }
    }

    /// What a status says. `cpu`: the processor time it used.
    pub(super) fn of(
        status: Option<ExitStatus>,
        cpu: Duration,
        limits: &Limits,
        stderr: String,
    ) -> Self {
        let Some(status) = status else {
            return Self::new("exit", "the child ended, and how was told to somebody else", stderr);
        };
        let Some(signal) = status.signal() else {
            let code = status.code().unwrap_or_default();
            let message = format!("the child exited with code {code} and no answer");
            return Self::new(format!("exit({code})"), message, stderr);
        };
        let spent = limits.cpu_seconds().filter(|limit| cpu.as_secs() >= *limit);
        let by_limit = signal == Signal::KILL.as_raw() && spent.is_some();
        if signal == Signal::XCPU.as_raw() || by_limit {
            let limit = limits.cpu_seconds().unwrap_or_default();
            let message = format!("the child used more than {limit} s of processor time");
            return Self::new("cpu", message, stderr);
        }
        let mut message = format!("the child was killed by signal {signal}");
        if let Some(hint) = hint(signal, limits, &stderr) {
            message.push_str("; ");
            message.push_str(&hint);
        }
        Self::new(format!("signal({signal})"), message, stderr)
    }
}

/// What may lie behind a signal. Nothing in the kernel says so for certain.
fn hint(signal: i32, limits: &Limits, stderr: &str) -> Option<String> {
    let is = |known: Signal| signal == known.as_raw();
    if stderr.contains("has overflowed its stack") {
        Some("it seems that its stack overflowed".to_owned())
    } else if is(Signal::ABORT) && stderr.contains("memory allocation of") {
        Some(format!("it seems that it asked for more than its {} bytes of memory", limits.memory))
    } else if is(Signal::SEGV) || is(Signal::BUS) {
        Some("a stack that overflowed, memory it did not get, or a mistake in its code".to_owned())
    } else if is(Signal::KILL) {
        Some("perhaps by the system, for lack of memory".to_owned())
    } else if is(Signal::XFSZ) {
        Some(format!("it wrote a file of more than {} bytes", limits.file_size))
    } else if is(Signal::SYS) {
        Some("it made a system call of a foreign architecture".to_owned())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn expect(raw: i32, cpu: u64, stderr: &str, class: &str, words: &str) {
        let limits = Limits { cpu: Some(Duration::from_secs(2)), ..Limits::default() };
        let (status, cpu) = (ExitStatus::from_raw(raw), Duration::from_secs(cpu));
        let ending = Ending::of(Some(status), cpu, &limits, stderr.to_owned());
        assert_eq!(ending.class, class, "{}", ending.message);
        assert!(ending.message.contains(words), "{}", ending.message);
    }

    #[test]
    fn every_status_has_its_class() {
        expect(3 << 8, 0, "", "exit(3)", "code 3");
        expect(24, 0, "", "cpu", "2 s");
        expect(9, 2, "", "cpu", "2 s");
        expect(9, 1, "", "signal(9)", "for lack of memory");
        expect(6, 0, "", "signal(6)", "signal 6");
        expect(6, 0, "memory allocation of 9 bytes failed", "signal(6)", "bytes of memory");
        expect(6, 0, "thread 'main' has overflowed its stack", "signal(6)", "stack overflowed");
        expect(25, 0, "", "signal(25)", "wrote a file");
    }
}
