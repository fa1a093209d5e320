//! `oncue work`: a worker whose handlers are programs and webhooks, as a file says. `oncue config` checks and shows it.

mod file;
mod handler;
mod keys;
mod misread;
mod program;
mod webhook;

use std::fmt;
use std::path::PathBuf;

use clap::Subcommand;
use oncue::event::Event;
use oncue::outcome::Decision;
use oncue::worker::Builder;
use oncue::{Client, Lane, Result};
use serde::Serialize;

use super::output::Output;
use super::target::{self, Target};
use file::{BrokerUrl, Config};

/// Run programs and webhooks as handlers, as a file says
///
/// A handler with exec is a command: the payload comes on its standard input as JSON,
/// its standard output is the result, its standard error the log. Exit 0: done. 65:
/// archived, no retry can help. Any other: failed, and retried. Needs Linux.
///
/// A handler with webhook is a URL: the payload is sent by POST, signed as Standard
/// Webhooks says, the answer is the result. 2xx: done. 408, 425, 429, 5xx, no answer:
/// failed, and retried. Any other: archived.
///
/// The broker is that of --broker, else of ONCUE_BROKER, else of the file; name the same
/// one to `oncue task enqueue`. It works until SIGTERM or Ctrl-C, and then lets runs end.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    #[command(flatten)]
    file: Where,
}

/// What a configuration file says.
#[derive(Subcommand)]
pub(super) enum Settings {
    /// Read the file, look for the programs, paths and secrets it names, and start nothing
    Check(Where),
    /// Print what the file says, with everything it leaves out
    Show(Where),
}

#[derive(clap::Args)]
pub(super) struct Where {
    /// The file, in TOML; docs/isolation.md and docs/webhooks.md say what stands in it
    #[arg(long = "config", value_name = "FILE", default_value = "oncue.toml")]
    path: PathBuf,
}

pub(super) async fn run(args: Args, target: &Target, output: Output) -> Result<()> {
    let config = Config::read(&args.file.path)?;
    let own = config.broker.as_ref().map(|BrokerUrl(url)| url.as_str());
    let url = target.named().or(own).unwrap_or(target.url());
    let client = oncue::connect(url).await?;
    let worker = build(&client, &config)?.start().await?;
    let joined = |names: Vec<&str>| names.join(", ");
    tracing::info!(
        broker = target::shown(url),
        queues = joined(config.queues.keys().map(String::as_str).collect()),
        kinds = joined(config.handler.keys().map(String::as_str).collect()),
        "at work until SIGTERM or SIGINT"
    );
    let report = worker.run().await?;
    output.print(&Report {
        completed: report.completed,
        retried: report.retried,
        archived: report.archived,
        released: report.released,
    })
}

pub(super) fn settings(command: Settings, output: Output) -> Result<()> {
    match command {
        Settings::Check(file) => {
            let config = Config::read(&file.path)?;
            for (kind, queue) in config.unserved() {
                tracing::warn!(
                    kind,
                    queue,
                    "[queues] does not name the queue of this kind: what is enqueued there waits"
                );
            }
            output.print(&Checked {
                file: file.path.display().to_string(),
                handlers: config.handler.keys().cloned().collect(),
            })
        }
        Settings::Show(file) => output.print(&Config::read(&file.path)?),
    }
}

fn build(client: &Client, config: &Config) -> Result<Builder> {
    let mut worker = client.worker().lease(config.lease.0).shutdown_timeout(config.shutdown.0);
    let weights = config.queues.iter().map(|(queue, weight)| (queue.as_str(), *weight));
    worker = worker.lane(Lane::weighted(weights).concurrency(config.concurrency));
    for (kind, handler) in &config.handler {
        worker = worker.handle(handler.registration(kind)?);
    }
    Ok(worker.on_event(tell))
}

/// Says what failed: whoever runs a file has no listener of their own. No word of a task's own is among it.
fn tell(event: &Event) {
    let Event::Settled { id, kind, decision, class: Some(class), .. } = event else { return };
    match decision {
        Decision::Archive(reason) => tracing::warn!(%id, %kind, class, %reason, "archived"),
        Decision::Retry(delay) => tracing::info!(%id, %kind, class, ?delay, "failed, is retried"),
        _ => {}
    }
}

#[derive(Serialize)]
struct Report {
    completed: u64,
    retried: u64,
    archived: u64,
    released: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { completed, retried, archived, released } = self;
        write!(
            f,
            "completed {completed}, retried {retried}, archived {archived}, released {released}"
        )
    }
}

#[derive(Serialize)]
struct Checked {
    file: String,
    handlers: Vec<String>,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is fine: {}", self.file, self.handlers.join(", "))
    }
}
