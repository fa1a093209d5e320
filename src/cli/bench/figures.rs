//! What was measured, and how each figure is meant.

use std::fmt;

use serde::Serialize;

use crate::cli::output::pairs;

/// The figures of one run.
#[derive(Serialize)]
pub(super) struct Figures {
    pub(super) tasks: u64,
    pub(super) payload_bytes: usize,
    pub(super) concurrency: usize,
    /// One task a call, 64 calls under way, from one thread, until each is stored.
    pub(super) enqueue_single_per_s: f64,
    /// 1,000 tasks a call, four calls under way, from one thread.
    pub(super) enqueue_bulk_per_s: f64,
    /// All of the above, preloaded: from the start of the worker to the last settlement written.
    pub(super) drain_per_s: f64,
    /// 100 tasks a second for 5 s, one a call, worker idle: from the call to the start of the handler.
    pub(super) pickup_p50_us: Option<u64>,
    pub(super) pickup_p99_us: Option<u64>,
    /// Processor time of this process while draining; with an embedded broker its threads are in it.
    pub(super) worker_cpu_us_per_task: f64,
    /// Growth by the tasks preloaded in batches: of the file, its log checkpointed, or of the server's memory;
    /// none for a database in memory.
    pub(super) bytes_per_pending_task: Option<f64>,
    /// Processor time of the server for the whole life of a task: enqueued in a batch, claimed, settled. None
    /// if there is no server, or it does not tell.
    pub(super) redis_cpu_us_per_task: Option<f64>,
    /// Commands sent for the same.
    pub(super) redis_requests_per_task: Option<f64>,
    /// `drain_per_s` to what the same broker does without worker, sealing and handlers, in the same run.
    pub(super) ceiling_ratio: f64,
    /// Tasks that were stored and never run.
    pub(super) lost: u64,
    /// Runs beyond the first of a task.
    pub(super) duplicates: u64,
}

impl Figures {
    /// Whether every task was run.
    pub(super) fn is_sound(&self) -> bool {
        self.lost == 0
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = |time: Option<u64>| time.map_or("-".to_owned(), |us| format!("{us} us"));
        let number =
            |value: Option<f64>, unit| value.map_or("-".to_owned(), |v| format!("{v:.2}{unit}"));
        let bytes = self.bytes_per_pending_task;
        let table = pairs([
            ("enqueue, one a call, 64 under way", format!("{:.0}/s", self.enqueue_single_per_s)),
            ("enqueue, 1000 a call", format!("{:.0}/s", self.enqueue_bulk_per_s)),
            ("drain", format!("{:.0}/s", self.drain_per_s)),
            ("pickup p50, idle worker", us(self.pickup_p50_us)),
            ("pickup p99, idle worker", us(self.pickup_p99_us)),
            ("processor time a task, draining", format!("{:.1} us", self.worker_cpu_us_per_task)),
            ("kept a pending task", bytes.map_or("-".to_owned(), |b| format!("{b:.0} bytes"))),
            ("processor time a task, Redis", number(self.redis_cpu_us_per_task, " us")),
            ("requests a task, Redis", number(self.redis_requests_per_task, "")),
            ("drain, of the broker alone", format!("{:.2}", self.ceiling_ratio)),
            ("lost", self.lost.to_string()),
            ("duplicates", self.duplicates.to_string()),
        ]);
        table.fmt(f)
    }
}
