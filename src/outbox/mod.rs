//! The outbox: tasks that an application's own transaction leaves to be enqueued, so that both happen or neither.
//!
//! The application writes a sealed task into a table of its own database, in the transaction that makes the task
//! necessary: [`Client::enqueue_in`](crate::Client::enqueue_in) on SQLite (feature `rusqlite-0_41`),
//! [`Client::parcel`](crate::Client::parcel) and an `INSERT` anywhere else. A [`Relay`] hands what was committed over to
//! the broker, whichever that is, and removes it. It may die at any step and be started again, and several may work on
//! one outbox: a task that was handed over before is known by its id until 24 h after its end, and is not stored again.
//!
//! It is no queue: nothing runs out of an outbox. `docs/outbox.md` has the recipe for Postgres, and what is promised.
#![cfg_attr(
    feature = "rusqlite-0_41",
    doc = r#"
```
use oncue::Task;
use oncue::outbox::{Outbox, Relay};

#[derive(serde::Serialize, serde::Deserialize)]
struct Confirm { order: i64 }

impl Task for Confirm {
    const KIND: &'static str = "order:confirm";
}

# fn main() -> Result<(), Box<dyn std::error::Error>> { oncue::block_on(async {
# let directory = tempfile::tempdir()?;
# let file = directory.path().join("shop.db");
# let client = oncue::connect("sqlite::memory:").await?;
let mut shop = rusqlite::Connection::open(&file)?;
shop.execute_batch("CREATE TABLE orders (number INTEGER PRIMARY KEY, item TEXT)")?;
Outbox::create(&shop)?;

let tx = shop.transaction()?;
tx.execute("INSERT INTO orders (item) VALUES ('tea')", [])?;
let task = client.enqueue_in(&tx, Confirm { order: tx.last_insert_rowid() })?;
tx.commit()?;

// In a process that lives: `tokio::spawn(relay.run())`.
let relay = Relay::new(client.clone(), Outbox::open(&file)?);
assert_eq!(relay.once().await?.handed, 1);
assert!(client.handle("default", task)?.state().await?.is_some());
# Ok(()) }) }
```
"#
)]

#[cfg(feature = "rusqlite-0_41")]
mod insert;
mod pass;
mod refused;
mod relay;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::sync::Arc;

pub use pass::{LOOK_PAST_MAX, Moved};
pub use refused::REFUSED_MAX;
pub use relay::{POLL, Relay};
#[cfg(feature = "sqlite")]
pub use sqlite::Outbox;

use crate::broker::Reply;

/// Most rows of one page.
pub const PAGE_ROWS_MAX: usize = 1_000;
/// A page ends with the row that brings it to so many bytes: 4 MiB.
pub const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Where an application keeps its parcels: what a [`Relay`] asks of it. Every call may be made twice, and by several
/// relays at once.
pub trait OutboxStore: Send + Sync + 'static {
    /// The oldest committed rows of a page, in order.
    fn read(&self, page: Page) -> Reply<Vec<Row>>;

    /// Removes these rows; some may be gone already.
    fn remove(&self, rows: Vec<i64>) -> Reply<()>;

    /// A number that changes with every commit to the database, if it has one that costs less than reading a page. Without
    /// it the relay reads the first page at every poll.
    fn version(&self) -> Reply<Option<i64>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

impl<S: OutboxStore + ?Sized> OutboxStore for Arc<S> {
    fn read(&self, page: Page) -> Reply<Vec<Row>> {
        (**self).read(page)
    }

    fn remove(&self, rows: Vec<i64>) -> Reply<()> {
        (**self).remove(rows)
    }

    fn version(&self) -> Reply<Option<i64>> {
        (**self).version()
    }
}

/// Which rows to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Those with a larger number.
    pub after: i64,
    /// So many at most.
    pub rows: usize,
    /// No further ones once these have so many bytes; one in any case.
    pub bytes: usize,
}

/// A row of an outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its number: above 0, growing, never given twice.
    pub number: i64,
    /// [`Parcel::as_bytes`](crate::Parcel::as_bytes).
    pub parcel: Vec<u8>,
}
