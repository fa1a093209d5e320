//! `oncue task show`: one task; with `--reveal`, and the key, what is sealed in it too.

use std::collections::BTreeMap;
use std::fmt;

use data_encoding::BASE64;
use oncue::broker::{Operate, TaskView};
use oncue::codec::Codec;
use oncue::seal::{Purpose, Seat};
use oncue::task::{Line, Log};
use oncue::{Client, Error, Result, TaskId};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::view::Clear;
use crate::cli::output::{Output, plain, table};
use crate::cli::target::{self, Target};

#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    /// The task's id
    id: String,
    /// Its queue; without, every queue is asked
    #[arg(long)]
    queue: Option<String>,
    /// Open payload, headers, result and error; needs the key, and prints what it protects
    #[arg(long)]
    reveal: bool,
}

pub(super) async fn run(args: Args, target: &Target, output: Output) -> Result<()> {
    let id: TaskId = args.id.parse()?;
    let client = if args.reveal { Some(target.existing().await?) } else { None };
    let broker = match &client {
        Some(client) => client.broker().clone(),
        None => target.inspect()?,
    };
    let (queue, view) = find(&*broker, args.queue.as_deref(), id).await?;
    let revealed = match &client {
        Some(client) => Some(reveal(client, &queue, &view).await?),
        None => None,
    };
    output.print(&Shown { queue, clear: Clear::of(&view), limits: Limits::of(&view), revealed })
}

pub(super) async fn find(
    broker: &dyn Operate,
    queue: Option<&str>,
    id: TaskId,
) -> Result<(String, TaskView)> {
    let queues = match queue {
        Some(name) => vec![target::queue(broker, name).await?],
        None => broker.stats().await?,
    };
    for stats in queues {
        if let Some(view) = broker.show(stats.queue.clone(), id).await? {
            return Ok((stats.queue.to_string(), view));
        }
    }
    let place = queue.map_or("here".to_owned(), |queue| format!("in queue {queue}"));
    Err(Error::not_found(format!(
        "there is no task {id} {place}; one that completed without retention is gone"
    )))
}

async fn reveal(client: &Client, queue: &str, view: &TaskView) -> Result<Revealed> {
    let handle = client.handle(queue, view.stored.id())?;
    let opened = client.sealer().open_task(&view.stored)?;
    let result = match &view.result {
        Some(kept) => {
            let (task, header) = (view.stored.id(), view.stored.header_bytes());
            let seat = Seat { purpose: Purpose::Result, task, attempt: kept.attempt, header };
            let opened = client.sealer().open(&seat, &kept.sealed)?;
            Some(readable(opened.codec, &opened.plaintext))
        }
        None => None,
    };
    Ok(Revealed {
        payload: readable(opened.codec, &opened.body),
        headers: opened.headers,
        result,
        error: client.failure(view),
        progress: handle.progress().await?,
        log: handle.log().await?,
    })
}

/// JSON as it is; anything else as base64, since only its type can read it.
fn readable(codec: Codec, bytes: &[u8]) -> Value {
    let json = if codec == Codec::Json { serde_json::from_slice(bytes).ok() } else { None };
    json.unwrap_or_else(|| json!({ "base64": BASE64.encode(bytes) }))
}

#[derive(Serialize)]
struct Shown {
    queue: String,
    #[serde(flatten)]
    clear: Clear,
    limits: Option<Limits>,
    /// Only with `--reveal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    revealed: Option<Revealed>,
}

#[derive(Serialize)]
struct Limits {
    timeout_ms: u64,
    deadline: Option<String>,
    expires: Option<String>,
    retention_ms: u64,
    /// The key its payload is sealed with.
    key: Option<u32>,
}

impl Limits {
    fn of(view: &TaskView) -> Option<Self> {
        let header = view.stored.header().ok()?;
        let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Some(Self {
            timeout_ms: ms(header.timeout),
            deadline: header.deadline.map(|time| time.to_string()),
            expires: header.expires.map(|time| time.to_string()),
            retention_ms: ms(header.retention),
            key: view.stored.key_id(),
        })
    }
}

#[derive(Serialize)]
struct Revealed {
    payload: Value,
    #[serde(serialize_with = "named")]
    headers: Vec<(String, String)>,
    result: Option<Value>,
    error: Option<String>,
    /// What the latest run told last of how far it is.
    progress: Option<Value>,
    /// What the runs said.
    #[serde(serialize_with = "dated")]
    log: Log,
}

/// By name: its value, or a list of values in their order if the name is there several times.
fn named<S: Serializer>(headers: &[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut named: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, value) in headers {
        named.entry(name).or_default().push(value);
    }
    serializer.collect_map(named.into_iter().map(|(name, values)| match values[..] {
        [value] => (name, json!(value)),
        _ => (name, json!(values)),
    }))
}

/// As the library has it, but with times as all commands write them.
fn dated<S: Serializer>(log: &Log, serializer: S) -> Result<S::Ok, S::Error> {
    let line = |line: &Line| json!({ "at": line.at.to_string(), "attempt": line.attempt, "text": line.text });
    let lines: Vec<_> = log.lines.iter().map(line).collect();
    json!({ "dropped": log.dropped, "lines": lines }).serialize(serializer)
}

/// A time that is none at zero.
fn time(ms: u64) -> String {
    match ms {
        0 => "none".to_owned(),
        ms => humantime::format_duration(std::time::Duration::from_millis(ms)).to_string(),
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Clear { id, kind, state, attempts, max_retry, crashes, created, .. } = &self.clear;
        let mut table = table(["task", id]);
        let mut row = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                table.add_row([name, &plain(&value)]);
            }
        };
        row("kind", Some(kind.clone()));
        row("queue", Some(self.queue.clone()));
        row("state", Some((*state).to_owned()));
        row("until", self.clear.until.clone());
        row("reason", self.clear.reason.map(str::to_owned));
        row("created", Some(created.clone()));
        row("failed runs", Some(format!("{attempts} of {} allowed", u64::from(*max_retry) + 1)));
        row("priority", (self.clear.priority > 0).then(|| self.clear.priority.to_string()));
        row("tags", (!self.clear.tags.is_empty()).then(|| self.clear.tags.join(" ")));
        row("crashes", (*crashes > 0).then(|| crashes.to_string()));
        row("last failure", self.clear.class.clone());
        row("damage", self.clear.damage.clone());
        if let Some(limits) = &self.limits {
            row("timeout", Some(time(limits.timeout_ms)));
            row("deadline", limits.deadline.clone());
            row("expires", limits.expires.clone());
            row("kept once completed", Some(time(limits.retention_ms)));
            row("sealed with key", limits.key.map(|key| key.to_string()));
        }
        row("record", Some(format!("{} bytes", self.clear.record_bytes)));
        if let Some(revealed) = &self.revealed {
            row("payload", Some(revealed.payload.to_string()));
            for (name, value) in &revealed.headers {
                row("header", Some(format!("{name}: {value}")));
            }
            row("result", revealed.result.as_ref().map(Value::to_string));
            for line in revealed.error.iter().flat_map(|error| error.lines()) {
                row("error", Some(line.to_owned()));
            }
            row("progress", revealed.progress.as_ref().map(Value::to_string));
            if revealed.log.dropped > 0 {
                row("log", Some(format!("({} older lines are gone)", revealed.log.dropped)));
            }
            for line in &revealed.log.lines {
                row("log", Some(format!("{} [{}] {}", line.at, line.attempt, line.text)));
            }
        }
        table.fmt(f)
    }
}
