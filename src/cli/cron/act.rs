//! `oncue cron pause|resume|run|remove|history`: one entry by its name.

use std::fmt;

use oncue::broker::Enqueued;
use oncue::timetable::{Listed, Origin};
use oncue::{Error, Result};
use serde::Serialize;

use super::entries;
use crate::cli::output::{Output, list};
use crate::cli::target::Target;

#[derive(clap::Args)]
pub(in crate::cli) struct Which {
    /// The entry
    name: String,
    /// Its queue; needed where several queues have an entry of this name
    #[arg(long)]
    queue: Option<String>,
}

pub(super) async fn pause(
    which: &Which,
    paused: bool,
    target: &Target,
    output: Output,
) -> Result<()> {
    let client = target.unkeyed()?;
    let cron = entries(&client, which.queue.as_deref())?;
    let changed = match paused {
        true => cron.pause(&which.name).await?,
        false => cron.resume(&which.name).await?,
    };
    let (entry, queue) = (which.name.clone(), cron.get(&which.name).await?.queue.to_string());
    output.print(&Paused { entry, queue, paused, changed })
}

/// Whether it stands in the code of a worker, which writes it as it stands there whenever it starts.
pub(super) fn is_static(listed: &Listed) -> bool {
    listed.plan().is_ok_and(|plan| plan.origin() == Origin::Static)
}

/// What people are told of a change that a worker undoes.
pub(super) const UNDONE: &str =
    "it stands in the code of a worker, which puts it back when it starts: change the code, too";

pub(super) async fn remove(which: &Which, target: &Target, output: Output) -> Result<()> {
    let client = target.unkeyed()?;
    let cron = entries(&client, which.queue.as_deref())?;
    let listed = cron.get(&which.name).await?;
    if !client.broker().remove_entry(listed.queue.clone(), listed.name.clone()).await? {
        return Err(Error::not_found(format!("entry {:?} is gone; it was removed", listed.name)));
    }
    let undone_at_start = is_static(&listed);
    let (entry, queue) = (listed.name, listed.queue.to_string());
    output.print(&Removed { entry, queue, removed: true, undone_at_start })
}

pub(super) async fn run(which: &Which, target: &Target, output: Output) -> Result<()> {
    let client = target.existing().await?;
    let handle = entries(&client, which.queue.as_deref())?.run_now(&which.name).await?;
    output.print(&Ran {
        id: handle.id().to_string(),
        entry: which.name.clone(),
        queue: handle.queue().to_string(),
        created: !matches!(handle.enqueued(), Enqueued::Held(_)),
    })
}

pub(super) async fn history(which: &Which, target: &Target, output: Output) -> Result<()> {
    let client = target.unkeyed()?;
    let listed = entries(&client, which.queue.as_deref())?.get(&which.name).await?;
    let mut ticks = Vec::with_capacity(listed.ticks.len());
    for (tick, id) in listed.ticks.into_iter().rev() {
        let view = client.broker().show(listed.queue.clone(), id).await?;
        let state = view.map(|view| view.state.to_string());
        ticks.push(Ticked { tick: tick.to_string(), id: id.to_string(), state });
    }
    output.print(&Told { entry: listed.name, queue: listed.queue.to_string(), ticks })
}

#[derive(Serialize)]
struct Paused {
    entry: String,
    queue: String,
    paused: bool,
    /// False: it was so already.
    changed: bool,
}

impl fmt::Display for Paused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.paused { "paused" } else { "not paused" };
        write!(f, "entry {} of queue {} is {how}", self.entry, self.queue)?;
        if self.changed { Ok(()) } else { f.write_str(" (was so)") }
    }
}

#[derive(Serialize)]
struct Removed {
    entry: String,
    queue: String,
    removed: bool,
    /// It stands in the code of a worker, and is back when that starts.
    undone_at_start: bool,
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {} of queue {} is removed", self.entry, self.queue)?;
        if self.undone_at_start { write!(f, "\n{UNDONE}") } else { Ok(()) }
    }
}

#[derive(Serialize)]
struct Ran {
    id: String,
    entry: String,
    queue: String,
    /// False: a task of an earlier tick has not ended, and the id is that one's.
    created: bool,
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)?;
        if self.created { Ok(()) } else { f.write_str(" (has not ended)") }
    }
}

#[derive(Serialize)]
struct Told {
    entry: String,
    queue: String,
    /// The latest first.
    ticks: Vec<Ticked>,
}

#[derive(Serialize)]
struct Ticked {
    tick: String,
    id: String,
    /// None: it is gone.
    state: Option<String>,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ticks.is_empty() {
            return write!(f, "nothing was enqueued for entry {} yet", self.entry);
        }
        let mut table = list(["tick", "task", "state"]);
        for tick in &self.ticks {
            table.add_row([&tick.tick, &tick.id, tick.state.as_deref().unwrap_or("gone")]);
        }
        table.fmt(f)
    }
}
