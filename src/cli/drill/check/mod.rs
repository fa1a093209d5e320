//! The check: evidence of the ledgers against the word of the broker. Pure.
//!
//! A task is done if a ledger has a run of it that completed *and* the broker keeps it as completed, or if it
//! is archived. Whatever was acknowledged and is neither is lost.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};

use oncue::TaskId;
use oncue::outcome::CRASHES_MAX;
use oncue::state::Reason;
use serde::Serialize;

use super::book::Book;
use super::evidence::{Evidence, Run};
use super::ledger::{By, How};
use super::plan::{LEASE, Plan, Work};

/// By how much a silence may be shorter than a lease and still lose it: the last beat before it may be as old
/// as the longest way from one beat to the next.
const SLACK: f64 = 0.45;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// What is wrong, in one word.
    pub(super) what: &'static str,
    /// The task, or the process.
    pub(super) whose: String,
    pub(super) why: String,
}

/// What the check found.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// Acknowledged.
    pub(super) tasks: u64,
    pub(super) completed: u64,
    pub(super) archived: u64,
    /// Poison tasks that became the one dead letter they must.
    pub(super) poisoned: u64,
    /// Tasks that became one although they took no process down: they ran, or waited to run, in one that died.
    pub(super) for_company: u64,
    pub(super) lost: u64,
    pub(super) phantom: u64,
    pub(super) duplicates: u64,
    pub(super) overlaps: u64,
    pub(super) overlaps_unexplained: u64,
    pub(super) findings: Vec<Finding>,
}

impl Checked {
    fn find(&mut self, what: &'static str, whose: impl ToString, why: impl Into<String>) {
        self.findings.push(Finding { what, whose: whose.to_string(), why: why.into() });
    }
}

/// Checks everything. Nothing is found only if all is well.
pub(super) fn check(plan: Plan, evidence: &Evidence, book: &Book) -> Checked {
    let mut checked = Checked::default();
    let completed: HashSet<TaskId> = book.completed.iter().copied().collect();
    let mut archived: HashMap<TaskId, Vec<Option<Reason>>> = HashMap::new();
    for (id, reason) in &book.archived {
        archived.entry(*id).or_default().push(*reason);
    }
    let mut numbers: BTreeMap<TaskId, u64> = BTreeMap::new();
    for (number, ids) in &evidence.acked {
        numbers.extend(ids.iter().map(|id| (*id, *number)));
        if ids.len() > 1 {
            checked.find("created twice", number, "one key was acknowledged under several ids");
        }
    }
    for (id, _) in evidence.created.iter().filter(|(_, times)| **times > 1) {
        checked.find("created twice", id, "the broker said more than once that it was new");
    }
    checked.tasks = numbers.len() as u64;
    if checked.tasks < plan.tasks {
        let why = format!("{} of {} were acknowledged", checked.tasks, plan.tasks);
        checked.find("not enqueued", "tasks", why);
    }
    for (id, number) in &numbers {
        let runs = evidence.runs.get(id).map_or(&[][..], Vec::as_slice);
        let ran = runs.iter().filter(|run| run.how == Some(How::Completed)).count();
        match (completed.contains(id), archived.get(id)) {
            (false, Some(reasons)) => {
                checked.archived += 1;
                judge(&mut checked, plan, evidence, *id, *number, reasons);
            }
            (true, None) if ran > 0 => {
                checked.completed += 1;
                let unplanned = |run: &&Run| !matches!(run.how, Some(How::Failed | How::Snoozed));
                checked.duplicates += runs.iter().filter(unplanned).count() as u64 - 1;
                if plan.work(*number) == Work::Poison {
                    checked.find("dead letter", id, "a task that aborts its process completed");
                }
            }
            (in_book, and_archived) => {
                checked.lost += 1;
                let why = match (in_book, and_archived, ran) {
                    (true, Some(_), _) => "the broker has it as completed and as archived",
                    (true, None, _) => "the broker has it as completed, and no run of it was",
                    (_, _, 0) if runs.is_empty() => "it never ran",
                    (_, _, 0) => "no run of it completed",
                    _ => "a run of it completed, and the broker does not have it as completed",
                };
                checked.find("lost", id, why);
            }
        }
    }
    phantoms(&mut checked, evidence, &numbers, &completed, &archived);
    overlaps(&mut checked, evidence);
    for (who, (by, _)) in &evidence.deaths {
        match by {
            By::Itself => checked.find("process", who, "it ended by itself"),
            By::Abort if !aborted_by_poison(plan, evidence, who) => {
                checked.find("process", who, "it aborted, and ran no task that does so");
            }
            _ => {}
        }
    }
    checked
}

/// Whether a process died over a task that aborts.
fn aborted_by_poison(plan: Plan, evidence: &Evidence, who: &str) -> bool {
    let died_over = |run: &Run| run.who == who && run.how.is_none();
    let mut runs = evidence.runs.values().flatten();
    runs.any(|run| died_over(run) && plan.work(run.number) == Work::Poison)
}

/// Whether a task that is archived should be.
fn judge(
    checked: &mut Checked,
    plan: Plan,
    evidence: &Evidence,
    id: TaskId,
    number: u64,
    reasons: &[Option<Reason>],
) {
    let poison = plan.work(number) == Work::Poison;
    let runs = evidence.runs.get(&id).map_or(&[][..], Vec::as_slice);
    let last = runs.last();
    let death = last.and_then(|run| Some((run, evidence.deaths.get(&run.who)?.0)));
    match (reasons, death) {
        ([Some(Reason::Poisoned)], _) if poison => checked.poisoned += 1,
        ([Some(Reason::Poisoned)], Some((Run { how: None, .. }, By::Abort))) => {
            checked.for_company += 1;
            checked.find("company", id, "archived for a task that aborted the process both ran in");
        }
        // The drill itself took its process down, or stopped it, too often: so the policy wants it.
        ([Some(Reason::Poisoned)], _) if runs.iter().any(|run| cut(evidence, run)) => {}
        // A claim may be lost before its run starts, and counts as a crash all the same.
        ([Some(Reason::Poisoned)], _) if runs.len() < CRASHES_MAX => {
            checked.for_company += 1;
            let why =
                format!("archived as poisoned after {} runs, none of which was cut", runs.len());
            checked.find("company", id, why);
        }
        ([one], _) => {
            checked.find("dead letter", id, format!("archived, and should not be: {one:?}"));
        }
        (many, _) => {
            checked.find("dead letter", id, format!("{} dead letters of one task", many.len()));
        }
    }
}

/// Whether a fault of the drill took this run from its process. It may have completed too late.
fn cut(evidence: &Evidence, run: &Run) -> bool {
    let killed = evidence.deaths.get(&run.who).is_some_and(|(by, _)| *by == By::Kill);
    run.how.is_none() && killed || is_silent(evidence, run, u64::MAX)
}

/// What ran, or is kept, and was never enqueued.
fn phantoms(
    checked: &mut Checked,
    evidence: &Evidence,
    numbers: &BTreeMap<TaskId, u64>,
    completed: &HashSet<TaskId>,
    archived: &HashMap<TaskId, Vec<Option<Reason>>>,
) {
    let in_doubt =
        |number: u64| evidence.going.contains(&number) && !evidence.acked.contains_key(&number);
    for (id, runs) in evidence.runs.iter().filter(|(id, _)| !numbers.contains_key(id)) {
        if !runs.iter().all(|run| in_doubt(run.number)) {
            checked.phantom += 1;
            checked.find("phantom", id, "it ran and was never enqueued");
        }
    }
    let all_acked = !evidence.going.iter().any(|number| in_doubt(*number));
    let kept = completed.iter().chain(archived.keys());
    for id in kept.filter(|id| all_acked && !numbers.contains_key(id)) {
        if !evidence.runs.contains_key(id) {
            checked.phantom += 1;
            checked.find("phantom", id, "the broker keeps it and it was never enqueued");
        }
    }
}

/// Two live runs of one task.
fn overlaps(checked: &mut Checked, evidence: &Evidence) {
    for (id, runs) in &evidence.runs {
        for (at, first) in runs.iter().enumerate() {
            for second in runs[at + 1..].iter().filter(|second| second.start < first.end) {
                checked.overlaps += 1;
                if !is_given_up(evidence, first, second.start)
                    && !is_silent(evidence, first, second.start)
                {
                    checked.overlaps_unexplained += 1;
                    let ms = first.end.saturating_sub(second.start) / 1_000_000;
                    let (one, other) = (&first.who, &second.who);
                    let why = format!(
                        "{other} ran it {ms} ms long while {one} did, whose lease was never in danger"
                    );
                    checked.find("overlap", id, why);
                }
            }
        }
    }
}

/// Whether the process of a run was told to end and had waited for it by then: what does not yield is given up.
fn is_given_up(evidence: &Evidence, run: &Run, by: u64) -> bool {
    evidence.told.get(&run.who).is_some_and(|told| by.saturating_sub(*told) >= enough())
}

/// Whether the process of a run was silent during it, before this moment, for long enough to lose its lease.
fn is_silent(evidence: &Evidence, run: &Run, before: u64) -> bool {
    let silences = evidence.silences.get(&run.who).map_or(&[][..], Vec::as_slice);
    silences.iter().any(|silence| {
        silence.until >= run.start
            && silence.from <= run.end
            && silence.until.min(before).saturating_sub(silence.from) >= enough()
    })
}

/// After how long, in ns, a silent process may lose a lease, and one that was told to end may give up its runs.
fn enough() -> u64 {
    (LEASE.as_nanos() as f64 * (1.0 - SLACK)) as u64
}
