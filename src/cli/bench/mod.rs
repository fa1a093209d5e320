//! `oncue bench`: what a broker does on this machine, sealing on, handlers in this process.
//!
//! Each number says what it measures in [`figures`]. It is no comparison of brokers: the same machine
//! enqueues, keeps and runs.

mod ceiling;
mod figures;
mod place;
mod run;
mod tally;

use std::time::Duration;

use oncue::codec::PAYLOAD_BYTES_MAX;
use oncue::{Error, Result};

use super::Verdict;
use super::output::Output;
use super::target::Target;
use place::Place;

/// Its queue.
const QUEUE: &str = "oncue-bench";
/// The queue of what is measured without a worker.
const RAW_QUEUE: &str = "oncue-bench-raw";
/// Most tasks of one run: each takes a byte of memory and some hundred of disk.
const TASKS_MAX: u64 = 10_000_000;
/// How long nothing may end before what is missing is called lost.
const STALL: Duration = Duration::from_secs(60);

/// Measure a broker, with sealing on
///
/// Works in the queue `oncue-bench`. Without --broker or ONCUE_BROKER it makes a
/// database in the current directory and removes it at the end. Exits with 0 only if
/// no task was lost.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// Tasks to preload in batches and to drain
    #[arg(long, default_value_t = 20_000, value_name = "N")]
    tasks: u64,
    /// Bytes of each payload, 48 to 262144
    #[arg(long, default_value_t = 100, value_name = "BYTES")]
    payload: usize,
    /// Tasks that run at once
    #[arg(long, default_value_t = 256, value_name = "C")]
    concurrency: usize,
    /// Go on although the queue `oncue-bench` holds tasks; they are drained along
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(args: Args, target: &Target, output: Output) -> Result<Verdict> {
    if !(1..=TASKS_MAX).contains(&args.tasks) {
        return Err(Error::invalid(format!("{} tasks; use 1 to {TASKS_MAX}", args.tasks)));
    }
    if args.payload > PAYLOAD_BYTES_MAX {
        return Err(Error::too_large(format!(
            "--payload {}: a payload has at most {PAYLOAD_BYTES_MAX} bytes",
            args.payload
        )));
    }
    let place = Place::new(target.named())?;
    let measured = tokio::select! {
        figures = run::measure(&args, &place) => Some(figures),
        _ = tokio::signal::ctrl_c() => None,
    };
    place.remove().await;
    let Some(figures) = measured.transpose()? else { return Ok(Verdict::Interrupted) };
    output.print(&figures)?;
    Ok(if figures.is_sound() { Verdict::Done } else { Verdict::Failed })
}
