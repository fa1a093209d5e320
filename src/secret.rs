//! Reading a secret: from an environment variable, from a file only its owner can read, or from a command.
//!
//! It knows neither keys nor passwords; those who do say in a [`Secret`] what their errors are called. Errors
//! never quote what was read.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// How long a command that gives a secret may take.
pub const COMMAND_TIME_MAX: Duration = Duration::from_secs(30);
/// How often a command is looked at once it has written all.
const COMMAND_POLL: Duration = Duration::from_millis(5);

/// An environment variable, if it is set.
pub(crate) fn variable(name: &str) -> Option<Zeroizing<Vec<u8>>> {
    std::env::var_os(name).map(|value| Zeroizing::new(value.into_encoded_bytes()))
}

/// What kind of secret is read.
pub(crate) struct Secret {
    /// Its name in messages: "key" for "key file".
    pub(crate) what: &'static str,
    /// What is added when there is no such file.
    pub(crate) missing: &'static str,
    /// Longer ones are not read: a file or a command gives one byte more, a command fails.
    pub(crate) bytes_max: usize,
    /// Makes its errors.
    pub(crate) error: fn(String) -> Error,
}

impl Secret {
    /// A file of mode 0600 or stricter.
    pub(crate) fn file(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>> {
        let (what, shown) = (self.what, path.display());
        let failed = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound => {
                (self.error)(format!("there is no {what} file {shown}{}", self.missing))
            }
            _ => (self.error)(format!("cannot read {what} file {shown}")).because(error),
        };
        // Asked before it is opened, because opening a pipe waits for its writer.
        if !fs::metadata(path).map_err(failed)?.is_file() {
            return Err((self.error)(format!("{shown} is not a file")));
        }
        let file = File::open(path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
        if mode & !0o600 != 0 {
            return Err((self.error)(format!(
                "{what} file {shown} has mode {mode:04o}, so not only its owner can read it; run `chmod 600 {shown}`"
            )));
        }
        self.bounded(file).map_err(failed)
    }

    /// The standard output of a program and its arguments, run without a shell. It has
    /// [`COMMAND_TIME_MAX`]; its standard error is this process's own.
    pub(crate) fn command(&self, argv: &[String]) -> Result<Zeroizing<Vec<u8>>> {
        let what = self.what;
        let (program, arguments) = argv
            .split_first()
            .ok_or_else(|| (self.error)(format!("the {what} command is empty")))?;
        let failed = |error: std::io::Error| {
            (self.error)(format!("{what} command {program:?} cannot be run")).because(error)
        };
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let output = self.output(&mut child, COMMAND_TIME_MAX);
        // No child stays behind; both fail only if it is gone already.
        let _ = (child.kill(), child.wait());
        output.map_err(|fault| (self.error)(format!("{what} command {program:?} {fault}")))
    }

    /// What the child writes until it exits with 0, in time.
    fn output(&self, child: &mut Child, time: Duration) -> Result<Zeroizing<Vec<u8>>, String> {
        let late = || format!("did not end within {} s", time.as_secs());
        let until = Instant::now() + time;
        let stdout = child.stdout.take().ok_or("has no standard output")?;
        let (sender, receiver) = mpsc::sync_channel(1);
        let bytes_max = self.bytes_max;
        // The thread ends with the pipe; it may outlive a child that left one of its own behind.
        std::thread::spawn(move || sender.send(bounded(stdout, bytes_max)));
        let output = receiver.recv_timeout(time).map_err(|_| late())?;
        let output = output.map_err(|error| format!("cannot be read: {error}"))?;
        if output.len() > bytes_max {
            return Err(format!("wrote more than {bytes_max} bytes"));
        }
        loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(output),
                Ok(Some(status)) => return Err(format!("failed: {status}")),
                Ok(None) if Instant::now() < until => std::thread::sleep(COMMAND_POLL),
                Ok(None) => return Err(late()),
                Err(error) => return Err(format!("cannot be waited for: {error}")),
            }
        }
    }

    fn bounded(&self, reader: impl Read) -> std::io::Result<Zeroizing<Vec<u8>>> {
        bounded(reader, self.bytes_max)
    }
}

/// Reads at most one byte more than allowed, into memory that does not move.
fn bounded(reader: impl Read, bytes_max: usize) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let most = bytes_max + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(most + 32));
    reader.take(most as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: Secret =
        Secret { what: "any", missing: "", bytes_max: 9, error: |message| Error::key(message) };

    #[test]
    fn a_command_that_hangs_is_given_up() {
        // With its output open, and with its output closed.
        for script in ["exec sleep 60", "exec >&-; exec sleep 60"] {
            let start = Instant::now();
            let mut child = Command::new("sh")
                .args(["-c", script])
                .stdout(Stdio::piped())
                .spawn()
                .expect("runs");
            let fault = ANY.output(&mut child, Duration::from_millis(50)).expect_err("hangs");
            child.kill().expect("killed");
            child.wait().expect("reaped");
            assert!(fault.contains("did not end within"), "{fault}");
            assert!(start.elapsed() < Duration::from_secs(30));
        }
    }
}
