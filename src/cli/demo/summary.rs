//! How the demo went: the closing table, or one JSON object.

use std::fmt;

use oncue::broker::QueueStats;
use oncue::state::State;
use serde::Serialize;

use super::flow::Shown;
use super::ledger::Tally;
use super::tasks::{QUEUE, Report};
use crate::cli::Verdict;
use crate::cli::output::pairs;

/// What is told at the end.
#[derive(Serialize)]
pub(super) struct Summary {
    enqueued: u64,
    completed: u64,
    /// Failed runs that were repeated.
    retried: u64,
    /// Actors that died and were made anew.
    restarts: u64,
    archived: u64,
    /// Neither completed, nor archived, nor still in the file after an interruption: by the broker's
    /// counts or by this process's own, whichever is more.
    lost: u64,
    /// Of tasks enqueued one at a time, 100 a second, once the backlog was done: from the call of enqueue
    /// to the start of the handler.
    pub(super) pickup_p50_us: Option<u64>,
    pub(super) pickup_p99_us: Option<u64>,
    /// Files digested a second, from the first enqueue to the last end.
    tasks_per_s: f64,
    /// Archived because the file could not be read.
    unreadable: u64,
    /// Left in the file by an interruption.
    unfinished: u64,
    interrupted: bool,
    seconds: f64,
    report: Option<Report>,
    /// The task that made it.
    report_id: Option<String>,
    /// The database, if it was left.
    pub(super) kept: Option<String>,
}

impl Summary {
    pub(super) fn of(
        tally: &Tally,
        stats: Option<QueueStats>,
        shown: Option<Shown>,
        interrupted: bool,
        seconds: f64,
    ) -> Self {
        let ours = tally.all();
        // Completed counts runs: each of the demo's tasks completes once.
        let completed = stats.as_ref().map_or(0, |stats| stats.completed);
        let archived = stats.as_ref().map_or(0, |stats| stats.count(State::Archived));
        let unfinished = stats.map_or(0, |stats| {
            State::ALL
                .iter()
                .filter(|state| !state.is_terminal())
                .map(|state| stats.count(*state))
                .sum()
        });
        let lost = if interrupted {
            // An enqueue that was under way may have been stored uncounted, hence no less than zero.
            ours.enqueued.saturating_sub(completed + archived + unfinished)
        } else {
            let by_broker = ours.enqueued.saturating_sub(completed + archived);
            by_broker.max(ours.enqueued.saturating_sub(ours.ended()))
        };
        let (report, report_id, tasks_per_s) = match shown {
            Some(shown) => (Some(shown.report), Some(shown.id.to_string()), shown.tasks_per_s),
            None => (None, None, completed as f64 / seconds.max(0.001)),
        };
        Self {
            enqueued: ours.enqueued,
            completed,
            retried: tally.retried,
            restarts: tally.restarts,
            archived,
            lost,
            pickup_p50_us: None,
            pickup_p99_us: None,
            tasks_per_s: tenth(tasks_per_s),
            unreadable: tally.unreadable,
            unfinished,
            interrupted,
            seconds: tenth(seconds),
            report,
            report_id,
            kept: None,
        }
    }

    /// Whether all went as it should.
    pub(super) fn verdict(&self) -> Verdict {
        match self.lost {
            _ if self.interrupted => Verdict::Interrupted,
            0 if self.archived == self.unreadable => Verdict::Done,
            _ => Verdict::Failed,
        }
    }
}

/// What this program was called as: from a fresh build it is not on the path.
fn called() -> String {
    std::env::args().next().unwrap_or_else(|| "oncue".to_owned())
}

fn tenth(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = |time: Option<u64>| time.map_or("-".to_owned(), |us| format!("{us} us"));
        let table = pairs([
            ("enqueued", self.enqueued.to_string()),
            ("completed", self.completed.to_string()),
            ("retried", self.retried.to_string()),
            ("restarts", self.restarts.to_string()),
            ("archived", self.archived.to_string()),
            ("lost", self.lost.to_string()),
            ("pickup p50", us(self.pickup_p50_us)),
            ("pickup p99", us(self.pickup_p99_us)),
            ("tasks/s", self.tasks_per_s.to_string()),
        ]);
        writeln!(f, "{table}")?;
        if let Some(Report { files, bytes, lines, sha256 }) = &self.report {
            writeln!(f, "{files} files, {bytes} bytes, {lines} lines, sha256 {sha256}")?;
        }
        if self.report.is_some() {
            f.write_str(
                "planned: a handler fails twice, an actor panics once, a task waits for 2 s\n",
            )?;
        }
        if self.unreadable > 0 {
            writeln!(f, "{} files could not be read; their tasks are archived", self.unreadable)?;
        }
        if self.interrupted {
            writeln!(f, "interrupted; tasks not done: {}", self.unfinished)?;
        }
        f.write_str("\nWhat to try next:\n")?;
        let oncue = called();
        match &self.kept {
            Some(file) => write!(
                f,
                "  export ONCUE_BROKER=sqlite:{file}\n  \
                   {oncue} queue list\n  \
                   {oncue} task list --queue {QUEUE} --state completed\n  \
                   {oncue} task show {} --reveal",
                self.report_id.as_deref().unwrap_or("ID")
            ),
            None => write!(
                f,
                "  {oncue} demo --keep          leave the database, then look into it\n  \
                   {oncue} bench --tasks 20000  measure this machine\n  \
                   {oncue} --help"
            ),
        }
    }
}
