//! An actix actor as a handler: it keeps state between tasks, and after a panic its factory makes it anew.
//!
//! One replica of `Mailer` numbers the letters it sends. The letter to "panic" takes it down: that task fails
//! and is retried, the replica is rebuilt, its numbers start at 1 again, and no letter is lost.

use std::time::Duration;

use actix::{Actor, Context, Handler, ResponseFuture};
use oncue::{Client, Job, Output, RetryPolicy, Task, TaskResult};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Letter {
    to: String,
}

impl Task for Letter {
    const KIND: &'static str = "letter:send";
    const RETENTION: Duration = Duration::from_secs(60);
    const RETRY: RetryPolicy = RetryPolicy::fixed(Duration::from_millis(500));
}

/// Holds what a connection to a mail server would be, and how many letters went through it.
#[derive(Default)]
struct Mailer {
    sent: u32,
}

impl Actor for Mailer {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        println!("mailer: connected");
    }
}

impl Handler<Job<Letter>> for Mailer {
    type Result = ResponseFuture<TaskResult<Output>>;

    fn handle(&mut self, job: Job<Letter>, _: &mut Self::Context) -> Self::Result {
        if job.task.to == "panic" && job.context.attempt() == 1 {
            panic!("the mail server sent something nobody expected");
        }
        self.sent += 1;
        let receipt = format!("letter {} of this connection, to {}", self.sent, job.task.to);
        Box::pin(async move { Output::of(&receipt) })
    }
}

async fn send_all(client: &Client) -> oncue::Result<()> {
    for to in ["ada", "grace", "panic", "edsger"] {
        let job = client.enqueue(Letter { to: to.to_owned() }).await?;
        println!("{}", job.result::<String>().await?);
    }
    Ok(())
}

fn main() -> oncue::Result<()> {
    // The panic is expected: without this its message and backtrace would stand on the terminal.
    std::panic::set_hook(Box::new(|panic| eprintln!("mailer: {panic}")));
    oncue::block_on(async {
        let client = oncue::connect("sqlite::memory:").await?;
        let mailer = oncue::actor::<Letter, _>(Mailer::default).replicas(1);
        let worker = client.worker().handle(mailer).start().await?;
        send_all(&client).await?;
        let report = worker.shutdown().await?;
        println!(
            "completed {}, retried {}, replicas restarted {}",
            report.completed, report.retried, report.restarts
        );
        Ok(())
    })
}
