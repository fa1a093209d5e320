//! `oncue task cancel`: a task is not to run, or not to run on.

use std::fmt;

use oncue::broker::Cancelled;
use oncue::queue::QueueName;
use oncue::state::State;
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
    let (queue, _) = find(&*broker, args.queue.as_deref(), id).await?;
    let name = QueueName::parse(&queue)?;
    let outcome = match broker.cancel(name.clone(), id).await? {
        Cancelled::Archived => "archived",
        Cancelled::Asked => "asked",
        Cancelled::Ended => {
            // It may have ended since it was found.
            let now = broker.show(name, id).await?.map(|view| view.state);
            return Err(ended(id, now));
        }
        Cancelled::Missing => {
            return Err(Error::not_found(format!("task {id} is gone; it ended meanwhile")));
        }
    };
    output.print(&Told { id: id.to_string(), queue, outcome })
}

/// That it had ended, and as what if that can still be seen.
fn ended(id: TaskId, now: Option<State>) -> Error {
    Error::invalid(match now.filter(|state| state.is_terminal()) {
        Some(state) => format!("task {id} had ended: it is {state}"),
        None => format!("task {id} had ended"),
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_task_has_ended_and_is_active() {
        let id = TaskId::fresh();
        let told = |now| ended(id, now).to_string();
        assert!(told(Some(State::Completed)).contains("had ended: it is completed"));
        for state in [None, Some(State::Active), Some(State::Pending)] {
            assert!(told(state).ends_with("had ended"), "{}", told(state));
        }
    }
}
