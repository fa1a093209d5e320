//! `oncue drill`: the chaos test of the product, for us and for users before they go live.
//!
//! Processes of this binary work on one broker and are killed, told to end, stopped and starved by chance that
//! a seed repeats. What happened is in ledgers outside the broker, and the check does not trust the broker.
//! It ends processes, not machines: what a power cut leaves is not tested here.

mod book;
mod calm;
mod check;
mod child;
mod dice;
mod evidence;
mod fleet;
mod killer;
mod ledger;
mod member;
mod place;
mod plan;
mod producer;
mod progress;
mod summary;
mod tasks;

use std::time::{Duration, Instant};

use oncue::{Error, Result};
use tokio::signal::unix::{SignalKind, signal};

use super::Verdict;
use super::output::Output;
use super::target::Target;
use book::Book;
use dice::{Dice, SEED_END};
use evidence::Evidence;
use fleet::{Fleet, TICK};
use place::Place;
use plan::{LEASE, Plan};
use progress::Progress;
use summary::Summary;

/// Most tasks: each is a line of several ledgers, all of which are in memory at the end.
const TASKS_MAX: u64 = 1_000_000;
const WORKERS_MAX: u64 = 64;
/// Shortest and longest time of faults.
const MINUTES: (f64, f64) = (0.05, 24.0 * 60.0);
/// How much of it producers take for their tasks.
const PRODUCING: f64 = 0.8;
/// How long what is left may take once nobody is troubled any more: four crashes of what is left, each found
/// a lease and a sweep later, the longest runs behind it, and so many tasks a second.
const LEASES_MAX: u32 = 25;
const DRAIN_PER_S: u64 = 20;
/// How often the broker is asked whether all is done.
const LOOK: Duration = Duration::from_millis(200);

/// Kill, stop and starve workers on a broker, and check that no task is lost
///
/// Starts producers, workers and a scheduler as processes of their own, and kills,
/// stops, ends and starves them at random, then checks what they wrote down against
/// what the broker says. Without --broker or ONCUE_BROKER it makes a SQLite file with a
/// key in a directory of its own. With one, everything happens in queues of its own,
/// drill-SEED, with SEED in hexadecimal; tasks archived on purpose stay there. Only
/// processes it started are touched. It takes half a minute longer than --minutes, or more
/// on a busy machine.
///
/// Exits with 0 only if no task was lost and nothing is unexplained.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// How long faults come, in minutes; parts of one too
    #[arg(long, default_value_t = 1.0, value_name = "M")]
    minutes: f64,
    /// Tasks to enqueue
    #[arg(long, default_value_t = 2_000, value_name = "N")]
    tasks: u64,
    /// Repeats the choices of an earlier drill
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Worker processes
    #[arg(long, default_value_t = 3, value_name = "W")]
    workers: u64,
    /// How the drill starts its own processes
    #[arg(long, hide = true)]
    child: bool,
}

impl Args {
    fn check(&self) -> Result<()> {
        let (shortest, longest) = MINUTES;
        if !(shortest..=longest).contains(&self.minutes) {
            return Err(Error::invalid(format!(
                "--minutes {}; use {shortest} to {longest}",
                self.minutes
            )));
        }
        for (name, value, most) in
            [("tasks", self.tasks, TASKS_MAX), ("workers", self.workers, WORKERS_MAX)]
        {
            if !(1..=most).contains(&value) {
                return Err(Error::invalid(format!("--{name} {value}; use 1 to {most}")));
            }
        }
        match self.seed {
            Some(seed) if seed >= SEED_END => {
                Err(Error::invalid(format!("--seed {seed}; use 0 to {}", SEED_END - 1)))
            }
            _ => Ok(()),
        }
    }

    /// How long faults come.
    fn span(&self) -> Duration {
        Duration::from_secs_f64(self.minutes * 60.0)
    }

    /// How long the end may take.
    fn drain(&self) -> Duration {
        LEASE * LEASES_MAX + Duration::from_secs(self.tasks / DRAIN_PER_S)
    }
}

pub(super) async fn run(args: Args, target: &Target, output: Output) -> Result<Verdict> {
    if args.child {
        return child::run().await;
    }
    args.check()?;
    let seed = args.seed.unwrap_or_else(Dice::seed);
    let system = |error| Error::system("cannot listen for signals").because(error);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(system)?;
    let mut place = Place::new(target.named(), seed).await?;
    // Who is dropped in the middle kills all its processes, and waits for them.
    let drilled = tokio::select! {
        biased;
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
        summary = drill(&args, &place, seed) => Some(summary),
    };
    let mut summary = match drilled {
        None => {
            tracing::warn!("interrupted, so nothing was checked{}", place.left());
            return Ok(Verdict::Interrupted);
        }
        Some(Err(error)) => {
            place.keep();
            let (folder, left) = (place.folder().display(), place.left());
            tracing::warn!("the drill broke off; what its processes said is in {folder}{left}");
            return Err(error);
        }
        Some(Ok(summary)) => summary,
    };
    if summary.verdict() != Verdict::Done {
        place.keep();
        summary.kept(place.folder());
    }
    output.print(&summary)?;
    Ok(summary.verdict())
}

/// The drill between the making of its place and the end of it.
async fn drill(args: &Args, place: &Place, seed: u64) -> Result<Summary> {
    let began = Instant::now();
    let plan = Plan { seed, tasks: args.tasks };
    let progress = Progress::start(&place.client, &place.queue, args.tasks, seed);
    // Completed tasks are kept until the check, and go by themselves some time later.
    let keep = args.span() + args.drain() * 2 + Duration::from_secs(600);
    let mut fleet = Fleet::new(place, plan, args.span().mul_f64(PRODUCING), keep)?;
    let ratio = calm::ratio(&mut fleet, &progress).await?;
    progress.phase("faults");
    fleet.counts = Default::default();
    fleet.launch(args.workers)?;
    killer::haunt(&mut fleet, &mut Dice::new(seed), args.span(), &progress).await?;
    progress.phase("quiet");
    settle_down(&mut fleet, args.drain(), &progress).await?;
    fleet.end().await;
    progress.phase("check");
    let mut ledgers = Vec::new();
    for (name, path) in fleet.ledgers() {
        ledgers.push((name.to_owned(), ledger::read(&path)?));
    }
    let book = Book::read(&place.client, &place.queue).await?;
    let evidence = Evidence::of(plan, &ledgers);
    let checked = check::check(plan, &evidence, &book);
    let seconds = began.elapsed().as_secs_f64();
    Ok(Summary::of(checked, &evidence, fleet.counts, ratio, plan, seconds))
}

/// Waits, with healthy processes, until all was enqueued and has ended, or for as long as that may take: the check
/// says what is missing then.
async fn settle_down(fleet: &mut Fleet<'_>, limit: Duration, progress: &Progress) -> Result<()> {
    let deadline = Instant::now() + limit;
    let mut look = Instant::now();
    while Instant::now() < deadline {
        fleet.tick()?;
        progress.show(fleet.counts).await;
        if fleet.has_produced() && Instant::now() >= look {
            look = Instant::now() + LOOK;
            // A broker that does not answer now may do so at the next look.
            if let Ok(0) = book::unfinished(&fleet.place.client, &fleet.place.queue).await {
                return Ok(());
            }
        }
        tokio::time::sleep(TICK).await;
    }
    Ok(())
}
