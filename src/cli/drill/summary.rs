//! How the drill went: the closing table, or one JSON object.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::check::{Checked, Finding};
use super::evidence::Evidence;
use super::fleet::Counts;
use super::plan::Plan;
use crate::cli::Verdict;
use crate::cli::output::pairs;

/// Most findings that are told; the ledgers have the rest.
const FINDINGS_MAX: usize = 20;

/// What is told at the end.
#[derive(Serialize)]
pub(super) struct Summary {
    /// Acknowledged by the broker.
    tasks: u64,
    completed: u64,
    archived: u64,
    /// Tasks that abort their process, and those of them that ended as the one dead letter they must.
    poisons: u64,
    poisoned: u64,
    /// Tasks that ended so although they took no process down: they ran, or waited to run, in one that died.
    archived_for_company: u64,
    /// Acknowledged, and neither completed nor archived.
    lost: u64,
    /// Ran or kept, and never enqueued.
    phantom: u64,
    /// Runs beyond one per completed task, but for those that failed or snoozed as planned.
    duplicates: u64,
    /// Pairs of live runs of one task.
    overlaps: u64,
    /// Those of a process that was not silent for as long as its lease.
    overlaps_unexplained: u64,
    kills: u64,
    terms: u64,
    stops: u64,
    starved: u64,
    /// Processes started again.
    restarts: u64,
    quarantines: u64,
    stuck_arbiters: u64,
    /// Runs whose lease was lost before they could settle.
    late_settles_refused: u64,
    /// The 99th percentile from enqueue to end of an ordinary kind while another kind panics, to the same
    /// without; one worker, nobody killed.
    other_p99_ratio: f64,
    seed: u64,
    seconds: f64,
    /// Everything that must not be, whatever its sort.
    faults_found: u64,
    /// The first of it.
    findings: Vec<Finding>,
    /// Where ledgers and logs were left, if something was found.
    evidence: Option<String>,
}

impl Summary {
    pub(super) fn of(
        mut checked: Checked,
        evidence: &Evidence,
        counts: Counts,
        other_p99_ratio: f64,
        plan: Plan,
        seconds: f64,
    ) -> Self {
        let faults_found = checked.findings.len() as u64;
        checked.findings.truncate(FINDINGS_MAX);
        Self {
            tasks: checked.tasks,
            completed: checked.completed,
            archived: checked.archived,
            poisons: plan.poisons().count() as u64,
            poisoned: checked.poisoned,
            archived_for_company: checked.for_company,
            lost: checked.lost,
            phantom: checked.phantom,
            duplicates: checked.duplicates,
            overlaps: checked.overlaps,
            overlaps_unexplained: checked.overlaps_unexplained,
            kills: counts.kills,
            terms: counts.terms,
            stops: counts.stops,
            starved: counts.starved,
            restarts: counts.restarts,
            quarantines: evidence.quarantines,
            stuck_arbiters: evidence.stuck,
            late_settles_refused: evidence.leases_lost,
            other_p99_ratio: (other_p99_ratio * 100.0).round() / 100.0,
            seed: plan.seed,
            seconds: (seconds * 10.0).round() / 10.0,
            faults_found,
            findings: checked.findings,
            evidence: None,
        }
    }

    /// Tells where the evidence was left.
    pub(super) fn kept(&mut self, folder: &Path) {
        self.evidence = Some(folder.display().to_string());
    }

    /// Whether all went as it should.
    pub(super) fn verdict(&self) -> Verdict {
        if self.faults_found == 0 { Verdict::Done } else { Verdict::Failed }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let overlaps = format!("{} ({} unexplained)", self.overlaps, self.overlaps_unexplained);
        let poisoned = format!("{} ({} poisoned on purpose)", self.archived, self.poisoned);
        let table = pairs([
            ("tasks", self.tasks.to_string()),
            ("completed", self.completed.to_string()),
            ("archived", poisoned),
            ("lost", self.lost.to_string()),
            ("phantom", self.phantom.to_string()),
            ("duplicate runs", self.duplicates.to_string()),
            ("overlapping runs", overlaps),
            ("killed", self.kills.to_string()),
            ("told to end", self.terms.to_string()),
            ("stopped", self.stops.to_string()),
            ("starved", self.starved.to_string()),
            ("started again", self.restarts.to_string()),
            ("quarantines", self.quarantines.to_string()),
            ("stuck arbiters", self.stuck_arbiters.to_string()),
            ("late settles refused", self.late_settles_refused.to_string()),
            ("p99 beside panics", format!("{} x", self.other_p99_ratio)),
            ("seed", self.seed.to_string()),
        ]);
        write!(f, "{table}")?;
        for Finding { what, whose, why } in &self.findings {
            write!(f, "\n{what}: {whose}: {why}")?;
        }
        if self.faults_found > self.findings.len() as u64 {
            write!(f, "\n.. and {} more", self.faults_found - self.findings.len() as u64)?;
        }
        match &self.evidence {
            None => f.write_str("\nnothing was lost"),
            Some(folder) => write!(
                f,
                "\n\nWhat to do: this is a fault of oncue, or of the broker's settings (durability, eviction): do not go\n\
                 live on it before it is understood. Run it again with --seed {}, and report it with this table and the ledgers in\n  \
                 {folder}\nwhich hold no payload of yours.",
                self.seed
            ),
        }
    }
}
