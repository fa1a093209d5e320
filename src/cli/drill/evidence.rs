//! What the ledgers tell together: what was acknowledged, what ran when and where, which process was silent.
//!
//! No broker is asked here.

use std::collections::{BTreeMap, HashMap, HashSet};

use oncue::TaskId;

use super::ledger::{By, How, Line};
use super::plan::{LEASE, Plan, Work};

/// A process that is stopped anew so soon, in ns, was awake for too short a time to beat for certain.
const MOMENT: u64 = 50_000_000;

/// One run of one task.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) who: String,
    pub(super) number: u64,
    pub(super) start: u64,
    /// When it ended; if its process died over it, when that was known.
    pub(super) end: u64,
    /// None: its process died over it.
    pub(super) how: Option<How>,
}

/// A time in which a process, or a thread of it, did not get to run or was not heard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Silence {
    pub(super) from: u64,
    pub(super) until: u64,
}

/// All ledgers of one drill.
#[derive(Default)]
pub(super) struct Evidence {
    /// The ids each number was acknowledged under.
    pub(super) acked: BTreeMap<u64, HashSet<TaskId>>,
    /// How often each id was said to be made.
    pub(super) created: HashMap<TaskId, u64>,
    /// Numbers that were, or may have been, enqueued.
    pub(super) going: HashSet<u64>,
    /// The runs of each task, by their start.
    pub(super) runs: HashMap<TaskId, Vec<Run>>,
    pub(super) silences: HashMap<String, Vec<Silence>>,
    pub(super) told: HashMap<String, u64>,
    pub(super) deaths: HashMap<String, (By, u64)>,
    pub(super) leases_lost: u64,
    pub(super) stuck: u64,
    pub(super) quarantines: u64,
}

impl Evidence {
    /// Brings the ledgers together: of each process its name and its lines.
    pub(super) fn of(plan: Plan, ledgers: &[(String, Vec<Line>)]) -> Self {
        let mut evidence = Self::default();
        for line in ledgers.iter().flat_map(|(_, lines)| lines) {
            if let Line::Died { who, by, at } = line {
                evidence.deaths.insert(who.clone(), (*by, *at));
            }
        }
        for (who, lines) in ledgers {
            evidence.add(plan, who, lines);
        }
        evidence.runs.values_mut().for_each(|runs| runs.sort_by_key(|run| run.start));
        evidence.silences.values_mut().for_each(join);
        evidence
    }

    fn add(&mut self, plan: Plan, who: &str, lines: &[Line]) {
        let ends: HashMap<u64, (How, u64)> = lines.iter().filter_map(end).collect();
        let death = self.deaths.get(who).map_or(u64::MAX, |(_, at)| *at);
        let mut failed_beats = Vec::new();
        for line in lines {
            match line {
                Line::Going { from, until } => self.going.extend(*from..*until),
                Line::Acked { number, id, created } => {
                    self.acked.entry(*number).or_default().insert(*id);
                    *self.created.entry(*id).or_default() += u64::from(*created);
                }
                Line::Started { run, number, id, at, .. } => {
                    let end = ends.get(run).map_or(death, |(_, at)| *at);
                    let how = ends.get(run).map(|(how, _)| *how);
                    let run = Run { who: who.to_owned(), number: *number, start: *at, end, how };
                    self.runs.entry(*id).or_default().push(run);
                    if plan.work(*number) == Work::Hog {
                        self.silent(who, *at, end);
                    }
                }
                Line::Starved { from, until } => self.silent(who, *from, *until),
                Line::Stopped { who, from, until } => self.silent(who, *from, *until),
                Line::BeatFailed { at } => failed_beats.push(*at),
                Line::Told { who, at } => drop(self.told.insert(who.clone(), *at)),
                Line::LeaseLost { .. } => self.leases_lost += 1,
                Line::Stuck { .. } => self.stuck += 1,
                Line::Quarantined { .. } => self.quarantines += 1,
                Line::Ended { .. } | Line::Died { .. } | Line::Probed { .. } => {}
            }
        }
        let lease = LEASE.as_nanos() as u64;
        // Beats that fail one after the other are one silence, which began with the last good one.
        for group in failed_beats.chunk_by(|one, next| next - one < lease) {
            self.silent(who, group[0].saturating_sub(lease / 3), group[group.len() - 1]);
        }
    }

    fn silent(&mut self, who: &str, from: u64, until: u64) {
        self.silences.entry(who.to_owned()).or_default().push(Silence { from, until });
    }
}

/// Makes one of silences with hardly a moment between: no beat is known to have got through there.
fn join(silences: &mut Vec<Silence>) {
    silences.sort_by_key(|silence| silence.from);
    silences.dedup_by(|next, last| {
        let is_one = next.from.saturating_sub(last.until) <= MOMENT;
        if is_one {
            last.until = last.until.max(next.until);
        }
        is_one
    });
}

fn end(line: &Line) -> Option<(u64, (How, u64))> {
    match line {
        Line::Ended { run, how, at } => Some((*run, (*how, *at))),
        _ => None,
    }
}
