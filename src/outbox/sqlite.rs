//! The outbox of an application's own SQLite file, as a relay reads it: one thread, one connection.
//!
//! It changes no setting of the file: journal, durability and schema are the application's. Writing into it is
//! [`Client::enqueue_in`](crate::Client::enqueue_in)'s part.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, params};
use tokio::sync::{mpsc, oneshot};

use crate::broker::Reply;
use crate::client::PARCEL_BYTES_MAX;
use crate::error::{Error, Result};

use super::{OutboxStore, Page, Row};

/// How long it waits for a file that is locked.
const BUSY: Duration = Duration::from_secs(5);
/// Calls that wait for the thread; more wait in their callers.
const MAILBOX_MAX: usize = 16;

const IS_THERE: &str =
    "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'oncue_outbox')";
/// One byte more than a parcel has: what is too long is seen to be, and never read whole. `substr` makes NULL of an empty
/// blob, and a table that somebody else made may hold text: a row that cannot be read would block those behind it.
const READ: &str =
    "SELECT row, CAST(ifnull(substr(parcel, 1, ?3 + 1), '') AS BLOB) FROM oncue_outbox
    WHERE row > ?1 ORDER BY row LIMIT ?2";
const REMOVE: &str = "DELETE FROM oncue_outbox WHERE row = ?1";

type Call = Box<dyn FnOnce(&mut Connection) + Send>;

/// An outbox in a SQLite file: a table of the application's, `oncue_outbox`.
pub struct Outbox {
    path: PathBuf,
    calls: mpsc::Sender<Call>,
}

impl Outbox {
    /// The table, for an application's own migrations. Running it again changes nothing.
    pub const SQL: &str = include_str!("outbox.sql");

    /// Opens the outbox of this file.
    ///
    /// # Errors
    /// A file that is not there, or has no outbox yet, [`is_not_found`](Error::is_not_found).
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let connection = connect(&path).map_err(|error| explain(error, &path))?;
        let is_there: bool = connection
            .query_row(IS_THERE, [], |row| row.get(0))
            .map_err(|error| explain(error, &path))?;
        if !is_there {
            return Err(Error::not_found(format!(
                "{} has no table oncue_outbox; make it with Outbox::create or Outbox::SQL first",
                path.display()
            )));
        }
        let (calls, mailbox) = mpsc::channel(MAILBOX_MAX);
        std::thread::Builder::new()
            .name("oncue-outbox".into())
            .spawn(move || serve(connection, mailbox))
            .map_err(|error| Error::system("no thread for the outbox").because(error))?;
        Ok(Self { path, calls })
    }

    fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Reply<T> {
        let (path, calls) = (self.path.clone(), self.calls.clone());
        let (reply, answer) = oneshot::channel();
        // Whoever asked may have left.
        let call: Call = Box::new(move |connection| drop(reply.send(work(connection))));
        Box::pin(async move {
            let closed = || Error::closed("the thread of the outbox is gone");
            calls.send(call).await.map_err(|_| closed())?;
            answer.await.map_err(|_| closed())?.map_err(|error| explain(error, &path))
        })
    }
}

impl OutboxStore for Outbox {
    fn read(&self, page: Page) -> Reply<Vec<Row>> {
        self.call(move |connection| {
            let mut statement = connection.prepare_cached(READ)?;
            let mut found = statement.query(params![
                page.after,
                i64::try_from(page.rows).unwrap_or(i64::MAX),
                i64::try_from(PARCEL_BYTES_MAX).unwrap_or(i64::MAX)
            ])?;
            let (mut rows, mut bytes) = (Vec::new(), 0);
            while bytes < page.bytes
                && let Some(row) = found.next()?
            {
                let row = Row { number: row.get(0)?, parcel: row.get(1)? };
                bytes += row.parcel.len();
                rows.push(row);
            }
            Ok(rows)
        })
    }

    fn remove(&self, rows: Vec<i64>) -> Reply<()> {
        self.call(move |connection| {
            let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            {
                let mut remove = tx.prepare_cached(REMOVE)?;
                for row in rows {
                    remove.execute([row])?;
                }
            }
            tx.commit()
        })
    }

    /// Commits of others change it, those of this connection do not.
    fn version(&self) -> Reply<Option<i64>> {
        self.call(|connection| {
            connection.query_row("PRAGMA data_version", [], |row| row.get(0)).map(Some)
        })
    }
}

/// Works until nobody can ask any more.
fn serve(mut connection: Connection, mut mailbox: mpsc::Receiver<Call>) {
    while let Some(call) = mailbox.blocking_recv() {
        call(&mut connection);
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

/// What an error of SQLite means for an outbox in this file.
pub(super) fn explain(error: rusqlite::Error, path: &Path) -> Error {
    let file = path.display();
    let explained = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::unreachable(format!(
            "{file} stayed locked for too long; find who holds it, or try again"
        )),
        Some(ErrorCode::DiskFull) => {
            Error::full(format!("no room to write {file}; make room and try again"))
        }
        Some(ErrorCode::CannotOpen) => Error::not_found(format!(
            "cannot open {file}; check that it exists and that this user may write there"
        )),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Error::refused(format!(
            "{file} is read-only; allow this user to write the file and its directory"
        )),
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            Error::corrupt(format!("{file} is damaged, or no SQLite database"))
        }
        _ if error.to_string().contains("no such table") => Error::not_found(format!(
            "{file} has no table oncue_outbox; make it with Outbox::create or Outbox::SQL first"
        )),
        _ => Error::system(format!("the outbox of {file} cannot be used")),
    };
    explained.because(error)
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("path", &self.path).finish_non_exhaustive()
    }
}
