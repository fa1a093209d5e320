//! `oncue cron add|edit`: an entry from the command line, or what is given of one changed.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;
use oncue::clock::Timestamp;
use oncue::task::RawTask;
use oncue::timetable::{Entry, Missed, Runs};
use oncue::{Error, Result};
use serde::Serialize;

use super::act::{UNDONE, is_static};
use super::entries;
use super::preview::{GapPolicy, OverlapPolicy};
use crate::cli::output::Output;
use crate::cli::target::Target;
use crate::cli::task::enqueue::payload;

#[derive(clap::Args)]
pub(in crate::cli) struct Add {
    /// Its name, unique in its queue
    name: String,
    /// The schedule, quoted; see `oncue cron preview --help`
    #[arg(value_name = "SPEC")]
    schedule: String,
    /// The kind, which names the handler
    #[arg(long)]
    kind: String,
    /// The payload: JSON, @FILE, or - for standard input
    #[arg(long, value_name = "JSON|@FILE|-", allow_hyphen_values = true)]
    payload: String,
    /// The queue
    #[arg(long, default_value = "default")]
    queue: String,
    #[command(flatten)]
    how: How,
}

#[derive(clap::Args)]
pub(in crate::cli) struct Edit {
    /// The entry
    name: String,
    /// Its queue; needed where several queues have an entry of this name
    #[arg(long)]
    queue: Option<String>,
    /// Another schedule, quoted
    #[arg(long, value_name = "SPEC")]
    schedule: Option<String>,
    /// Another payload: JSON, @FILE, or - for standard input
    #[arg(long, value_name = "JSON|@FILE|-", allow_hyphen_values = true)]
    payload: Option<String>,
    #[command(flatten)]
    how: How,
}

/// What can be given, and changed, of every entry.
#[derive(clap::Args)]
struct How {
    /// The time zone, by its IANA name [default: UTC]
    #[arg(long, value_name = "AREA/CITY")]
    zone: Option<String>,
    /// What becomes of ticks that came while no worker was there: one task for the latest, one
    /// for each (of the latest 1000), or none [default: latest]
    #[arg(long, value_enum)]
    missed: Option<MissedPolicy>,
    /// No tick is enqueued later than this after it came
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    catch_up: Option<Duration>,
    /// What becomes of a tick while the task of an earlier one has not ended [default: allow]
    #[arg(long, value_enum)]
    overlap_runs: Option<RunsPolicy>,
    /// A fixed time that does not exist ticks at the first moment after the gap, or not
    /// [default: shift]
    #[arg(long, value_enum)]
    gap: Option<GapPolicy>,
    /// A fixed time that comes twice ticks the first time, or both times [default: first]
    #[arg(long, value_enum)]
    overlap: Option<OverlapPolicy>,
    /// Its tasks are due up to this long after each tick
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    jitter: Option<Duration>,
    /// How many times a failed run is repeated
    #[arg(long, value_name = "N")]
    max_retry: Option<u32>,
    /// How long one run may take; 0s means no limit
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    /// How long a task may wait for its first run, from when it is due
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    expires: Option<Duration>,
    /// How long a task and its result are kept once completed
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    retention: Option<Duration>,
    /// From 0 to 9: within its kind and queue a higher one goes first
    #[arg(long, value_name = "N")]
    priority: Option<u8>,
    /// A word to find its tasks by, in clear; may be given again; replaces those there are
    #[arg(long = "tag", value_name = "WORD")]
    tags: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum MissedPolicy {
    Latest,
    All,
    Skip,
}

#[derive(Clone, Copy, ValueEnum)]
enum RunsPolicy {
    Allow,
    Skip,
    Queue,
}

impl How {
    fn apply(&self, mut entry: Entry) -> Result<Entry> {
        if let Some(zone) = &self.zone {
            entry = entry.zone(zone)?;
        }
        if let Some(missed) = self.missed {
            entry = entry.missed(match missed {
                MissedPolicy::Latest => Missed::Latest,
                MissedPolicy::All => Missed::All,
                MissedPolicy::Skip => Missed::Skip,
            });
        }
        if self.catch_up.is_some() {
            entry = entry.catch_up(self.catch_up);
        }
        if let Some(runs) = self.overlap_runs {
            entry = entry.runs(match runs {
                RunsPolicy::Allow => Runs::Allow,
                RunsPolicy::Skip => Runs::Skip,
                RunsPolicy::Queue => Runs::Queue,
            });
        }
        if let Some(gap) = self.gap {
            entry = entry.gap(gap.into());
        }
        if let Some(overlap) = self.overlap {
            entry = entry.overlap(overlap.into());
        }
        if let Some(jitter) = self.jitter {
            entry = entry.jitter(jitter);
        }
        if !self.tags.is_empty() {
            entry = entry.tags(&self.tags)?;
        }
        entry.options(|header| {
            header.max_retry = self.max_retry.unwrap_or(header.max_retry);
            header.timeout = self.timeout.unwrap_or(header.timeout);
            header.retention = self.retention.unwrap_or(header.retention);
            header.priority = self.priority.unwrap_or(header.priority);
            header.expires = self.expires.map(|wait| Timestamp(0).plus(wait)).or(header.expires);
        })
    }
}

pub(super) async fn add(args: Add, target: &Target, output: Output) -> Result<()> {
    let task = RawTask::json(&args.kind, &payload(&args.payload)?)?;
    let entry = Entry::raw(&args.name, &args.schedule, task.draft().queue(&args.queue))?;
    let entry = args.how.apply(entry)?;
    let cron = target.client().await?.cron().queue(&args.queue)?;
    match cron.get(&args.name).await {
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(error),
        Ok(_) => {
            return Err(Error::invalid(format!(
                "there is an entry {:?} in queue {}; change it with `oncue cron edit`",
                args.name, args.queue
            )));
        }
    }
    cron.put(entry).await?;
    told(&cron, &args.name, "added", output).await
}

pub(super) async fn edit(args: Edit, target: &Target, output: Output) -> Result<()> {
    let other = args.payload.as_deref().map(payload).transpose()?;
    let client = target.existing().await?;
    let cron = entries(&client, args.queue.as_deref())?;
    let change = |mut entry: Entry| {
        if let Some(schedule) = &args.schedule {
            entry = entry.schedule(schedule)?;
        }
        if let Some(payload) = &other {
            entry = entry.payload(payload)?;
        }
        args.how.apply(entry)
    };
    cron.edit(&args.name, change).await?;
    told(&cron, &args.name, "changed", output).await
}

async fn told(cron: &oncue::Cron, name: &str, did: &'static str, output: Output) -> Result<()> {
    let listed = cron.get(name).await?;
    let next = listed.next().map(|next| next.to_string());
    let undone_at_start = is_static(&listed);
    let (entry, queue) = (listed.name, listed.queue.to_string());
    output.print(&Written { entry, queue, did, next, undone_at_start })
}

#[derive(Serialize)]
struct Written {
    entry: String,
    queue: String,
    /// `added` or `changed`.
    did: &'static str,
    /// The next tick.
    next: Option<String>,
    /// It stands in the code of a worker, which writes it as it is there when it starts.
    undone_at_start: bool,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { entry, queue, did, next, undone_at_start } = self;
        write!(f, "entry {entry} of queue {queue} is {did}; next tick: ")?;
        f.write_str(next.as_deref().unwrap_or("none"))?;
        if *undone_at_start { write!(f, "\n{UNDONE}") } else { Ok(()) }
    }
}
