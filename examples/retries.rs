//! How a run can end, and what follows: a policy, a delay of its own, no retry at all, not now, void.
//!
//! Five tasks, one per ending; every settlement is printed as it is written.

use std::time::Duration;

use oncue::event::Event;
use oncue::outcome::Decision;
use oncue::{RetryPolicy, Task, TaskContext, TaskError, TaskResult};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
enum Fetch {
    Flaky,
    RateLimited,
    Forbidden,
    NotYet,
    Obsolete,
}

impl Task for Fetch {
    const KIND: &'static str = "page:fetch";
    const MAX_RETRY: u32 = 5;
    const RETENTION: Duration = Duration::from_secs(60);
    /// 50 ms, 100 ms, 200 ms, at most 1 s.
    const RETRY: RetryPolicy = RetryPolicy {
        min: Duration::from_millis(50),
        max: Duration::from_secs(1),
        jitter: 0.0,
        ..RetryPolicy::DEFAULT
    };
}

async fn fetch(task: Fetch, context: TaskContext) -> TaskResult<String> {
    let first = context.attempt() == 1;
    match task {
        // Any error by `?` counts as a failed attempt and is retried by the policy.
        Fetch::Flaky if context.attempt() < 3 => Err(std::io::Error::other("connection reset"))?,
        // The server said how long to wait.
        Fetch::RateLimited if first => {
            let wait = Duration::from_millis(300);
            return Err(TaskError::retry_in(wait, "too many requests").class("http_429"));
        }
        // No retry can help: archived at once, for a person to look at.
        Fetch::Forbidden => return Err(TaskError::skip_retry("forbidden").class("http_403")),
        // Not a failure: the task comes back, and no attempt is counted.
        Fetch::NotYet if context.created().plus(Duration::from_millis(150)) > now() => {
            return Err(TaskError::snooze(Duration::from_millis(100)));
        }
        // Void: gone without a trace.
        Fetch::Obsolete => return Err(TaskError::revoke()),
        _ => {}
    }
    Ok(format!("fetched at attempt {}", context.attempt()))
}

fn now() -> oncue::clock::Timestamp {
    std::time::SystemTime::now().into()
}

fn tell(event: &Event) {
    let Event::Settled { decision, class, .. } = event else { return };
    let class = class.as_deref().map(|class| format!(" ({class})")).unwrap_or_default();
    match decision {
        Decision::Complete(_) => println!("  run ended: completed"),
        Decision::Retry(wait) => println!("  run ended: failed{class}, again in {wait:?}"),
        Decision::Snooze(wait) => println!("  run ended: put off for {wait:?}, at no cost"),
        Decision::Archive(reason) => println!("  run ended: archived{class}, {reason}"),
        other => println!("  run ended: {other:?}"),
    }
}

fn main() -> oncue::Result<()> {
    oncue::block_on(async {
        let client = oncue::connect("sqlite::memory:").await?;
        let worker = client.worker().handle(fetch).on_event(tell).start().await?;
        for (name, task) in [
            ("flaky, retried by policy", Fetch::Flaky),
            ("rate limited, retried after a delay of its own", Fetch::RateLimited),
            ("forbidden, never retried", Fetch::Forbidden),
            ("not yet, snoozed", Fetch::NotYet),
            ("obsolete, revoked", Fetch::Obsolete),
        ] {
            println!("{name}");
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
