//! `oncue task list`: one page of the tasks of a queue. Needs no key: it opens nothing.

use std::fmt;

use oncue::Result;
use oncue::broker::Page;
use oncue::clock::Timestamp;
use oncue::state::State;
use serde::Serialize;

use super::view::Clear;
use crate::cli::output::{Output, brief, list, numbers, plain};
use crate::cli::target::{self, Target};

#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    /// The queue
    #[arg(long)]
    queue: String,
    /// scheduled, pending, active, retry, completed, archived, aggregating or waiting
    #[arg(long)]
    state: String,
    /// Rows of the page, 1 to 1000
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: usize,
    /// Where the page before ended, as it said
    #[arg(long)]
    cursor: Option<String>,
}

pub(super) async fn run(args: Args, target: &Target, output: Output) -> Result<()> {
    let state: State = args.state.parse()?;
    let broker = target.inspect()?;
    let queue = target::queue(&*broker, &args.queue).await?.queue;
    let page = Page { queue, state, cursor: args.cursor, rows: args.limit };
    let (listing, now) = (broker.list(page).await?, broker.now());
    let tasks = listing.tasks.iter().map(Clear::of).collect();
    output.print(&Listed { queue: args.queue, tasks, cursor: listing.cursor, now })
}

#[derive(Serialize)]
struct Listed {
    queue: String,
    tasks: Vec<Clear>,
    /// Where the next page starts; none if this was the last.
    cursor: Option<String>,
    #[serde(skip)]
    now: Timestamp,
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tasks.is_empty() {
            return f.write_str("no tasks");
        }
        let mut table = list(["id", "kind", "failed", "age", "until", "why"]);
        for task in &self.tasks {
            let (created, until) = task.times;
            let why = [task.reason, task.class.as_deref(), task.damage.as_deref()];
            table.add_row([
                task.id.clone(),
                task.kind.clone(),
                task.attempts.to_string(),
                created.map(|created| brief(self.now.since(created))).unwrap_or_default(),
                until
                    .map(|until| format!("in {}", brief(until.since(self.now))))
                    .unwrap_or_default(),
                plain(&why.into_iter().flatten().collect::<Vec<_>>().join(", ")),
            ]);
        }
        numbers(&mut table, 2..4);
        table.fmt(f)?;
        match &self.cursor {
            Some(cursor) => write!(f, "\nmore with --cursor {cursor}"),
            None => Ok(()),
        }
    }
}
