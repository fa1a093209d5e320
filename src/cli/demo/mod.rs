//! `oncue demo`: the main job on real input, with a broker of its own, in a few seconds.
//!
//! It digests the files of a directory as tasks, and beside that lets one handler fail, one actor panic
//! and one task wait. What it counts as lost is checked twice: by the broker's counts, and by the ledger
//! of every task this process enqueued.

mod database;
mod files;
mod flow;
mod ledger;
mod progress;
mod summary;
mod tasks;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use oncue::worker::Worker;
use oncue::{Client, Error, Lane, Result, actor, blocking};
use tokio_util::sync::CancellationToken;

use super::Verdict;
use super::output::Output;
use super::pickup::Pickups;
use super::target::Target;
use database::Database;
use flow::Flow;
use ledger::Ledger;
use progress::Progress;
use summary::Summary;
use tasks::{Greeter, QUEUE, Tree};

/// See it work: digest the files of a directory on a broker of its own
///
/// Makes a database with a key beside it, digests the files of a directory but for
/// hidden ones and caches (CACHEDIR.TAG), and removes both again. Beside that it
/// lets, on purpose, one handler fail twice, one actor panic once and one task wait
/// two seconds. Without a terminal the answer is JSON unasked.
///
/// A file that cannot be read is archived by its handler and does not count as a
/// failure. Exits with 0 only if no task was lost and none was archived for another
/// reason. The first Ctrl-C lets running tasks end, the second does not wait.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// The directory
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// The database to make
    #[arg(long, default_value = "oncue-demo.db", value_name = "FILE")]
    db: PathBuf,
    /// Leave database and key, for `oncue task list` and friends
    #[arg(long)]
    keep: bool,
    /// Tasks that run at once
    #[arg(long, default_value_t = 64, value_name = "N")]
    concurrency: usize,
    /// Most files to digest
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    limit: usize,
}

pub(super) async fn run(args: Args, target: &Target, output: Output) -> Result<Verdict> {
    if target.flag().is_some() {
        return Err(Error::invalid("the demo has a broker of its own; name its file with --db"));
    }
    let root = files::root(&args.dir)?;
    let terminal = std::io::stdout().is_terminal() && !output.is_json();
    tasks::hush_planned_panics();
    let database = Database::prepare(&args.db).await?;
    let shown = play(&args, root, &database, terminal).await;
    if !args.keep {
        database.remove().await;
    }
    let summary = shown?;
    output.in_json(!terminal).print(&summary)?;
    Ok(summary.verdict())
}

/// The demo between the making and the removing of its database.
async fn play(args: &Args, root: PathBuf, database: &Database, terminal: bool) -> Result<Summary> {
    let ledger = Arc::new(Ledger::new());
    let pickups = Arc::new(Pickups::new());
    let tree = Arc::new(Tree::new(root.clone()));
    let started = async {
        let client = Client::open(database.connect()).await?;
        let worker = start(args.concurrency, &client, &ledger, &pickups, &tree).await?;
        Ok::<_, Error>((client, worker))
    };
    let (client, worker) = tokio::select! {
        // First, so that there is no moment at which a signal would leave the database behind.
        biased;
        _ = tokio::signal::ctrl_c() => return Ok(Summary::of(&ledger.tally(), None, None, true, 0.0)),
        started = started => started?,
    };
    let progress = Progress::start(&ledger, terminal);
    let stop = CancellationToken::new();
    let flow = Flow {
        client: client.clone(),
        ledger: ledger.clone(),
        pickups: pickups.clone(),
        keep: args.keep,
        files: files::walk(root, args.limit, database.files()),
        stop: stop.clone(),
    };
    let began = Instant::now();
    // A signal ends the worker in good order; the flow stops at its next wait.
    let mut flow = std::pin::pin!(flow.run());
    let (shown, interrupted) = tokio::select! {
        shown = &mut flow => (shown, false),
        ended = worker.run() => {
            stop.cancel();
            (flow.await.and(ended.map(|_| None)), true)
        }
    };
    worker.shutdown().await?;
    let seconds = began.elapsed().as_secs_f64();
    progress.finish();
    let shown = shown?;
    let stats =
        client.broker().stats().await?.into_iter().find(|stats| stats.queue.as_str() == QUEUE);
    let mut summary = Summary::of(&ledger.tally(), stats, shown, interrupted, seconds);
    summary.pickup_p50_us = pickups.percentile(0.50);
    summary.pickup_p99_us = pickups.percentile(0.99);
    summary.kept = args.keep.then(|| database.name().to_owned());
    Ok(summary)
}

async fn start(
    concurrency: usize,
    client: &Client,
    ledger: &Arc<Ledger>,
    pickups: &Arc<Pickups>,
    tree: &Arc<Tree>,
) -> Result<Worker> {
    let events = ledger.clone();
    let panicked = Arc::default();
    client
        .worker()
        .handle(blocking(tasks::digest))
        .handle(blocking(tasks::report))
        .handle(tasks::fetch)
        .handle(actor(move || Greeter::new(&panicked)))
        .handle(tasks::note)
        .handle(tasks::probe)
        .data(tree.clone())
        .data(pickups.clone())
        .lane(Lane::weighted([(QUEUE, 1)]).concurrency(concurrency))
        .on_event(move |event| events.note(event))
        .start()
        .await
}
