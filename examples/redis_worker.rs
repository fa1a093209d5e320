//! Greets whoever `redis_producer` names, until Ctrl-C or SIGTERM.
//!
//! Start as many as you like, on any machine. When one dies, its tasks run on another after its lease, 15 s.
//! All need the same keys: `ONCUE_KEY` or `ONCUE_KEY_FILE`, made by `oncue key generate`.

use oncue::{Task, TaskResult};

#[derive(serde::Serialize, serde::Deserialize)]
struct Greet(String);

impl Task for Greet {
    const KIND: &'static str = "greet";
}

async fn greet(task: Greet) -> TaskResult<String> {
    Ok(format!("hello {}", task.0))
}

fn main() -> oncue::Result<()> {
    let url = std::env::var("ONCUE_BROKER").unwrap_or_else(|_| "redis://localhost".to_owned());
    oncue::block_on(async {
        let client = oncue::connect(&url).await?;
        let worker = client.worker().handle(greet).start().await?;
        println!("at work");
        let report = worker.run().await?;
        println!("completed {}", report.completed);
        Ok(())
    })
}
