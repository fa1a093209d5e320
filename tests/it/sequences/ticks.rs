//! One entry of the timetable in a history, and its ticks. Versions are the broker's own: each side is asked with its own.

use std::time::Duration;

use oncue::broker::*;

use super::plan::Plan;
use super::run::{Run, Verdict, agree, coded, ensure};
use crate::fixture::*;

const NAME: &str = "entry";

/// An entry as the broker and the model showed it in the same moment.
pub struct Seen {
    theirs: Entry,
    ours: Entry,
}

impl Run {
    pub fn write_entry(&mut self, remove: bool) -> Verdict {
        let (queue, name) = (self.bench.queue.clone(), NAME.to_owned());
        let (theirs, ours) = if remove {
            let theirs = run(self.bench.broker.remove_entry(queue.clone(), name.clone()));
            (coded(theirs), coded(run(self.model.remove_entry(queue, name))))
        } else {
            self.serial += 1;
            let body = self.serial.to_be_bytes().to_vec();
            let there = self.entries()?;
            let (version, our_version) =
                there.map_or((0, 0), |seen| (seen.theirs.version, seen.ours.version));
            let write = |broker: &dyn Operate, seen| {
                run(broker.write_entry(queue.clone(), name.clone(), body.clone(), seen))
            };
            let theirs = write(&*self.bench.broker, version);
            (coded(theirs), coded(write(&*self.model, our_version)))
        };
        agree("entry", &theirs, &ours)?;
        let seen = self.entries()?;
        if let (Some(seen), false) = (&seen, remove) {
            let before = self.seen.iter().map(|seen| seen.theirs.version).max();
            let grows = before.is_none_or(|before| seen.theirs.version > before);
            ensure(grows, || format!("version {} after {before:?}", seen.theirs.version))?;
        }
        self.seen.extend(seen);
        Ok(())
    }

    /// The entry, if there is one; but for its version both show the same.
    fn entries(&self) -> Verdict<Option<Seen>> {
        let theirs = coded(run(self.bench.broker.entries()))?;
        let ours = coded(run(self.model.entries()))?;
        let unversioned = |entries: &[Entry]| -> Vec<_> {
            entries.iter().map(|entry| Entry { version: 0, ..entry.clone() }).collect()
        };
        agree("entries", &unversioned(&theirs), &unversioned(&ours))?;
        Ok(theirs.into_iter().zip(ours).next().map(|(theirs, ours)| Seen { theirs, ours }))
    }

    pub fn fire(&mut self, ago: usize, after: Duration, plans: &[Plan], lost: bool) -> Verdict {
        let Some(at) = self.seen.len().checked_sub(1 + ago) else { return Ok(()) };
        let tick = |entry: &Entry| Tick {
            entry: NAME.into(),
            version: entry.version,
            last: entry.last,
            at: entry.last.plus(after),
        };
        let Seen { theirs, ours } = &self.seen[at];
        let (theirs, ours) = (tick(theirs), tick(ours));
        let batch = self.new_batch(plans);
        let with = |tick| Batch { tick: Some(tick), ..batch.clone() };
        let (theirs, ours) = (with(theirs), with(ours));
        for _ in 0..=usize::from(lost) {
            self.enqueue_both(&theirs, &ours)?;
        }
        let seen = self.entries()?;
        self.seen.extend(seen);
        Ok(())
    }
}
