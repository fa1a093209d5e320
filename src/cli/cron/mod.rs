//! `oncue cron`: the timetable of periodic tasks. `preview` reaches no broker.

mod act;
mod list;
mod preview;
mod write;

use clap::Subcommand;
use oncue::{Client, Cron as Entries, Result};

use super::output::Output;
use super::target::Target;

/// The timetable of periodic tasks.
#[derive(Subcommand)]
pub(super) enum Cron {
    /// Show when a schedule ticks, and what changes of clocks do to it
    ///
    /// SPEC is one argument, so quote it: five fields (minute, hour, day of month, month,
    /// weekday), six with the second before them, a name (@hourly, @daily, @midnight,
    /// @weekly, @monthly, @yearly, @annually), or @every and a period, like '@every 90s'.
    /// CRON_TZ=Area/City before it names the zone, as --zone does. Needs no broker.
    ///
    /// --gap and --overlap are for fixed times alone: schedules without * and / in their
    /// second, minute and hour. Others tick whenever the clock shows a time that matches.
    #[command(verbatim_doc_comment)]
    Preview(preview::Args),
    /// List every entry with its next and last tick
    List {
        /// Only this queue
        #[arg(long)]
        queue: Option<String>,
    },
    /// Add an entry: a task to be enqueued at every tick of a schedule
    Add(write::Add),
    /// Change an entry: only what is given
    Edit(write::Edit),
    /// Enqueue nothing for an entry from now on
    Pause(act::Which),
    /// Let an entry go on, with its next tick
    Resume(act::Which),
    /// Enqueue the task of an entry once, at once; its schedule goes on as if it had not been
    Run(act::Which),
    /// Remove an entry with its history; its tasks stay
    Remove(act::Which),
    /// List the latest ticks of an entry and what became of their tasks, 100 at most
    History(act::Which),
}

pub(super) async fn run(command: Cron, target: &Target, output: Output) -> Result<()> {
    match command {
        Cron::Preview(args) => preview::run(&args, output),
        Cron::List { queue } => list::run(queue.as_deref(), target, output).await,
        Cron::Add(args) => write::add(args, target, output).await,
        Cron::Edit(args) => write::edit(args, target, output).await,
        Cron::Pause(which) => act::pause(&which, true, target, output).await,
        Cron::Resume(which) => act::pause(&which, false, target, output).await,
        Cron::Run(which) => act::run(&which, target, output).await,
        Cron::Remove(which) => act::remove(&which, target, output).await,
        Cron::History(which) => act::history(&which, target, output).await,
    }
}

/// The entries that are meant.
fn entries(client: &Client, queue: Option<&str>) -> Result<Entries> {
    match queue {
        Some(queue) => client.cron().queue(queue),
        None => Ok(client.cron()),
    }
}
