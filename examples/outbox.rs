//! An order and its task in one transaction of the shop's own database: both are there, or neither. A relay carries the
//! task to the broker, a SQLite file or what `--broker URL` names. No actor in sight.

use std::time::Duration;

use oncue::outbox::{Outbox, Relay};
use oncue::{Task, TaskResult};
use rusqlite::Connection;

#[derive(serde::Serialize, serde::Deserialize)]
struct Confirm {
    order: i64,
    item: String,
}

impl Task for Confirm {
    const KIND: &'static str = "order:confirm";
    const RETENTION: Duration = Duration::from_secs(60);
}

async fn confirm(task: Confirm) -> TaskResult<String> {
    Ok(format!("order {} is confirmed: {}", task.order, task.item))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip_while(|word| word != "--broker").skip(1);
    let broker = words.next().unwrap_or_else(|| "sqlite:tasks.db".to_owned());
    let client = oncue::connect(&broker).await?;

    let mut shop = Connection::open("shop.db")?;
    shop.execute_batch(
        "CREATE TABLE IF NOT EXISTS orders (number INTEGER PRIMARY KEY, item TEXT NOT NULL)",
    )?;
    Outbox::create(&shop)?;

    let relay = Relay::new(client.clone(), Outbox::open("shop.db")?);
    let running = tokio::spawn(relay.run());
    let worker = client.worker().handle(confirm).start().await?;

    let mut tasks = Vec::new();
    for (item, is_paid) in [("tea", true), ("coffee", false), ("cake", true)] {
        let tx = shop.transaction()?;
        tx.execute("INSERT INTO orders (item) VALUES (?1)", [item])?;
        let order = tx.last_insert_rowid();
        let task = client.enqueue_in(&tx, Confirm { order, item: item.to_owned() })?;
        if is_paid {
            tx.commit()?;
            tasks.push(task);
        } else {
            tx.rollback()?;
            println!("{item} was not paid: no order, no task");
        }
    }
    relay.nudge();

    // Whoever asks too early finds no task: ask once the relay has carried them all.
    let left =
        || shop.query_row("SELECT count(*) FROM oncue_outbox", [], |row| row.get::<_, i64>(0));
    while left()? > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for task in tasks {
        println!("{}", client.handle("default", task)?.result::<String>().await?);
    }
    relay.stop();
    println!("handed over: {}", running.await?.handed);
    worker.shutdown().await?;
    Ok(())
}
