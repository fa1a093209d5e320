//! `oncue queue show`: one queue with its counts, what was set for it, and its groups.

use std::collections::BTreeMap;
use std::fmt;

use oncue::Result;
use oncue::broker::{Gathering, Operate, QueueStats, Settings};
use oncue::clock::Timestamp;
use oncue::queue::Kind;
use serde::Serialize;

use super::Counts;
use crate::cli::output::{Output, brief, list, numbers, pairs, plain};
use crate::cli::target::queue;

pub(super) async fn run(broker: &dyn Operate, name: &str, output: Output) -> Result<()> {
    let stats = queue(broker, name).await?;
    let groups = broker.groups(stats.queue.clone()).await?;
    // A broker knows kinds by their hashes, workers by their names.
    let workers = broker.workers().await?;
    let kinds = workers.iter().flat_map(|worker| &worker.about.kinds);
    let kinds: Vec<_> = kinds.filter_map(|kind| Kind::parse(kind).ok()).collect();
    output.print(&Shown::of(&stats, groups, &kinds, broker.now()))
}

/// One queue. Bytes are counted while they are limited.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    counts: Counts,
    bytes: Option<u64>,
    /// Tasks that went because too many were kept, or for too long; ever.
    trimmed: u64,
    limits: Limits,
    groups: Vec<Group>,
}

/// What was set, beside the limit of tasks; null: nothing.
#[derive(Serialize)]
struct Limits {
    bytes: Option<u64>,
    concurrency: Option<u64>,
    kinds: BTreeMap<String, u64>,
    keep_completed: Option<u64>,
    keep_archived: Option<u64>,
    keep_archived_for_s: Option<f64>,
}

#[derive(Serialize)]
struct Group {
    name: String,
    /// Its kind, if a worker that is there handles it.
    kind: Option<String>,
    tasks: u64,
    since: String,
    /// When it closes by itself; null: it is closed.
    closes: Option<String>,
    #[serde(skip)]
    age: String,
    #[serde(skip)]
    left: String,
}

impl Shown {
    fn of(stats: &QueueStats, groups: Vec<Gathering>, kinds: &[Kind], now: Timestamp) -> Self {
        let group = |group: Gathering| Group {
            kind: kinds.iter().find(|kind| kind.hash() == group.kind).map(Kind::to_string),
            name: group.name,
            tasks: group.tasks,
            since: group.since.to_string(),
            closes: group.closes.map(|closes| closes.to_string()),
            age: brief(now.since(group.since)),
            left: group.closes.map_or("closed".to_owned(), |closes| brief(closes.since(now))),
        };
        Self {
            counts: Counts::of(stats, now),
            bytes: stats.bytes,
            trimmed: stats.trimmed,
            limits: Limits::of(&stats.settings),
            groups: groups.into_iter().map(group).collect(),
        }
    }
}

impl Limits {
    fn of(settings: &Settings) -> Self {
        Self {
            bytes: settings.bytes,
            concurrency: settings.concurrency,
            kinds: settings.kinds.iter().map(|(kind, most)| (kind.to_string(), *most)).collect(),
            keep_completed: settings.completed,
            keep_archived: settings.archived,
            keep_archived_for_s: settings.archived_for.map(|time| time.as_secs_f64()),
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most =
            |limit: Option<u64>| limit.map_or("no limit".to_owned(), |most| most.to_string());
        let Self { counts, limits, .. } = self;
        let mut rows = vec![
            ("queue".to_owned(), counts.queue.clone()),
            ("paused".to_owned(), counts.paused.to_string()),
        ];
        rows.extend(counts.states().map(|(state, count)| (state.to_owned(), count.to_string())));
        rows.extend([
            ("trimmed ever".to_owned(), self.trimmed.to_string()),
            ("most tasks".to_owned(), most(counts.limit)),
            ("most bytes".to_owned(), most(limits.bytes)),
        ]);
        rows.extend(self.bytes.map(|bytes| ("bytes".to_owned(), bytes.to_string())));
        rows.push(("most at once".to_owned(), most(limits.concurrency)));
        for (kind, limit) in &limits.kinds {
            rows.push((format!("most of {kind} at once"), limit.to_string()));
        }
        let kept_for = limits.keep_archived_for_s.map(std::time::Duration::from_secs_f64);
        rows.extend([
            ("most completed kept".to_owned(), most(limits.keep_completed)),
            ("most archived kept".to_owned(), most(limits.keep_archived)),
            ("archived kept for".to_owned(), kept_for.map_or("ever".to_owned(), brief)),
        ]);
        pairs(rows).fmt(f)?;
        if self.groups.is_empty() {
            return Ok(());
        }
        let mut table = list(["group", "kind", "tasks", "gathers\nfor", "closes\nin"]);
        for group in &self.groups {
            let kind = group.kind.clone().unwrap_or("-".to_owned());
            let cells = [group.tasks.to_string(), group.age.clone(), group.left.clone()];
            table.add_row([plain(&group.name), kind].into_iter().chain(cells));
        }
        numbers(&mut table, 2..5);
        write!(f, "\n{table}")
    }
}
