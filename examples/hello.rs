//! Enqueues a greeting and prints its sealed result.

use oncue::TaskResult;

#[derive(serde::Serialize, serde::Deserialize)]
struct Greet(String);

impl oncue::Task for Greet {
    const KIND: &'static str = "greet";
    const RETENTION: std::time::Duration = std::time::Duration::from_secs(60);
}

async fn greet(task: Greet) -> TaskResult<String> {
    Ok(format!("hello {}", task.0))
}

fn main() -> oncue::Result<()> {
    oncue::block_on(async {
        let client = oncue::connect("sqlite:hello.db").await?;
        let worker = client.worker().handle(greet).start().await?;
        let job = client.enqueue(Greet("Ada".into())).await?;
        println!("{}", job.result::<String>().await?);
        worker.shutdown().await.map(drop)
    })
}
