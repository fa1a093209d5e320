//! A task at every tick of a schedule: once for each tick, however many workers there are.

use std::time::Duration;

use oncue::timetable::{Entry, Missed, Runs, TICK_HEADER};
use oncue::{Data, Task, TaskContext, TaskResult};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

#[derive(Serialize, Deserialize)]
struct Report {
    shop: u64,
}

impl Task for Report {
    const KIND: &'static str = "report";
}

async fn report(
    task: Report,
    done: Data<UnboundedSender<String>>,
    context: TaskContext,
) -> TaskResult {
    let tick = context.header(TICK_HEADER).unwrap_or("a person");
    let _ = done.send(format!("shop {} because of {tick}", task.shop));
    Ok(())
}

fn main() -> oncue::Result<()> {
    oncue::block_on(async {
        let client = oncue::connect("sqlite::memory:").await?;
        let (done, mut reports) = unbounded_channel::<String>();

        // In the code of a worker: written into the broker when it starts, and left alone if it is there.
        let often = Entry::new("often", "@every 1s", Report { shop: 7 })?.runs(Runs::Skip);
        let worker = client.worker().handle(report).data(done).cron(often).start().await?;

        // By whoever has the key, while workers run.
        let cron = client.cron();
        let nightly = Entry::new("nightly", "30 2 * * *", Report { shop: 8 }.draft().max_retry(3))?
            .zone("Europe/Berlin")?
            .jitter(Duration::from_secs(300))
            .missed(Missed::Latest);
        cron.put(nightly).await?;
        cron.run_now("nightly").await?;

        for _ in 0..3 {
            println!("{}", reports.recv().await.unwrap_or_default());
        }
        for entry in cron.list().await? {
            println!("{}: {} ticks so far", entry.name, entry.ticks.len());
        }
        worker.shutdown().await?;
        Ok(())
    })
}
