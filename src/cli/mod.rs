//! The command line: its tree of arguments, and which file runs what. One noun a file.
//!
//! A command returns data; [`output`] prints it. What a command may do with a broker that is not there is
//! decided in [`target`].

#[cfg(feature = "redis")]
mod acl;
mod amount;
mod bench;
mod cron;
mod demo;
#[cfg(feature = "redis")]
mod deploy;
mod drill;
mod file;
mod key;
mod output;
mod pickup;
mod queue;
mod target;
mod task;
mod work;
mod worker;

use std::process::ExitCode;

use clap::{ArgAction, Parser, Subcommand};
use oncue::Result;

use output::Output;
use target::Target;

/// The heading of the options every command has.
const EVERYWHERE: &str = "Options of every command";

const AFTER_HELP: &str = "\
Exit codes:
  0  done                      4  the broker cannot be reached
  1  failed                    5  refused for safety; the message says what allows it
  2  usage or invalid input  130  interrupted
  3  not found

Only `demo`, `bench`, `work`, `task enqueue` and `cron add` make a database that is not there;
`drill` makes one of its own.
Keys come from ONCUE_KEY, from the file ONCUE_KEY_FILE names, or from the file
DATABASE.key beside the database.

Examples:
  oncue demo
  oncue task enqueue --kind email:send --payload '{\"to\":\"ada\"}' --in 5m
  oncue queue list
  oncue task list --queue default --state archived --json
  oncue task show 01937a5c-6e0a-7000-8000-000000000000 --reveal
  oncue queue pause default
  oncue worker list
  oncue cron preview '30 2 * * *' --zone Europe/Berlin
  oncue cron add nightly '30 2 * * *' --kind report --payload '{}' --zone Europe/Berlin
  oncue key generate --out oncue.db.key
  oncue deploy --broker redis://localhost";

/// Sealed background tasks, run on cue.
#[derive(Parser)]
#[command(name = "oncue", version, after_help = AFTER_HELP, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// sqlite:PATH, or redis://HOST in a build with Redis [env: ONCUE_BROKER]
    /// [default: sqlite:oncue.db]
    #[arg(long, global = true, value_name = "URL", help_heading = EVERYWHERE)]
    broker: Option<String>,
    /// Print JSON: the answer on standard output, an error on standard error
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    json: bool,
    /// Say more on standard error; twice for debugging
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = EVERYWHERE)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Args),
    Bench(bench::Args),
    Drill(drill::Args),
    /// Queues
    #[command(subcommand)]
    Queue(queue::Queue),
    /// Tasks
    #[command(subcommand)]
    Task(task::Task),
    /// Workers
    #[command(subcommand)]
    Worker(worker::Worker),
    /// The timetable of periodic tasks
    #[command(subcommand)]
    Cron(cron::Cron),
    /// Keys
    #[command(subcommand)]
    Key(key::Key),
    Work(work::Args),
    /// The file that `work` reads
    #[command(subcommand)]
    Config(work::Settings),
    /// Users of Redis
    #[cfg(feature = "redis")]
    #[command(subcommand)]
    Acl(acl::Acl),
    #[cfg(feature = "redis")]
    Deploy(deploy::Args),
    /// Users of Redis (not in this build)
    #[cfg(not(feature = "redis"))]
    Acl(Lacking),
    /// Load the functions into Redis (not in this build)
    #[cfg(not(feature = "redis"))]
    Deploy(Lacking),
}

/// Understood, to say what this build lacks.
#[cfg(not(feature = "redis"))]
#[derive(clap::Args)]
struct Lacking {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _any: Vec<std::ffi::OsString>,
}

/// How a command ended that did not fail with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It did what it was asked.
    Done,
    /// It told in its answer what went wrong.
    Failed,
    /// A signal ended it early, in good order.
    Interrupted,
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> Self {
        Self::from(match verdict {
            Verdict::Done => 0,
            Verdict::Failed => 1,
            Verdict::Interrupted => 130,
        })
    }
}

/// Reads the command line; what is wrong with it, or was asked of it (`--help`), is printed already.
pub(crate) fn parse() -> Result<(Cli, Output), ExitCode> {
    let cli = Cli::try_parse().map_err(output::usage)?;
    let output = Output::new(cli.json);
    Ok((cli, output))
}

/// Runs the command.
pub(crate) fn run(cli: Cli, output: Output) -> Result<Verdict> {
    // The demo shows on purpose what a worker complains about.
    let quiet = matches!(cli.command, Command::Demo(_)) && cli.verbose == 0;
    // A worker says that it is at work: without that it looks as if it hung.
    let works = matches!(cli.command, Command::Work(_));
    let loud = match cli.verbose {
        0 if works => "warn,oncue::cli::work=info",
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    output::log(if quiet { "off" } else { loud }, output)?;
    let target = Target::new(cli.broker)?;
    oncue::block_on(async {
        match cli.command {
            Command::Demo(args) => return demo::run(args, &target, output).await,
            Command::Bench(args) => return bench::run(args, &target, output).await,
            Command::Drill(args) => return drill::run(args, &target, output).await,
            Command::Queue(queue) => queue::run(queue, &target, output).await?,
            Command::Task(task) => task::run(task, &target, output).await?,
            Command::Worker(worker) => worker::run(worker, &target, output).await?,
            Command::Cron(cron) => cron::run(cron, &target, output).await?,
            Command::Key(key) => key::run(key, &target, output).await?,
            Command::Work(args) => work::run(args, &target, output).await?,
            Command::Config(settings) => work::settings(settings, output)?,
            #[cfg(feature = "redis")]
            Command::Acl(acl) => acl::run(acl, output)?,
            #[cfg(feature = "redis")]
            Command::Deploy(args) => deploy::run(args, &target, output).await?,
            #[cfg(not(feature = "redis"))]
            Command::Acl(_) | Command::Deploy(_) => {
                return Err(oncue::Error::invalid(
                    "this build has no Redis; install one that has: cargo install --path . -F redis",
                ));
            }
        }
        Ok(Verdict::Done)
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_tree_of_arguments_is_sound() {
        Cli::command().debug_assert();
    }
}
