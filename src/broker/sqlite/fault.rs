//! What SQLite's errors mean: the one place where they become ours.
//!
//! Within a command an error is a [`Halt`]; only at its edge does it become an [`Error`] that names the
//! file and what to do.

use rusqlite::ErrorCode;
use rusqlite::ffi;

use crate::error::Error;

/// Why a command stopped.
#[derive(Debug)]
pub(super) enum Halt {
    /// A typed refusal.
    Refused(Error),
    /// SQLite failed.
    Sqlite(rusqlite::Error),
    /// The command panicked.
    Panicked,
}

/// What a command answers.
pub(super) type Step<T> = Result<T, Halt>;

impl From<rusqlite::Error> for Halt {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl Halt {
    /// As the caller sees it; `file` names the database.
    pub(super) fn into_error(self, file: &str) -> Error {
        match self {
            Self::Refused(error) => error,
            Self::Sqlite(error) => explain(error, file),
            Self::Panicked => Error::unreachable(
                "a command of the SQLite broker panicked and was undone; send it again, and report this",
            ),
        }
    }
}

/// What an error of SQLite means for the database called `file`.
pub(super) fn explain(error: rusqlite::Error, file: &str) -> Error {
    use ErrorCode::*;
    let (code, extended) = match &error {
        rusqlite::Error::SqliteFailure(failure, _) => (failure.code, failure.extended_code),
        rusqlite::Error::SqlInputError { error, .. } => (error.code, error.extended_code),
        _ => {
            return Error::corrupt(format!("{file} holds a value that cannot be{RESTORE}"))
                .because(error);
        }
    };
    let explained = match code {
        DatabaseBusy | DatabaseLocked | FileLockingProtocolFailed => Error::unreachable(format!(
            "{file} stayed locked by another process for too long; find who holds it open, or send the call again"
        )),
        DiskFull => full(file),
        SystemIoFailure if is_write(extended) => full(file),
        SystemIoFailure => {
            Error::system(format!("cannot read or write {file}; check the disk it is on"))
        }
        NotADatabase => Error::corrupt(format!(
            "{file} is not a SQLite database, or its first page is damaged; name another file, or restore it from a backup"
        )),
        DatabaseCorrupt => Error::corrupt(format!("{file} is damaged{RESTORE}")),
        ReadOnly if extended == ffi::SQLITE_READONLY_DBMOVED => Error::not_found(format!(
            "{file} was moved or removed while open; put it back and restart"
        )),
        ReadOnly | PermissionDenied | AuthorizationForStatementDenied => Error::refused(format!(
            "{file} is read-only; allow this user to write the file and its directory"
        )),
        CannotOpen => Error::system(format!(
            "cannot open {file}; check that its directory exists and that this user may write there"
        )),
        OperationInterrupted => {
            Error::timeout(format!("reading {file} took too long; ask for less"))
        }
        OutOfMemory => Error::system("SQLite is out of memory"),
        TooBig => Error::too_large("a value is larger than SQLite stores"),
        _ => Error::corrupt(format!(
            "{file} does not have the tables of oncue as it left them{RESTORE}"
        )),
    };
    explained.because(error)
}

const RESTORE: &str = "; stop its users, keep a copy, and restore it from a backup";

fn full(file: &str) -> Error {
    Error::full(format!(
        "no room to write {file}: the disk, a quota or a file size limit is full; make room and send the call again"
    ))
}

/// Writes that failed for lack of room, which SQLite tells apart only for ENOSPC: EFBIG and EDQUOT end here.
fn is_write(extended: i32) -> bool {
    matches!(
        extended,
        ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_SHMSIZE | ffi::SQLITE_IOERR_TRUNCATE
    )
}
