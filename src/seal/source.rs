//! Where a keyring comes from: an environment variable, a file, a command, or a type of your own.
//!
//! A source is asked at start and at every reload. It is not watched, and its errors never quote what
//! it read.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::seal::keyring::{KEYRING_BYTES_MAX, Keyring};
use crate::secret::{Secret, variable};

pub use crate::secret::COMMAND_TIME_MAX;

const SECRET: Secret = Secret {
    what: "key",
    missing: "; make one with `oncue key generate`",
    bytes_max: KEYRING_BYTES_MAX,
    error: |message| Error::key(message),
};

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
        let value = variable(name).ok_or_else(|| {
            Error::key(format!(
                "environment variable {name} is not set; make a keyring with `oncue key generate`"
            ))
        })?;
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
        let bytes = SECRET.file(&self.0)?;
        read(&bytes, &format!("key file {}", self.0.display()))
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
        let bytes = SECRET.command(&self.0)?;
        read(&bytes, &format!("key command {:?}", self.0[0]))
    }
}

fn read(bytes: &[u8], what: &str) -> Result<Keyring> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Error::key(format!("{what} is not the text of a keyring")))?;
    Keyring::parse(text).map_err(|error| Error::key(format!("{what}: {error}")))
}
