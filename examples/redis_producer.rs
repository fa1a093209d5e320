//! Enqueues greetings into a Redis and waits for one answer. Run `redis_worker` beside it, on any machine.
//!
//! Both need the same keys: `ONCUE_KEY` or `ONCUE_KEY_FILE`, made by `oncue key generate`.

use std::time::Duration;

use oncue::Task;

#[derive(serde::Serialize, serde::Deserialize)]
struct Greet(String);

impl Task for Greet {
    const KIND: &'static str = "greet";
    const RETENTION: Duration = Duration::from_secs(60);
}

fn main() -> oncue::Result<()> {
    let url = std::env::var("ONCUE_BROKER").unwrap_or_else(|_| "redis://localhost".to_owned());
    oncue::block_on(async {
        let client = oncue::connect(&url).await?;
        let jobs =
            client.enqueue_all(["Ada", "Grace", "Edsger"].map(|name| Greet(name.into()))).await?;
        println!("enqueued {}", jobs.len());
        for job in &jobs {
            println!("{}", job.result::<String>().timeout(Duration::from_secs(60)).await?);
        }
        Ok(())
    })
}
