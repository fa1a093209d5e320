//! Connections: how each is opened and what is set on it.
//!
//! None of them creates a file.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, MAIN_DB, OpenFlags};

use super::fault::{Step, explain};
use crate::error::{Error, Result};

/// Before 3.51.3 a checkpoint that races with another could damage a WAL file.
const SQLITE_MIN: i32 = 3_051_003;
/// How long a connection waits for a lock that another holds.
const BUSY_MAX: Duration = Duration::from_secs(5);
/// Between two tries at a lock, at least and at most: jittered, so that processes do not march in step.
const BUSY_PAUSE_US: (u64, u64) = (100, 1_000);
/// Prepared statements kept per connection; more than there are.
const STATEMENTS_MAX: usize = 192;
/// Pages in the log before a commit also copies them back into the file.
const CHECKPOINT_PAGES: i64 = 4_000;
/// The same for beats: only where there is nothing but beats.
const CHECKPOINT_PAGES_BEAT: i64 = 4 * CHECKPOINT_PAGES;
/// Page cache, in KiB.
const CACHE_KIB: i64 = 16 * 1024;

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// For the writer, which also copies the log back.
    Write,
    /// For beats, which must be quick and leave that to the other.
    Beat,
    /// For a reader.
    Read,
}

/// Refuses a SQLite too old to be trusted.
pub(super) fn check_version() -> Result<()> {
    if rusqlite::version_number() < SQLITE_MIN {
        return Err(Error::refused(format!(
            "SQLite {} is older than 3.51.3; build oncue with its bundled SQLite",
            rusqlite::version()
        )));
    }
    Ok(())
}

/// A connection to a file, or for none to a database in memory.
pub(super) fn connect(path: Option<&Path>, purpose: Use, name: &str) -> Result<Connection> {
    try_connect(path, purpose).map_err(|halt| halt.into_error(name))
}

fn try_connect(path: Option<&Path>, purpose: Use) -> Step<Connection> {
    let mut conn = match (path, purpose) {
        (None, _) => Connection::open_in_memory()?,
        (Some(path), Use::Write | Use::Beat) => open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?,
        (Some(path), Use::Read) => open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?,
    };
    conn.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    conn.busy_handler(Some(patience()))?;
    conn.execute_batch(
        "PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY; PRAGMA cell_size_check = ON",
    )?;
    conn.pragma_update(None, "cache_size", -CACHE_KIB)?;
    match (path, purpose) {
        (None, _) => {}
        (Some(_), Use::Read) => conn.pragma_update(None, "query_only", true)?,
        (Some(path), _) if conn.is_readonly(MAIN_DB)? => {
            return Err(Error::refused(format!(
                "{} is read-only; allow this user to write the file and its directory",
                path.display()
            ))
            .into());
        }
        (_, Use::Write) => conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?,
        (_, Use::Beat) => conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES_BEAT)?,
    }
    Ok(conn)
}

fn open(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
}

/// Switches the file to write-ahead logging: readers never block, and a commit is one append.
pub(super) fn use_wal(conn: &Connection, name: &str) -> Result<()> {
    let switch = || -> rusqlite::Result<String> {
        // The switch needs the file alone and does not ask the busy handler while it waits for that.
        let mut patience = patience();
        for round in 0.. {
            match conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)) {
                Err(error)
                    if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
                        && patience(round) => {}
                answer => return answer,
            }
        }
        Ok(String::new())
    };
    let mode = switch().map_err(|error| explain(error, name))?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(Error::refused(format!(
            "{name} cannot be switched to write-ahead logging; use a local disk"
        )));
    }
    Ok(())
}

/// Says whether to try a lock once more, after a pause.
fn patience() -> impl FnMut(i32) -> bool + Send + 'static {
    let mut since = Instant::now();
    let mut dice: u64 = 0;
    move |tries| {
        if tries == 0 {
            since = Instant::now();
            dice ^= u64::from(since.elapsed().subsec_nanos()) ^ u64::from(std::process::id());
        }
        if since.elapsed() >= BUSY_MAX {
            return false;
        }
        // A linear congruence is random enough to fall out of step.
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (least, most) = BUSY_PAUSE_US;
        std::thread::sleep(Duration::from_micros(least + (dice >> 33) % (most - least)));
        true
    }
}
