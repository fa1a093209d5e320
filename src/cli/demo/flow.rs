//! What the demo enqueues, in order, and what it waits for.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use oncue::{Client, Draft, Handle, Result, Task, TaskId};
use tokio::sync::mpsc::Receiver;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::ledger::Ledger;
use super::tasks::{DigestFile, FlakyFetch, Greet, LaterNote, Probe, Report, ReportTree};
use crate::cli::pickup::Pickups;

/// How far ahead the later task is scheduled.
const LATER: Duration = Duration::from_secs(2);
/// How many tasks measure pickup, and how far apart.
const PROBES: usize = 100;
const PROBE_EVERY: Duration = Duration::from_millis(10);
/// How long tasks stay when the database does.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// How long the report may take.
const REPORT: Duration = Duration::from_secs(60);

/// What the flow brings back.
pub(super) struct Shown {
    pub(super) report: Report,
    /// The task that made it.
    pub(super) id: TaskId,
    /// Of the files: from the first enqueue to the last end.
    pub(super) tasks_per_s: f64,
}

/// The demo's script.
pub(super) struct Flow {
    pub(super) client: Client,
    pub(super) ledger: Arc<Ledger>,
    pub(super) pickups: Arc<Pickups>,
    /// Whether tasks are to be kept once completed.
    pub(super) keep: bool,
    /// Paths of files, in batches that fit into one enqueue.
    pub(super) files: Receiver<Vec<PathBuf>>,
    /// Ends the script at its next wait. An enqueue that is under way is counted first: dropped, it would
    /// still be stored.
    pub(super) stop: CancellationToken,
}

impl Flow {
    /// Runs the script; none if it was stopped.
    pub(super) async fn run(mut self) -> Result<Option<Shown>> {
        let note = LaterNote { text: "two seconds have passed".into() };
        self.enqueue(note.draft().after(LATER)).await?;
        self.enqueue(FlakyFetch { url: "https://flaky.example".into() }.draft()).await?;
        for name in ["Ada", "Alan", "Barbara", "Edsger", "Grace"] {
            self.enqueue(Greet { name: name.into() }.draft()).await?;
        }
        let began = Instant::now();
        let stop = self.stop.clone();
        while let Some(paths) = or(&stop, self.files.recv()).await.flatten() {
            let tasks = paths.into_iter().map(|path| DigestFile { path: path.into() }.draft());
            let drafts: Vec<_> = tasks.map(|draft| self.kept(draft)).collect();
            let handles = self.client.enqueue_all(drafts).await?;
            self.ledger.enqueued::<DigestFile>(handles.len());
        }
        let files = self.ledger.tally().of::<DigestFile>().enqueued;
        let digested = self.ledger.until(|tally| tally.of::<DigestFile>().ended() >= files);
        let Some(()) = or(&stop, digested).await.transpose()? else { return Ok(None) };
        let seconds = began.elapsed().as_secs_f64();
        let job = self.enqueue(ReportTree.draft()).await?;
        let report = or(&stop, job.result::<Report>().timeout(REPORT).into_future()).await;
        let Some(report) = report.transpose()? else { return Ok(None) };
        self.probe().await?;
        let ended = self.ledger.until(|tally| tally.all().ended() >= tally.all().enqueued);
        let Some(()) = or(&stop, ended).await.transpose()? else { return Ok(None) };
        Ok(Some(Shown { report, id: job.id(), tasks_per_s: files as f64 / seconds.max(0.001) }))
    }

    /// Tasks one at a time, once the backlog is done: how soon does an idle worker start them?
    async fn probe(&self) -> Result<()> {
        let mut ticks = interval(PROBE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for _ in 0..PROBES {
            if or(&self.stop, ticks.tick()).await.is_none() {
                break;
            }
            let probe = self.kept(self.pickups.stamped(Probe));
            self.client.enqueue(probe).await?;
            self.ledger.enqueued::<Probe>(1);
        }
        Ok(())
    }

    async fn enqueue<T: Task>(&self, draft: Draft<T>) -> Result<Handle> {
        let handle = self.client.enqueue(self.kept(draft)).await?;
        self.ledger.enqueued::<T>(1);
        Ok(handle)
    }

    fn kept<T: Task>(&self, draft: Draft<T>) -> Draft<T> {
        if self.keep { draft.retention(KEPT) } else { draft }
    }
}

/// What a wait brings, or none once the script is to stop.
async fn or<T>(stop: &CancellationToken, wait: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        brought = wait => Some(brought),
    }
}
