//! `oncue cron`: schedules of periodic tasks. Reaches no broker.

mod preview;

use clap::Subcommand;
use oncue::Result;

use super::output::Output;

/// Schedules of periodic tasks.
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
}

pub(super) fn run(command: Cron, output: Output) -> Result<()> {
    match command {
        Cron::Preview(args) => preview::run(&args, output),
    }
}
