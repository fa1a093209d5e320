//! Where a keyring comes from: an environment variable, a file, a command, or a type of your own.
//!
//! A source is asked at start and at every reload. It is not watched, and its errors never quote what
//! it read.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::seal::keyring::{KEYRING_BYTES_MAX, Keyring};

/// How long a key command may take.
pub const COMMAND_TIME_MAX: Duration = Duration::from_secs(30);
/// How often a key command is looked at once it has written all.
const COMMAND_POLL: Duration = Duration::from_millis(5);

/// Gives a keyring.
pub trait KeySource: Send + Sync {
    /// Reads the keyring as it is now. Blocks; not for async code.
    fn load(&self) -> Result<Keyring>;
}

/// The keyring in an environment variable, by its name.
#[derive(Clone, Debug)]
pub struct EnvKeys(pub String);

impl KeySource for EnvKeys {
    fn load(&self) -> Result<Keyring> {
        let Self(name) = self;
        let value = std::env::var_os(name).map(|value| value.into_encoded_bytes());
        let value = Zeroizing::new(value.ok_or_else(|| {
            Error::key(format!(
                "environment variable {name} is not set; make a keyring with `oncue key generate`"
            ))
        })?);
        read(&value, &format!("environment variable {name}"))
    }
}

/// The keyring in a file that only its owner can read: mode 0600 or stricter.
#[derive(Clone, Debug)]
pub struct FileKeys(pub PathBuf);

impl FileKeys {
    /// Writes a new key file with mode 0600, whole or not at all. An existing one is never overwritten:
    /// that [`is_refused`](Error::is_refused).
    pub fn create(path: impl AsRef<Path>, keyring: &Keyring) -> Result<()> {
        let path = path.as_ref();
        let shown = path.display();
        let failed = |error| Error::key(format!("cannot write key file {shown}")).because(error);
        let mut name = path
            .file_name()
            .map(OsString::from)
            .ok_or_else(|| Error::invalid(format!("{shown} is not the path of a file")))?;
        name.push(format!(".{}.new", uuid::Uuid::now_v7().simple()));
        let draft = path.with_file_name(name);
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)
            .and_then(|mut file| {
                file.write_all(keyring.to_text().as_bytes())?;
                file.sync_all()
            })
            // A link, not a rename: it fails if the path exists, and who finds it finds it whole.
            .and_then(|()| fs::hard_link(&draft, path));
        let _ = fs::remove_file(&draft);
        match written {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(Error::refused(format!(
                "key file {shown} exists; it may be the only copy of a key, so remove it by hand"
            ))),
            Err(error) => Err(failed(error)),
            Ok(()) => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                File::open(folder.unwrap_or(Path::new(".")))
                    .and_then(|folder| folder.sync_all())
                    .map_err(failed)
            }
        }
    }
}

impl KeySource for FileKeys {
    fn load(&self) -> Result<Keyring> {
        let path = self.0.display();
        let failed = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound => Error::key(format!(
                "there is no key file {path}; make one with `oncue key generate`"
            )),
            _ => Error::key(format!("cannot read key file {path}")).because(error),
        };
        // Asked before it is opened, because opening a pipe waits for its writer.
        if !fs::metadata(&self.0).map_err(failed)?.is_file() {
            return Err(Error::key(format!("{path} is not a file")));
        }
        let file = File::open(&self.0).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
        if mode & !0o600 != 0 {
            return Err(Error::key(format!(
                "key file {path} has mode {mode:04o}, so not only its owner can read it; run `chmod 600 {path}`"
            )));
        }
        read(&bounded(file).map_err(failed)?, &format!("key file {path}"))
    }
}

/// The keyring on the standard output of a command: program and arguments, run without a shell.
///
/// It has [`COMMAND_TIME_MAX`]; its standard error is this process's own.
#[derive(Clone)]
pub struct CommandKeys(pub Vec<String>);

impl std::fmt::Debug for CommandKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(argv) = self;
        write!(f, "CommandKeys {{ {:?}, arguments: {} }}", argv.first(), argv.len().max(1) - 1)
    }
}

impl KeySource for CommandKeys {
    fn load(&self) -> Result<Keyring> {
        let (program, arguments) =
            self.0.split_first().ok_or_else(|| Error::key("the key command is empty"))?;
        let failed = |error: std::io::Error| {
            Error::key(format!("key command {program:?} cannot be run")).because(error)
        };
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let output = output(&mut child, COMMAND_TIME_MAX);
        // No child stays behind; both fail only if it is gone already.
        let _ = (child.kill(), child.wait());
        let what = format!("key command {program:?}");
        let output = output.map_err(|fault| Error::key(format!("{what} {fault}")))?;
        read(&output, &what)
    }
}

/// What the child writes until it exits with 0, in time.
fn output(child: &mut Child, time: Duration) -> Result<Zeroizing<Vec<u8>>, String> {
    let late = || format!("did not end within {} s", time.as_secs());
    let until = Instant::now() + time;
    let stdout = child.stdout.take().ok_or("has no standard output")?;
    let (sender, receiver) = mpsc::sync_channel(1);
    // The thread ends with the pipe; it may outlive a child that left one of its own behind.
    std::thread::spawn(move || sender.send(bounded(stdout)));
    let output = receiver.recv_timeout(time).map_err(|_| late())?;
    let output = output.map_err(|error| format!("cannot be read: {error}"))?;
    if output.len() > KEYRING_BYTES_MAX {
        return Err(format!("wrote more than {KEYRING_BYTES_MAX} bytes"));
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

/// Reads at most one byte more than a keyring may have, into memory that does not move.
fn bounded(reader: impl Read) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let most = KEYRING_BYTES_MAX + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(most + 32));
    reader.take(most as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn read(bytes: &[u8], what: &str) -> Result<Keyring> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Error::key(format!("{what} is not the text of a keyring")))?;
    Keyring::parse(text).map_err(|error| Error::key(format!("{what}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let fault = output(&mut child, Duration::from_millis(50)).expect_err("hangs");
            child.kill().expect("killed");
            child.wait().expect("reaped");
            assert!(fault.contains("did not end within"), "{fault}");
            assert!(start.elapsed() < Duration::from_secs(30));
        }
    }
}
