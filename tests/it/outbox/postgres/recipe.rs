//! The outbox of an application on Postgres: the code of docs/outbox.md, as it is tested.

use std::future::poll_fn;
use std::sync::Arc;

use oncue::broker::Reply;
use oncue::outbox::{OutboxStore, Page, Relay, Row};
use oncue::{Error, Parcel};
use tokio::sync::Mutex;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, Transaction};

/// For your migrations.
pub const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS oncue_outbox (
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        id bytea NOT NULL UNIQUE,
        parcel bytea NOT NULL
    )";

/// Enqueues a task if and only if this transaction commits. The parcel is `client.parcel(task)?`.
pub async fn enqueue_in(
    transaction: &Transaction<'_>,
    parcel: &Parcel,
) -> Result<(), tokio_postgres::Error> {
    const INSERT: &str =
        "INSERT INTO oncue_outbox (id, parcel) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";
    let id = parcel.id();
    transaction.execute(INSERT, &[&id.as_bytes().as_slice(), &parcel.as_bytes()]).await?;
    // Whoever listens is told once it is committed, and never of what was rolled back.
    transaction.execute("NOTIFY oncue_outbox", &[]).await?;
    Ok(())
}

/// The oldest rows, until they have so many bytes.
const READ: &str = "
    SELECT number, parcel FROM (
        SELECT number, parcel, sum(length(parcel)) OVER (ORDER BY number) - length(parcel) AS before
        FROM (SELECT number, parcel FROM oncue_outbox WHERE number > $1 ORDER BY number LIMIT $2)
            AS oldest
    ) AS page WHERE before < $3 ORDER BY number";

/// What a relay reads and removes from: one connection, made anew when it broke.
#[derive(Clone)]
pub struct PostgresOutbox {
    config: Config,
    connection: Arc<Mutex<Option<Arc<Client>>>>,
}

impl PostgresOutbox {
    pub fn new(config: Config) -> Self {
        Self { config, connection: Arc::default() }
    }

    async fn client(&self) -> oncue::Result<Arc<Client>> {
        let mut held = self.connection.lock().await;
        if let Some(client) = held.as_ref().filter(|client| !client.is_closed()) {
            return Ok(client.clone());
        }
        let (client, connection) = self.config.connect(NoTls).await.map_err(away)?;
        tokio::spawn(connection);
        Ok(held.insert(Arc::new(client)).clone())
    }
}

impl OutboxStore for PostgresOutbox {
    fn read(&self, page: Page) -> Reply<Vec<Row>> {
        let outbox = self.clone();
        Box::pin(async move {
            let (rows, bytes) = (page.rows as i64, page.bytes as i64);
            let client = outbox.client().await?;
            let found = client.query(READ, &[&page.after, &rows, &bytes]).await.map_err(away)?;
            Ok(found.iter().map(|row| Row { number: row.get(0), parcel: row.get(1) }).collect())
        })
    }

    fn remove(&self, rows: Vec<i64>) -> Reply<()> {
        let outbox = self.clone();
        Box::pin(async move {
            let delete = "DELETE FROM oncue_outbox WHERE number = ANY($1)";
            outbox.client().await?.execute(delete, &[&rows]).await.map_err(away)?;
            Ok(())
        })
    }
}

/// Every failure passes: the relay tries again.
fn away(error: tokio_postgres::Error) -> Error {
    Error::unreachable("the outbox on Postgres does not answer").because(error)
}

/// Nudges a relay whenever something was committed, until the connection breaks; call it again then. What was
/// committed in between is seen at the relay's next poll.
pub async fn listen(config: &Config, relay: &Relay) -> Result<(), tokio_postgres::Error> {
    let (client, mut connection) = config.connect(NoTls).await?;
    let listening = client.batch_execute("LISTEN oncue_outbox");
    let nudging = async {
        while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(_) = message? {
                relay.nudge();
            }
        }
        Ok(())
    };
    let (listening, nudging) = tokio::join!(listening, nudging);
    listening.and(nudging)
}
