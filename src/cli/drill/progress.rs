//! How far the drill is, on standard error. Without a terminal it says nothing.

use std::cell::Cell;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use oncue::Client;
use oncue::broker::QueueStats;
use oncue::queue::QueueName;
use oncue::state::State;

use super::fleet::Counts;

/// How often the broker is asked, and how long it may take.
const EVERY: Duration = Duration::from_millis(250);

/// A bar of the tasks that ended.
pub(super) struct Progress {
    bar: ProgressBar,
    client: Client,
    queue: QueueName,
    asked: Cell<Instant>,
}

impl Progress {
    pub(super) fn start(client: &Client, queue: &QueueName, tasks: u64, seed: u64) -> Self {
        let style = ProgressStyle::with_template("{prefix:16} {bar:30} {pos:>7}/{len:<7} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        let bar = ProgressBar::with_draw_target(Some(tasks), ProgressDrawTarget::stderr());
        bar.set_style(style);
        bar.println(format!("seed {seed}"));
        let asked = Cell::new(Instant::now());
        Self { bar, client: client.clone(), queue: queue.clone(), asked }
    }

    /// What the drill does now.
    pub(super) fn phase(&self, word: &'static str) {
        self.bar.set_prefix(word);
    }

    /// Draws what was done and what has ended, now and then.
    pub(super) async fn show(&self, counts: Counts) {
        if self.bar.is_hidden() || self.asked.get().elapsed() < EVERY {
            return;
        }
        let stats = tokio::time::timeout(EVERY, stats(&self.client, &self.queue)).await;
        self.asked.set(Instant::now());
        if let Ok(Ok(stats)) = stats {
            self.bar.set_position(stats.count(State::Completed) + stats.count(State::Archived));
        }
        let Counts { kills, terms, stops, .. } = counts;
        self.bar.set_message(format!("{kills} killed, {terms} told to end, {stops} stopped"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// The counts of a queue.
pub(super) async fn stats(client: &Client, queue: &QueueName) -> oncue::Result<QueueStats> {
    let stats = client.broker().stats().await?.into_iter().find(|stats| stats.queue == *queue);
    Ok(stats.unwrap_or_else(|| QueueStats::empty(queue.clone())))
}
