//! `oncue cron list`: every entry, with its next and last tick, or what is wrong with it. Needs no key.

use std::fmt;

use oncue::Result;
use oncue::timetable::{Listed, Missed, Origin, Plan, Runs};
use serde::Serialize;

use super::entries;
use crate::cli::output::{Output, list, plain};
use crate::cli::target::Target;

pub(super) async fn run(queue: Option<&str>, target: &Target, output: Output) -> Result<()> {
    let client = target.unkeyed()?;
    let all = entries(&client, queue)?.list().await?;
    output.print(&Told { entries: all.iter().map(Told::row).collect() })
}

#[derive(Serialize)]
struct Told {
    entries: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    entry: String,
    queue: String,
    /// The next tick; none if it is paused, faulty, or over.
    next: Option<String>,
    /// The last tick, enqueued or passed over; at first when it was made.
    last: String,
    /// What it says; none if it cannot be read.
    #[serde(flatten)]
    says: Option<Says>,
    /// Why it cannot be read. It does not tick, and harms no other.
    fault: Option<String>,
}

#[derive(Serialize)]
struct Says {
    schedule: String,
    zone: String,
    kind: Option<String>,
    paused: bool,
    missed: &'static str,
    overlap_runs: &'static str,
    catch_up_s: Option<f64>,
    origin: &'static str,
}

impl Told {
    fn row(listed: &Listed) -> Row {
        Row {
            entry: listed.name.clone(),
            queue: listed.queue.to_string(),
            next: listed.next().map(|next| next.to_string()),
            last: listed.last.to_string(),
            says: listed.plan().ok().map(Says::of),
            fault: listed.plan().err().map(|error| format!("{error:?}")),
        }
    }
}

impl Says {
    fn of(plan: &Plan) -> Self {
        Self {
            schedule: plan.schedule().to_string(),
            zone: plan.schedule().zone_name().to_owned(),
            kind: plan.header().ok().map(|header| header.kind.to_string()),
            paused: plan.is_paused(),
            missed: match plan.missed() {
                Missed::Latest => "latest",
                Missed::All => "all",
                Missed::Skip => "skip",
            },
            overlap_runs: match plan.runs() {
                Runs::Allow => "allow",
                Runs::Skip => "skip",
                Runs::Queue => "queue",
            },
            catch_up_s: plan.catch_up().map(|window| window.as_secs_f64()),
            origin: match plan.origin() {
                Origin::Static => "static",
                Origin::Dynamic => "dynamic",
            },
        }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.entries.is_empty() {
            return f.write_str("no entries yet");
        }
        let mut table = list(["entry", "queue", "schedule", "zone", "next", "last"]);
        for row in &self.entries {
            let (schedule, zone) = match &row.says {
                Some(says) => (says.schedule.as_str(), says.zone.as_str()),
                None => ("-", "-"),
            };
            let next = match (&row.next, &row.says) {
                (Some(next), _) => next,
                (None, Some(says)) if says.paused => "paused",
                (None, Some(_)) => "never",
                (None, None) => "faulty",
            };
            table.add_row([
                &*plain(&row.entry),
                &row.queue,
                &plain(schedule),
                &plain(zone),
                next,
                &row.last,
            ]);
        }
        table.fmt(f)?;
        for row in &self.entries {
            if let Some(fault) = &row.fault {
                let (entry, fault) = (plain(&row.entry), plain(fault));
                write!(f, "\n\nentry {entry} of queue {} does not tick: {fault}", row.queue)?;
            }
        }
        Ok(())
    }
}
