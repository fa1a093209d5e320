//! `oncue task run|archive|delete|reschedule`: a person does something to tasks that do not run.

use std::fmt;
use std::time::{Duration, SystemTime};

use oncue::broker::{Act, Acted};
use oncue::queue::QueueName;
use oncue::task::Due;
use oncue::{Error, Result, TaskId};
use serde::Serialize;

use super::show::find;
use crate::cli::output::Output;
use crate::cli::target::Target;

#[derive(clap::Args)]
pub(in crate::cli) struct Which {
    /// The task's id
    id: String,
    /// Its queue; without, every queue is asked
    #[arg(long)]
    queue: Option<String>,
}

#[derive(clap::Args)]
pub(in crate::cli) struct When {
    #[command(flatten)]
    which: Which,
    /// Not before this delay is over, such as 5s or 2h30m
    #[arg(long = "in", value_name = "DURATION", required_unless_present = "at", conflicts_with = "at", value_parser = humantime::parse_duration)]
    after: Option<Duration>,
    /// Not before this time, UTC, such as 2026-12-24T18:00:00Z
    #[arg(long, value_name = "RFC3339", value_parser = humantime::parse_rfc3339_weak)]
    at: Option<SystemTime>,
}

pub(super) async fn reschedule(args: When, target: &Target, output: Output) -> Result<()> {
    let due = match (args.after, args.at) {
        (Some(delay), _) => Due::In(delay),
        (None, Some(time)) => Due::At(time.into()),
        (None, None) => Due::Now,
    };
    run(args.which, Act::Reschedule(due), target, output).await
}

pub(super) async fn run(args: Which, act: Act, target: &Target, output: Output) -> Result<()> {
    let id: TaskId = args.id.parse()?;
    let broker = target.inspect()?;
    let (queue, _) = find(&*broker, args.queue.as_deref(), id).await?;
    let (did, be) = match act {
        Act::Run => ("pending", "let run"),
        Act::Archive => ("archived", "archived"),
        Act::Delete => ("deleted", "deleted"),
        Act::Reschedule(_) => ("rescheduled", "rescheduled"),
    };
    match broker.act(QueueName::parse(&queue)?, id, act).await? {
        Acted::Done => output.print(&Told { id: id.to_string(), queue, did }),
        Acted::Missing => Err(Error::not_found(format!("task {id} is gone; it ended meanwhile"))),
        Acted::Not(state) => {
            let hint = if state == oncue::state::State::Active { "; cancel it first" } else { "" };
            Err(Error::invalid(format!("task {id} is {state}: it cannot be {be}{hint}")))
        }
        Acted::Changed => Err(Error::invalid(format!("task {id} was changed meanwhile"))),
    }
}

#[derive(Serialize)]
struct Told {
    id: String,
    queue: String,
    /// `pending`, `archived`, `deleted` or `rescheduled`.
    did: &'static str,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {} is {}", self.id, self.did)
    }
}
