//! Handlers in processes of their own: one crashes, one loops, one pries; the worker and its neighbors go on.

use std::time::Duration;

use oncue::event::Event;
use oncue::{Limits, Task, TaskContext, TaskResult};
use serde::{Deserialize, Serialize};

/// Work that cannot be trusted: a parser in C, a plugin, a script of a customer.
#[derive(Serialize, Deserialize)]
enum Work {
    Fine(u64),
    Loop,
    Abort,
    Pry,
}

impl Task for Work {
    const KIND: &'static str = "work";
    const MAX_RETRY: u32 = 0;
    const RETENTION: Duration = Duration::from_secs(60);
}

// A plain `fn`: it runs in a child, with nothing but its task.
fn work(task: Work, context: TaskContext) -> TaskResult<String> {
    match task {
        Work::Fine(n) => Ok(format!("{} in process {}", n * 2, std::process::id())),
        Work::Loop => loop {
            std::hint::black_box(context.attempt());
        },
        Work::Abort => std::process::abort(),
        Work::Pry => Ok(format!(
            "variables {}, /etc/shadow {}, network {}",
            std::env::vars().count(),
            std::fs::read("/etc/shadow").is_ok(),
            std::net::TcpStream::connect("192.0.2.1:80").is_ok(),
        )),
    }
}

fn tell(event: &Event) {
    match event {
        Event::Settled { class: Some(class), decision, .. } => println!("  {class}: {decision:?}"),
        Event::LimitsLacking { lacks, .. } => println!("  not enforced here: {lacks:?}"),
        _ => {}
    }
}

fn main() -> oncue::Result<()> {
    let limits =
        Limits { cpu: Some(Duration::from_secs(1)), memory: 256 << 20, ..Limits::default() };
    // First of all: in a child this never returns.
    let [work] = oncue::child([oncue::isolated(work).limits(limits).concurrency(2)]);
    oncue::block_on(async {
        let client = oncue::connect("sqlite::memory:").await?;
        let worker = client.worker().handle(work).on_event(tell).start().await?;
        for (name, task) in [
            ("pries", Work::Pry),
            ("aborts", Work::Abort),
            ("loops", Work::Loop),
            ("is fine", Work::Fine(21)),
        ] {
            println!("one that {name}");
            match client.enqueue(task).await?.result::<String>().await {
                Ok(result) => println!("  {result}"),
                Err(error) => println!("  {error}"),
            }
        }
        let report = worker.shutdown().await?;
        println!("completed {}, archived {}", report.completed, report.archived);
        Ok(())
    })
}
