//! `oncue task`: lists, shows, enqueues tasks, and does to them what people do. It runs none itself.

mod act;
mod cancel;
pub(super) mod enqueue;
mod list;
mod show;
mod view;

use clap::Subcommand;
use oncue::Result;
use oncue::broker::Act;

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
    /// Let a task run at once that is scheduled, to be retried, or archived
    Run(act::Which),
    /// Archive a task that has not started or is to be retried
    Archive(act::Which),
    /// Delete a task that does not run, without a trace
    Delete(act::Which),
    /// Put off a task that has not started or is to be retried, or bring it forward
    Reschedule(act::When),
    /// Enqueue a task with a payload in JSON
    ///
    /// Makes the database, and a key beside it, if they are not there. Options that are
    /// left out have the library's defaults, not those of the kind's type, which is not
    /// known here.
    #[command(verbatim_doc_comment)]
    Enqueue(Box<enqueue::Args>),
}

pub(super) async fn run(command: Task, target: &Target, output: Output) -> Result<()> {
    match command {
        Task::List(args) => list::run(args, target, output).await,
        Task::Show(args) => show::run(args, target, output).await,
        Task::Cancel(args) => cancel::run(args, target, output).await,
        Task::Run(args) => act::run(args, Act::Run, target, output).await,
        Task::Archive(args) => act::run(args, Act::Archive, target, output).await,
        Task::Delete(args) => act::run(args, Act::Delete, target, output).await,
        Task::Reschedule(args) => act::reschedule(args, target, output).await,
        Task::Enqueue(args) => enqueue::run(*args, target, output).await,
    }
}
