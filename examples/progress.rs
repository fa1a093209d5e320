//! What a run leaves beside its task: progress for whoever waits, a log, and effects that are done once. All of it sealed.

use std::time::Duration;

use futures::StreamExt;
use oncue::{Task, TaskContext, TaskError, TaskResult};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Import {
    rows: u32,
}

impl Task for Import {
    const KIND: &'static str = "import";
    const RETENTION: Duration = Duration::from_secs(60);
    const RETRY: oncue::RetryPolicy = oncue::RetryPolicy::fixed(Duration::from_millis(50));
}

async fn import(task: Import, context: TaskContext) -> TaskResult<String> {
    // However often this runs, the customer is charged once. The key is the same every time: hand it on.
    let receipt = context
        .once("charge", async |key| {
            println!("  charged, under the key {}", &key[key.len() - 7..]);
            TaskResult::Ok("receipt 42".to_owned())
        })
        .await?;
    for row in (0..=task.rows).step_by(250) {
        context.progress(&(row, task.rows))?;
        tokio::time::sleep(Duration::from_millis(20)).await;
        if row == 500 && context.attempt() == 1 {
            context.log("row 500 is locked, trying again");
            return Err(TaskError::new("row 500 is locked").class("locked"));
        }
    }
    context.log("all rows are in");
    Ok(receipt)
}

fn main() -> oncue::Result<()> {
    oncue::block_on(async {
        let client = oncue::connect("sqlite::memory:").await?;
        let worker = client.worker().handle(import).start().await?;
        let job = client.enqueue(Import { rows: 1_000 }).await?;
        // Pushed as it comes, until the task has ended.
        let mut watched = std::pin::pin!(job.watch::<(u32, u32)>());
        while let Some(step) = watched.next().await {
            let (done, of) = step?;
            println!("  {done} of {of}");
        }
        println!("{}", job.result::<String>().await?);
        for line in job.log().await?.lines {
            println!("  attempt {}: {}", line.attempt, line.text);
        }
        worker.shutdown().await.map(drop)
    })
}
