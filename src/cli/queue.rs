//! `oncue queue`: counts of every queue. Changes nothing and needs no key.

use std::fmt;
use std::time::Duration;

use clap::Subcommand;
use oncue::Result;
use oncue::broker::QueueStats;
use oncue::clock::Timestamp;
use oncue::state::State;
use serde::Serialize;

use super::output::{Output, brief, list, numbers};
use super::target::Target;

/// Queues.
#[derive(Subcommand)]
pub(super) enum Queue {
    /// List every queue with its counts
    List,
}

pub(super) async fn run(command: Queue, target: &Target, output: Output) -> Result<()> {
    let Queue::List = command;
    let broker = target.inspect()?;
    let now = broker.now();
    let queues = broker.stats().await?.iter().map(|stats| Counts::of(stats, now)).collect();
    output.print(&Listed { queues })
}

#[derive(Serialize)]
struct Listed {
    queues: Vec<Counts>,
}

/// One queue. `completed_ever` and `failed_ever` count runs, the rest counts tasks.
#[derive(Serialize)]
struct Counts {
    queue: String,
    pending: u64,
    active: u64,
    scheduled: u64,
    retry: u64,
    archived: u64,
    completed: u64,
    aggregating: u64,
    waiting: u64,
    completed_ever: u64,
    failed_ever: u64,
    /// How long the first pending task waits.
    oldest_pending_s: Option<f64>,
}

impl Counts {
    fn of(stats: &QueueStats, now: Timestamp) -> Self {
        Self {
            queue: stats.queue.to_string(),
            pending: stats.count(State::Pending),
            active: stats.count(State::Active),
            scheduled: stats.count(State::Scheduled),
            retry: stats.count(State::Retry),
            archived: stats.count(State::Archived),
            completed: stats.count(State::Completed),
            aggregating: stats.count(State::Aggregating),
            waiting: stats.count(State::Waiting),
            completed_ever: stats.completed,
            failed_ever: stats.failed,
            oldest_pending_s: stats.oldest.map(|oldest| now.since(oldest).as_secs_f64()),
        }
    }
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.queues.is_empty() {
            return f.write_str("no queues yet");
        }
        let mut table = list([
            "queue",
            "pending",
            "active",
            "scheduled",
            "retry",
            "archived",
            "kept",
            "completed\never",
            "failed\never",
            "oldest",
        ]);
        for queue in &self.queues {
            let counts = [
                queue.pending,
                queue.active,
                queue.scheduled,
                queue.retry,
                queue.archived,
                queue.completed,
                queue.completed_ever,
                queue.failed_ever,
            ];
            let mut row = vec![queue.queue.clone()];
            row.extend(counts.map(|count| count.to_string()));
            let oldest = queue.oldest_pending_s.map(Duration::from_secs_f64);
            row.push(oldest.map_or("-".into(), brief));
            table.add_row(row);
        }
        numbers(&mut table, 1..10);
        table.fmt(f)
    }
}
