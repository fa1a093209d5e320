//! `oncue task`: lists, shows, cancels and enqueues tasks. It runs none.

mod cancel;
mod enqueue;
mod list;
mod show;
mod view;

use clap::Subcommand;
use oncue::Result;

use super::output::Output;
use super::target::Target;

/// Tasks.
#[derive(Subcommand)]
pub(super) enum Task {
    /// List the tasks of a queue in one state, oldest first
    List(list::Args),
    /// Show one task
    Show(show::Args),
    /// Cancel a task: one that waits is archived, one that runs is told to stop
    Cancel(cancel::Args),
    /// Enqueue a task with a payload in JSON
    ///
    /// Makes the database, and a key beside it, if they are not there. Options that are
    /// left out have the library's defaults, not those of the kind's type, which is not
    /// known here.
    #[command(verbatim_doc_comment)]
    Enqueue(enqueue::Args),
}

pub(super) async fn run(command: Task, target: &Target, output: Output) -> Result<()> {
    match command {
        Task::List(args) => list::run(args, target, output).await,
        Task::Show(args) => show::run(args, target, output).await,
        Task::Cancel(args) => cancel::run(args, target, output).await,
        Task::Enqueue(args) => enqueue::run(args, target, output).await,
    }
}
