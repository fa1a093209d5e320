//! The file itself: made with mode 0600, only on a local disk, and still the same one later.
//!
//! SQLite never creates it: an open that finds nothing is an error, not a new empty queue.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

const MODE: u32 = 0o600;

/// File systems on which SQLite's locks or shared memory cannot be trusted: they reach over a network.
#[cfg(target_os = "linux")]
const NETWORK: [(u32, &str); 15] = [
    (0x6969, "NFS"),
    (0x517B, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB2"),
    (0x6573_5546, "FUSE"),
    (0x564C, "NCP"),
    (0x5346_414F, "AFS"),
    (0x6B41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x00C3_6400, "Ceph"),
    (0x0BD0_0BD0, "Lustre"),
    (0x0116_1970, "GFS2"),
    (0x7461_636F, "OCFS2"),
    (0x0102_1997, "9P"),
    (0x786F_4256, "a shared folder of VirtualBox"),
];

/// A file as it was when it was opened.
#[derive(Clone, Debug)]
pub(super) struct Anchor {
    path: PathBuf,
    identity: (u64, u64),
}

/// Finds the file or makes it; answers its full path and whether it was made.
pub(super) fn find(path: &Path, create: bool) -> Result<(PathBuf, bool)> {
    let path = std::path::absolute(path).map_err(|error| {
        Error::invalid(format!("{} is not a path", path.display())).because(error)
    })?;
    let shown = path.display();
    let made = match std::fs::metadata(&path) {
        Ok(meta) if meta.is_file() => false,
        Ok(_) => return Err(Error::invalid(format!("{shown} is not a file; name a file"))),
        Err(error) if error.kind() == ErrorKind::NotFound && !create => {
            return Err(Error::not_found(format!(
                "there is no file {shown}; check the path, or allow it to be created"
            ))
            .because(error));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let dir = path.parent().unwrap_or(Path::new("/"));
            check_disk(dir)?;
            make(&path)?
        }
        Err(error) => return Err(system(&path, "look at", error)),
    };
    check_disk(&path)?;
    Ok((path, made))
}

/// Tells of a database that others may read: what is sealed stays so, the rest is theirs.
pub(super) fn check_mode(path: &Path) {
    let mode = std::fs::metadata(path).map_or(MODE, |meta| meta.mode() & 0o777);
    if mode & !MODE != 0 {
        let mode = format!("{mode:o}");
        tracing::warn!(path = %path.display(), mode, "others may read this database; chmod 600");
    }
}

fn make(path: &Path) -> Result<bool> {
    match OpenOptions::new().write(true).create_new(true).mode(MODE).open(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(system(path, "create", error)),
    }
}

fn system(path: &Path, what: &str, error: std::io::Error) -> Error {
    let message =
        format!("cannot {what} {}; check its directory and who may write there", path.display());
    let error_for = match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Error::refused(message),
        ErrorKind::NotFound | ErrorKind::NotADirectory => Error::not_found(message),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::full(message),
        _ => Error::system(message),
    };
    error_for.because(error)
}

#[cfg(target_os = "linux")]
fn check_disk(path: &Path) -> Result<()> {
    let stat = match rustix::fs::statfs(path) {
        Ok(stat) => stat,
        Err(error) => return Err(system(path, "look at the file system of", error.into())),
    };
    match network(stat.f_type as u64) {
        None => Ok(()),
        Some(name) => Err(Error::refused(format!(
            "{} is on {name}, where SQLite's locks do not hold between machines; use a local disk, or the Redis broker",
            path.display()
        ))),
    }
}

#[cfg(not(target_os = "linux"))]
fn check_disk(_path: &Path) -> Result<()> {
    Ok(())
}

/// The network file system with this magic number, of which only the low 32 bits count.
#[cfg(target_os = "linux")]
fn network(magic: u64) -> Option<&'static str> {
    NETWORK
        .iter()
        .find(|(known, _)| u64::from(*known) == magic & 0xFFFF_FFFF)
        .map(|(_, name)| *name)
}

impl Anchor {
    /// Remembers which file this is.
    pub(super) fn of(path: PathBuf) -> Result<Self> {
        let meta = std::fs::metadata(&path).map_err(|error| system(&path, "look at", error))?;
        Ok(Self { identity: (meta.dev(), meta.ino()), path })
    }

    /// The path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the path still leads to the open file. What is written to a removed file is lost with it.
    pub(super) fn check(&self) -> Result<()> {
        let shown = self.path.display();
        match std::fs::metadata(&self.path) {
            Ok(meta) if (meta.dev(), meta.ino()) == self.identity => Ok(()),
            Ok(_) => Err(Error::not_found(format!(
                "{shown} was replaced by another file while open; restart to use the new one"
            ))),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::not_found(format!(
                "{shown} was removed while open; put it back and restart"
            ))
            .because(error)),
            Err(error) => Err(system(&self.path, "look at", error)),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_by_their_low_bits() {
        assert_eq!(network(0x6969), Some("NFS"));
        assert_eq!(network(0xFFFF_FFFF_FF53_4D42), Some("CIFS"));
        assert_eq!(network(0xEF53), None);
    }
}
