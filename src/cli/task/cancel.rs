//! `oncue task cancel`: a task is not to run, or not to run on.

use std::fmt;

use oncue::broker::Cancelled;
use oncue::queue::QueueName;
use oncue::{Error, Result, TaskId};
use serde::Serialize;

use super::show::find;
use crate::cli::output::Output;
use crate::cli::target::Target;

#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    /// The task's id
    id: String,
    /// Its queue; without, every queue is asked
    #[arg(long)]
    queue: Option<String>,
}

pub(super) async fn run(args: Args, target: &Target, output: Output) -> Result<()> {
    let id: TaskId = args.id.parse()?;
    let broker = target.inspect()?;
    let (queue, view) = find(&*broker, args.queue.as_deref(), id).await?;
    let name = QueueName::parse(&queue)?;
    let outcome = match broker.cancel(name, id).await? {
        Cancelled::Archived => "archived",
        Cancelled::Asked => "asked",
        Cancelled::Ended => {
            return Err(Error::invalid(format!("task {id} had ended: it is {}", view.state)));
        }
        Cancelled::Missing => {
            return Err(Error::not_found(format!("task {id} is gone; it ended meanwhile")));
        }
    };
    output.print(&Told { id: id.to_string(), queue, outcome })
}

#[derive(Serialize)]
struct Told {
    id: String,
    queue: String,
    /// `archived`: it waited. `asked`: it runs, and its worker was told.
    outcome: &'static str,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.outcome {
            "archived" => write!(f, "task {} waited and is archived as cancelled", self.id),
            _ => write!(f, "task {} runs; its worker was told to stop it", self.id),
        }
    }
}
