//! Writing into the outbox of an application's SQLite file: in the application's own transaction, on its connection.

use std::path::Path;

use rusqlite::{Connection, params};

use crate::client::Client;
use crate::error::Result;
use crate::task::{Draft, Task, TaskId};

use super::Outbox;
use super::sqlite::explain;

/// A key of the caller's own may be in the outbox already: then that one stands for it.
const INSERT: &str =
    "INSERT INTO oncue_outbox (id, parcel) VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING";

impl Outbox {
    /// Makes the table of the outbox, if it is not there.
    pub fn create(connection: &Connection) -> Result<()> {
        connection.execute_batch(Self::SQL).map_err(|error| explain(error, path(connection)))
    }
}

impl Client {
    /// Enqueues a task if and only if a transaction of the application's own commits: pass `&tx`, or a savepoint's.
    /// On a connection outside of any transaction it is a commit of its own. A
    /// [`Relay`](super::Relay) carries it to the broker, which is not asked here; its [times count from now](Self::parcel).
    /// Whether a unique task is the only one is found out when it is handed over, and a key that finds an earlier task
    /// then stores nothing.
    ///
    /// # Errors
    /// As [`parcel`](Self::parcel); a database without the table of the [`Outbox`]
    /// [`is_not_found`](crate::Error::is_not_found), one that is locked [`is_unreachable`](crate::Error::is_unreachable).
    pub fn enqueue_in<T: Task>(
        &self,
        transaction: &Connection,
        draft: impl Into<Draft<T>>,
    ) -> Result<TaskId> {
        let parcel = self.parcel(draft)?;
        let id = parcel.id();
        transaction
            .prepare_cached(INSERT)
            .and_then(|mut insert| insert.execute(params![id.as_bytes(), parcel.as_bytes()]))
            .map_err(|error| explain(error, path(transaction)))?;
        Ok(id)
    }
}

/// The file, as errors name it.
fn path(connection: &Connection) -> &Path {
    Path::new(connection.path().filter(|path| !path.is_empty()).unwrap_or("this database"))
}
