//! `oncue task enqueue`: a kind and a payload in JSON, from the command line, a file or standard input.

use std::fmt;
use std::io::Read;
use std::time::{Duration, SystemTime};

use oncue::codec::PAYLOAD_BYTES_MAX;
use oncue::task::RawTask;
use oncue::{Error, Group, Result, Unique};
use serde::Serialize;

use crate::cli::output::Output;
use crate::cli::target::Target;

#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    /// The kind, which names the handler
    #[arg(long)]
    kind: String,
    /// The payload: JSON, @FILE, or - for standard input
    #[arg(long, value_name = "JSON|@FILE|-", allow_hyphen_values = true)]
    payload: String,
    /// The queue
    #[arg(long, default_value = "default")]
    queue: String,
    /// A key of your own: enqueueing it again finds the first task, until 24 h after its end
    #[arg(long)]
    key: Option<String>,
    /// Not before this delay is over, such as 5s or 2h30m
    #[arg(long = "in", value_name = "DURATION", conflicts_with = "at", value_parser = humantime::parse_duration)]
    after: Option<Duration>,
    /// Not before this time, UTC, such as 2026-12-24T18:00:00Z
    #[arg(long, value_name = "RFC3339", value_parser = humantime::parse_rfc3339_weak)]
    at: Option<SystemTime>,
    /// How many times a failed run is repeated
    #[arg(long, value_name = "N")]
    max_retry: Option<u32>,
    /// How long one run may take; 0s means no limit
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    /// No run starts after this time, UTC, and a running one is stopped
    #[arg(long, value_name = "RFC3339", value_parser = humantime::parse_rfc3339_weak)]
    deadline: Option<SystemTime>,
    /// How long it may wait for its first run, from when it is due
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    expires: Option<Duration>,
    /// How long the task and its result are kept once completed
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    retention: Option<Duration>,
    /// From 0 to 9: within its kind and queue a higher one goes first
    #[arg(long, value_name = "N", default_value_t = 0)]
    priority: u8,
    /// Before all that waits already with its kind and priority
    #[arg(long, conflicts_with_all = ["after", "at"])]
    front: bool,
    /// A word to find the task by, in clear; may be given again
    #[arg(long = "tag", value_name = "WORD")]
    tags: Vec<String>,
    #[command(flatten)]
    unique: Only,
    #[command(flatten)]
    group: Gathers,
    /// A header for the handler, sealed with the payload; may be given again
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
}

/// Whether there is to be one of its sort at a time.
#[derive(clap::Args)]
#[group(multiple = true)]
struct Only {
    /// One of its kind and payload until it has ended, for this long at most, counted from when it is due
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    unique: Option<Duration>,
    /// Alike are tasks with this key, in place of the whole payload
    #[arg(long, value_name = "KEY", requires = "unique", conflicts_with = "unique_fields")]
    unique_key: Option<String>,
    /// Alike are tasks that agree in these fields of their payload
    #[arg(long, value_name = "FIELD,..", requires = "unique", value_delimiter = ',')]
    unique_fields: Vec<String>,
    /// Until its first run starts, until it has ended, or for the whole time
    #[arg(long, value_name = "WHEN", requires = "unique", default_value = "end")]
    unique_until: Until,
    /// What becomes of a second one: it is dropped, takes the place of the first, or moves it
    #[arg(long, value_name = "WHAT", requires = "unique", default_value = "drop")]
    on_conflict: OnConflict,
}

/// Whether it gathers with others.
#[derive(clap::Args)]
#[group(multiple = true)]
struct Gathers {
    /// Gathers with tasks of its kind that name the same group, to be run together
    #[arg(long, value_name = "NAME", conflicts_with_all = ["front", "priority"])]
    group: Option<String>,
    /// The group closes when nothing joined it for this long [default: 1min]
    #[arg(long, value_name = "DURATION", requires = "group", value_parser = humantime::parse_duration)]
    group_grace: Option<Duration>,
    /// And this long after its first task at the latest
    #[arg(long, value_name = "DURATION", requires = "group", value_parser = humantime::parse_duration)]
    group_within: Option<Duration>,
    /// And at once when it has so many tasks [default: 500]
    #[arg(long, value_name = "N", requires = "group")]
    group_most: Option<usize>,
}

impl Gathers {
    fn group(self) -> Option<Group> {
        let mut group = Group::named(self.group?);
        if let Some(grace) = self.group_grace {
            group = group.grace(grace);
        }
        if let Some(within) = self.group_within {
            group = group.within(within);
        }
        if let Some(most) = self.group_most {
            group = group.most(most);
        }
        Some(group)
    }
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Until {
    Start,
    End,
    Always,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum OnConflict {
    Drop,
    Replace,
    Reschedule,
}

impl Only {
    fn unique(self) -> Option<Unique> {
        let lasts = self.unique?;
        let unique = match self.unique_until {
            Until::Start => Unique::until_start(),
            Until::End => Unique::until_end(),
            Until::Always => Unique::for_ever(),
        };
        let unique = match (self.unique_key, self.unique_fields) {
            (Some(key), _) => unique.key(key),
            (None, fields) if !fields.is_empty() => unique.fields(fields),
            _ => unique,
        };
        let unique = match self.on_conflict {
            OnConflict::Drop => unique,
            OnConflict::Replace => unique.replace(),
            OnConflict::Reschedule => unique.reschedule(),
        };
        Some(unique.lasts(lasts))
    }
}

pub(super) async fn run(args: Args, target: &Target, output: Output) -> Result<()> {
    let payload = payload(&args.payload)?;
    let mut draft = RawTask::json(&args.kind, &payload)?.draft().queue(&args.queue);
    if let Some(key) = args.key {
        draft = draft.key(key);
    }
    if let Some(delay) = args.after {
        draft = draft.after(delay);
    }
    if let Some(time) = args.at {
        draft = draft.at(time);
    }
    if let Some(retries) = args.max_retry {
        draft = draft.max_retry(retries);
    }
    if let Some(timeout) = args.timeout {
        draft = draft.timeout(timeout);
    }
    if let Some(time) = args.deadline {
        draft = draft.deadline(time);
    }
    if let Some(wait) = args.expires {
        draft = draft.expires(wait);
    }
    if let Some(keep) = args.retention {
        draft = draft.retention(keep);
    }
    draft = draft.priority(args.priority);
    if args.front {
        draft = draft.front();
    }
    if let Some(group) = args.group.group() {
        draft = draft.group(group);
    }
    for tag in args.tags {
        draft = draft.tag(tag);
    }
    if let Some(unique) = args.unique.unique() {
        draft = draft.unique(unique);
    }
    for (name, value) in args.headers {
        draft = draft.header(name, value);
    }
    let handle = target.client().await?.enqueue_raw(draft).await?;
    output.print(&Enqueued {
        id: handle.id().to_string(),
        queue: handle.queue().to_string(),
        kind: args.kind,
        created: handle.is_created(),
    })
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// The text of the payload. No more is read than one byte over the limit, so that it is still refused.
pub(in crate::cli) fn payload(source: &str) -> Result<String> {
    let read = |reader: &mut dyn Read, what: &str| {
        let unreadable = || Error::invalid(format!("cannot read {what}"));
        let mut bytes = Vec::new();
        reader
            .take(PAYLOAD_BYTES_MAX as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| unreadable().because(error))?;
        // Before it is looked at as text: the limit may lie within a character.
        if bytes.len() > PAYLOAD_BYTES_MAX {
            return Err(Error::too_large(format!(
                "{what} is over the limit of {PAYLOAD_BYTES_MAX} bytes; store the data elsewhere and enqueue \
                 where it is"
            )));
        }
        String::from_utf8(bytes).map_err(|error| unreadable().because(error.utf8_error()))
    };
    if source == "-" {
        return read(&mut std::io::stdin().lock(), "the payload on standard input");
    }
    match source.strip_prefix('@') {
        None => Ok(source.to_owned()),
        Some(path) => {
            let what = format!("the payload in {path}");
            let mut file = std::fs::File::open(path)
                .map_err(|error| Error::invalid(format!("cannot read {what}")).because(error))?;
            read(&mut file, &what)
        }
    }
}

#[derive(Serialize)]
struct Enqueued {
    id: String,
    queue: String,
    kind: String,
    /// False: a task of the same key or sort was there, or is remembered.
    created: bool,
}

impl fmt::Display for Enqueued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)?;
        if self.created { Ok(()) } else { f.write_str(" (was there)") }
    }
}
