//! `oncue queue`: counts of every queue; pausing, limiting and showing one. Needs no key.

mod limits;
mod show;

use std::fmt;
use std::time::Duration;

use clap::Subcommand;
use oncue::Result;
use oncue::broker::{Operate, QueueStats, Setting};
use oncue::clock::Timestamp;
use oncue::state::State;
use serde::Serialize;

use limits::Limits;

use super::output::{Output, brief, list, numbers};
use super::target::{Target, queue};

/// Queues.
#[derive(Subcommand)]
pub(super) enum Queue {
    /// List every queue with its counts
    List,
    /// Claim nothing more from a queue; what runs goes on
    Pause {
        /// The queue
        name: String,
    },
    /// Go on with a queue that is paused
    Resume {
        /// The queue
        name: String,
    },
    /// Set what a queue may hold, run at once, and keep; `none` takes a limit away
    Limit {
        /// The queue
        name: String,
        #[command(flatten)]
        limits: Limits,
    },
    /// Show one queue: its counts, its settings, its groups
    Show {
        /// The queue
        name: String,
    },
}

pub(super) async fn run(command: Queue, target: &Target, output: Output) -> Result<()> {
    let broker = target.inspect()?;
    let (name, setting) = match &command {
        Queue::List => return list_all(&*broker, output).await,
        Queue::Show { name } => return show::run(&*broker, name, output).await,
        Queue::Limit { name, limits } => {
            let settings = limits.settings()?;
            let queue = queue(&*broker, name).await?.queue;
            for setting in settings {
                broker.set(queue.clone(), setting).await?;
            }
            return show::run(&*broker, name, output).await;
        }
        Queue::Pause { name } => (name, Setting::Paused(true)),
        Queue::Resume { name } => (name, Setting::Paused(false)),
    };
    let queue = queue(&*broker, name).await?.queue;
    broker.set(queue.clone(), setting).await?;
    let stats = broker.stats().await?.into_iter().find(|stats| stats.queue == queue);
    let stats = stats.unwrap_or_else(|| QueueStats::empty(queue));
    output.print(&Set { queue: stats.queue.to_string(), paused: stats.paused })
}

/// Whether a queue is paused, as it is now.
#[derive(Serialize)]
struct Set {
    queue: String,
    paused: bool,
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paused = if self.paused { "paused" } else { "not paused" };
        write!(f, "queue {} is {paused}", self.queue)
    }
}

async fn list_all(broker: &dyn Operate, output: Output) -> Result<()> {
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
    paused: bool,
    limit: Option<u64>,
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
            paused: stats.paused,
            limit: stats.limit,
        }
    }
}

impl Counts {
    /// Tasks by state, as people go through them, and runs that ended.
    fn states(&self) -> [(&'static str, u64); 10] {
        [
            ("pending", self.pending),
            ("active", self.active),
            ("scheduled", self.scheduled),
            ("retry", self.retry),
            ("aggregating", self.aggregating),
            ("waiting", self.waiting),
            ("completed", self.completed),
            ("archived", self.archived),
            ("completed ever", self.completed_ever),
            ("failed ever", self.failed_ever),
        ]
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
            let paused = if queue.paused { " (paused)" } else { "" };
            let mut row = vec![format!("{}{paused}", queue.queue)];
            row.extend(counts.map(|count| count.to_string()));
            let oldest = queue.oldest_pending_s.map(Duration::from_secs_f64);
            row.push(oldest.map_or("-".into(), brief));
            table.add_row(row);
        }
        numbers(&mut table, 1..10);
        table.fmt(f)
    }
}
