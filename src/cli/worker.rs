//! `oncue worker`: who is there, and telling them to be quiet, to stop, to start a handler anew.

use std::fmt;
use std::time::Duration;

use clap::Subcommand;
use oncue::broker::{About, Operate, Present, Signal, WorkerId};
use oncue::clock::Timestamp;
use oncue::queue::Kind;
use oncue::{Error, Result};
use serde::ser::Error as _;
use serde::{Serialize, Serializer};

use super::output::{Output, brief, list, numbers, plain};
use super::target::Target;

/// Workers.
#[derive(Subcommand)]
pub(super) enum Worker {
    /// List every worker that is there
    List,
    /// Tell a worker to claim nothing more; what it runs goes on. Only a restart of it takes that back
    Quiet {
        /// Its id, or the first letters of it
        worker: String,
    },
    /// Tell a worker to shut down as on SIGTERM
    Stop {
        /// Its id, or the first letters of it
        worker: String,
    },
    /// Tell a worker to start the handler of a kind anew
    RestartHandler {
        /// Its id, or the first letters of it
        worker: String,
        /// The kind
        kind: String,
    },
}

pub(super) async fn run(command: Worker, target: &Target, output: Output) -> Result<()> {
    let broker = target.inspect()?;
    let (named, signal) = match command {
        Worker::List => {
            let now = broker.now();
            let workers = broker.workers().await?;
            let workers = workers.into_iter().map(|present| Row::of(present, now)).collect();
            return output.print(&Listed { workers });
        }
        Worker::Quiet { worker } => (worker, Signal::Quiet),
        Worker::Stop { worker } => (worker, Signal::Stop),
        Worker::RestartHandler { worker, kind } => (worker, Signal::Restart(Kind::parse(&kind)?)),
    };
    let Present { worker, about, .. } = find(&*broker, &named).await?;
    if let Signal::Restart(kind) = &signal
        && !about.kinds.iter().any(|known| known == kind.as_str())
    {
        let kinds = about.kinds.join(", ");
        return Err(Error::not_found(format!("worker {worker} handles no {kind}, but {kinds}")));
    }
    let told = match &signal {
        Signal::Quiet => "quiet",
        Signal::Stop => "stop",
        Signal::Restart(_) => "restart-handler",
    };
    if !broker.signal(worker, signal).await? {
        return Err(gone(worker));
    }
    output.print(&Told { worker: worker.to_string(), told })
}

fn gone(worker: WorkerId) -> Error {
    Error::not_found(format!("worker {worker} is gone"))
}

/// The one worker whose id begins so.
async fn find(broker: &dyn Operate, named: &str) -> Result<Present> {
    if named.is_empty() {
        // Every id begins so: a variable of a script that is not set must not stop the only worker.
        return Err(Error::invalid(
            "the id of the worker is empty; `oncue worker list` shows those that are there",
        ));
    }
    let all = broker.workers().await?;
    let mut found = all.into_iter().filter(|present| present.worker.to_string().starts_with(named));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => Err(Error::invalid(format!(
            "the ids of several workers begin with {named:?}; give more of it"
        ))),
        (None, _) => Err(Error::not_found(format!(
            "there is no worker {named:?}; `oncue worker list` shows those that are there"
        ))),
    }
}

#[derive(Serialize)]
struct Told {
    worker: String,
    told: &'static str,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {} was told: {}; it hears with its next beat", self.worker, self.told)
    }
}

#[derive(Serialize)]
struct Listed {
    workers: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    worker: String,
    #[serde(flatten, serialize_with = "dated")]
    about: About,
    up_s: f64,
    /// Told to claim nothing more.
    told_quiet: bool,
    /// Told to shut down.
    told_stop: bool,
}

/// As the library has it, but with times as all commands write them.
fn dated<S: Serializer>(about: &About, serializer: S) -> Result<S::Ok, S::Error> {
    let mut row = serde_json::to_value(about).map_err(S::Error::custom)?;
    row["started"] = Timestamp(about.started).to_string().into();
    row.serialize(serializer)
}

impl Row {
    fn of(present: Present, now: Timestamp) -> Self {
        let up = now.since(Timestamp(present.about.started));
        Self {
            worker: present.worker.to_string(),
            up_s: up.as_secs_f64(),
            told_quiet: present.orders.quiet,
            told_stop: present.orders.stop,
            about: present.about,
        }
    }
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.workers.is_empty() {
            return f.write_str("no worker is there");
        }
        let mut table =
            list(["worker", "host", "life", "health", "pid", "running", "slots", "up", "queues"]);
        for Row { worker, about, up_s, .. } in &self.workers {
            let health = match &about.reasons[..] {
                [] => about.health.clone(),
                reasons => format!("{}: {}", about.health, reasons.join("; ")),
            };
            table.add_row([
                worker.clone(),
                plain(&about.host),
                plain(&about.life),
                plain(&health),
                about.pid.to_string(),
                about.running.to_string(),
                about.slots.to_string(),
                brief(Duration::from_secs_f64(*up_s)),
                plain(&about.queues.join(" ")),
            ]);
        }
        numbers(&mut table, 4..8);
        table.fmt(f)
    }
}
