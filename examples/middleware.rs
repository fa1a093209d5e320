//! Middleware on both sides: the client says for whom a task is, the worker measures, and keeps one tenant out; a hook
//! hears of what is dead.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use oncue::worker::Failed;
use oncue::{Call, Client, Error, Outgoing, Task, TaskContext, TaskError, TaskResult};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Report {
    pages: u32,
}

impl Task for Report {
    const KIND: &'static str = "report";
    const RETENTION: Duration = Duration::from_secs(60);
}

async fn report(task: Report, context: TaskContext) -> TaskResult<String> {
    let tenant = context.header("tenant").unwrap_or("nobody");
    Ok(format!("{} pages for {tenant}", task.pages))
}

/// A client that says for whom it enqueues: sealed, so that only a worker can read it.
fn client_of(client: &Client, tenant: &'static str) -> Client {
    client.with(move |task: &mut Outgoing<'_>| match tenant {
        "" => Err(Error::invalid(format!("a {} is enqueued for somebody", task.kind()))),
        _ => {
            task.header("tenant", tenant);
            Ok(())
        }
    })
}

/// How long runs took, all together.
#[derive(Clone, Default)]
struct Clock(Arc<AtomicU64>);

async fn measure(call: Call, clock: Clock) -> TaskResult<oncue::Output> {
    let began = Instant::now();
    let ended = call.proceed().await;
    let us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    clock.0.fetch_add(us, Ordering::Relaxed);
    ended
}

async fn keep_out(call: Call) -> TaskResult<oncue::Output> {
    match call.context().header("tenant") {
        Some("initech") => Err(TaskError::skip_retry("initech has not paid").class("unpaid")),
        _ => call.proceed().await,
    }
}

fn mourn(failed: &Failed) {
    let (kind, class) = (&failed.kind, failed.class.as_deref().unwrap_or("none"));
    println!("a {kind} is dead, class {class}: {}", failed.message);
}

fn main() -> oncue::Result<()> {
    oncue::block_on(async {
        let (client, clock) = (oncue::connect("sqlite::memory:").await?, Clock::default());
        let measured = clock.clone();
        let worker = client
            .worker()
            .handle(report)
            .around(move |call| measure(call, measured.clone()))
            .around(keep_out)
            .on_archive(mourn)
            .start()
            .await?;
        let paid = client_of(&client, "acme").enqueue(Report { pages: 3 }).await?;
        println!("{}", paid.result::<String>().await?);
        let unpaid = client_of(&client, "initech").enqueue(Report { pages: 9 }).await?;
        if let Err(error) = unpaid.result::<String>().await {
            println!("initech: {error}");
        }
        if let Err(error) = client_of(&client, "").enqueue(Report { pages: 1 }).await {
            println!("nobody: {error}");
        }
        let done = worker.shutdown().await?;
        let measured = clock.0.load(Ordering::Relaxed) > 0;
        println!("completed {}, archived {}, measured {measured}", done.completed, done.archived);
        Ok(())
    })
}
