//! The schema and its versions: whose file this is, and what must be done to it.
//!
//! Migrations only ever add to the list; each runs once, in order, all in one transaction.

use rusqlite::{Connection, OptionalExtension};

use super::fault::Step;
use crate::error::Error;

/// Marks files we made: "oncu".
const APPLICATION_ID: i32 = 0x6F6E_6375;

/// Every version of the schema, from the first.
const MIGRATIONS: [&str; 4] = [
    include_str!("schema.sql"),
    include_str!("operate.sql"),
    include_str!("locks.sql"),
    include_str!("groups.sql"),
];

const VERSION_READ: &str = "SELECT value FROM oncue_meta WHERE name = 'schema'";
const VERSION_WRITE: &str = "INSERT INTO oncue_meta (name, value) VALUES ('schema', ?1)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value";

enum Found {
    Empty,
    Version(i64),
}

/// Says whether the database is ours or may become so; reads only.
pub(super) fn check(conn: &Connection, file: &str, create: bool) -> Step<()> {
    look(conn, file, create).map(drop)
}

/// Brings the database to the present schema, or says why it cannot be; answers whether it was empty.
pub(super) fn prepare(conn: &Connection, file: &str, create: bool) -> Step<bool> {
    if is_present(&look(conn, file, create)?) {
        return Ok(false);
    }
    conn.execute_batch("BEGIN IMMEDIATE")?;
    let done = migrate(conn, file, create);
    let done = done.and_then(|was_empty| {
        conn.execute_batch("COMMIT")?;
        Ok(was_empty)
    });
    if done.is_err() && !conn.is_autocommit() {
        conn.execute_batch("ROLLBACK")?;
    }
    done
}

fn is_present(found: &Found) -> bool {
    matches!(found, Found::Version(version) if *version == MIGRATIONS.len() as i64)
}

fn migrate(conn: &Connection, file: &str, create: bool) -> Step<bool> {
    // Somebody else may have been faster while this waited for the lock.
    let done = match look(conn, file, create)? {
        Found::Version(version) => usize::try_from(version).unwrap_or(0),
        Found::Empty => {
            conn.pragma_update(None, "application_id", APPLICATION_ID)?;
            0
        }
    };
    for sql in MIGRATIONS.iter().skip(done) {
        conn.execute_batch(sql)?;
    }
    conn.execute(VERSION_WRITE, [MIGRATIONS.len() as i64])?;
    Ok(done == 0)
}

fn look(conn: &Connection, file: &str, create: bool) -> Step<Found> {
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        let mark = |name| conn.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
        let (made_by, version) = (mark("application_id")?, mark("user_version")?);
        if ![0, APPLICATION_ID].contains(&made_by) || version != 0 {
            return Err(foreign(file).into());
        }
        if create {
            return Ok(Found::Empty);
        }
        return Err(Error::not_found(format!(
            "{file} is empty; check the path, or allow it to be created"
        ))
        .into());
    }
    let ours: i64 = conn.query_row(
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'oncue_meta'",
        [],
        |row| row.get(0),
    )?;
    if ours == 0 {
        return Err(foreign(file).into());
    }
    let version: Option<i64> = conn.query_row(VERSION_READ, [], |row| row.get(0)).optional()?;
    match version {
        Some(version) if version > MIGRATIONS.len() as i64 => Err(Error::newer(format!(
            "{file} has schema {version}, this version knows {}; upgrade this process",
            MIGRATIONS.len()
        ))
        .into()),
        Some(version) if version >= 1 => Ok(Found::Version(version)),
        _ => Err(Error::corrupt(format!(
            "{file} has tables of oncue without a schema version; restore it from a backup"
        ))
        .into()),
    }
}

fn foreign(file: &str) -> Error {
    Error::corrupt(format!(
        "{file} is a SQLite database of another program; name a file of its own for oncue"
    ))
}
