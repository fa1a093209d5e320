//! What is held against the children of one group, and what follows from the next exit.
//!
//! A group is what serves one kind: its replicas, or its Processors. Exits are counted per child, so that many
//! replicas do not share a budget; a quarantine is for the group, since a kind is served or it is not.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::{OnExceeded, Policy, Restart};

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It stopped by itself.
    Normal,
    /// It panicked, its thread is gone, or it was ended because it did not answer.
    Abnormal,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directive {
    /// Start the child after this long.
    RestartAfter(Duration),
    /// Leave the group alone until then.
    QuarantineUntil(Instant),
    /// Start what is down of the group, and let one task through.
    Probe,
    /// It is the exit of the whole group.
    Escalate,
    /// Serve the group no longer.
    StopChild,
    /// End the worker.
    Shutdown,
    /// Nothing.
    Nothing,
}

/// How a group stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It takes tasks.
    #[default]
    Serving,
    /// It takes none until then.
    Quarantined(Instant),
    /// It takes one.
    Probing {
        /// Whether it has it.
        taken: bool,
    },
    /// It takes none for good.
    Stopped,
}

/// The recent exits of one child.
#[derive(Clone, Debug, Default)]
struct History {
    /// Those in the window; at most as many as the policy allows.
    exits: VecDeque<Instant>,
    /// Restarts since the last quiet time.
    streak: u32,
    last: Option<Instant>,
}

impl History {
    /// Counts an exit; the wait before the restart, or nothing if it was one too many.
    fn next(&mut self, policy: &Policy, now: Instant, chance: f64) -> Option<Duration> {
        let (intensity, backoff) = (policy.intensity, policy.backoff);
        let ago = |then: Instant| now.saturating_duration_since(then);
        if self.last.replace(now).is_none_or(|last| ago(last) >= backoff.reset_after) {
            self.streak = 0;
        }
        self.exits.retain(|exit| ago(*exit) < intensity.within);
        if self.exits.len() >= intensity.max_restarts {
            *self = Self::default();
            return None;
        }
        self.exits.push_back(now);
        let wait = backoff.wait(self.streak, chance);
        self.streak = self.streak.saturating_add(1);
        Some(wait)
    }
}

/// The record of a group.
#[derive(Clone, Debug, Default)]
pub struct Record {
    standing: Standing,
    /// A child died and its exit is on its way.
    dying: bool,
    children: HashMap<usize, History>,
}

impl Record {
    /// How the group stands. While an exit is on its way nothing goes through a probe, as if it was taken.
    pub fn standing(&self) -> Standing {
        match self.standing {
            Standing::Probing { taken } => Standing::Probing { taken: taken || self.dying },
            other => other,
        }
    }

    /// `child` ended at `now`: what is to be done about it. `chance` is uniform in `[0, 1)`.
    pub fn exited(
        &mut self,
        policy: &Policy,
        child: usize,
        exit: Exit,
        now: Instant,
        chance: f64,
    ) -> Directive {
        self.dying = false;
        match (self.standing, policy.restart, exit) {
            (Standing::Stopped, ..)
            | (_, Restart::Temporary, _)
            | (_, Restart::Transient, Exit::Normal) => return Directive::Nothing,
            // It comes back with the probe.
            (Standing::Quarantined(until), ..) => return Directive::QuarantineUntil(until),
            (Standing::Probing { .. }, ..) => return self.exceeded(policy, now),
            (Standing::Serving, ..) => {}
        }
        match self.children.entry(child).or_default().next(policy, now, chance) {
            Some(wait) => Directive::RestartAfter(wait),
            None => self.exceeded(policy, now),
        }
    }

    fn exceeded(&mut self, policy: &Policy, now: Instant) -> Directive {
        self.children = HashMap::new();
        match policy.on_exceeded {
            OnExceeded::Quarantine { probe_after } => {
                let until = now + probe_after;
                self.standing = Standing::Quarantined(until);
                Directive::QuarantineUntil(until)
            }
            OnExceeded::Escalate => Directive::Escalate,
            OnExceeded::StopChild => {
                self.stop();
                Directive::StopChild
            }
            OnExceeded::Shutdown => Directive::Shutdown,
        }
    }

    /// Time passed: whether a probe is due.
    pub fn look(&mut self, now: Instant) -> Directive {
        match self.standing {
            Standing::Quarantined(until) if now >= until => {
                self.standing = Standing::Probing { taken: false };
                Directive::Probe
            }
            _ => Directive::Nothing,
        }
    }

    /// Whether a task may go through; the one of a probe is taken by asking.
    pub fn admit(&mut self) -> bool {
        match &mut self.standing {
            Standing::Serving => true,
            Standing::Probing { taken } => !self.dying && !std::mem::replace(taken, true),
            Standing::Quarantined(_) | Standing::Stopped => false,
        }
    }

    /// A child died; until its exit is told, no further task goes through a probe.
    pub fn dying(&mut self) {
        self.dying = matches!(self.standing, Standing::Probing { .. });
    }

    /// The child that was dying was replaced before its exit was reported: no report will come.
    pub fn replaced(&mut self) {
        self.dying = false;
    }

    /// The task of a probe did not run after all: another may, once no exit is on its way.
    pub fn give_back(&mut self) {
        if let Standing::Probing { taken } = &mut self.standing {
            *taken = false;
        }
    }

    /// The task of a probe was answered, whatever the answer (Rule 0): all is well; answers whether that is news.
    pub fn answered(&mut self) -> bool {
        let recovered = matches!(self.standing, Standing::Probing { .. }) && !self.dying;
        if recovered {
            *self = Self::default();
        }
        recovered
    }

    /// The group is served no longer.
    pub fn stop(&mut self) {
        self.standing = Standing::Stopped;
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Backoff, Intensity};
    use super::*;

    /// What happens to child 0 unless said otherwise, and when, in ms.
    #[derive(Clone, Copy, Debug)]
    enum Fact {
        Dies(u64),
        Stops(u64),
        Other(u64),
        Looks(u64),
        Admits(bool),
        Answers(bool),
        GivesBack,
        IsDying,
        Replaced,
    }
    use Fact::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;
    const AFTER: fn(u64) -> Said = Said::After;

    /// A directive with times in ms since the start.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Said {
        After(u64),
        Until(u64),
        Probe,
        Escalate,
        Stop,
        Shutdown,
        Nothing,
    }

    #[track_caller]
    fn check(what: &str, policy: Policy, facts: &[(Fact, Said)]) {
        policy.check().expect("a policy that makes sense");
        let (mut record, start) = (Record::default(), Instant::now());
        for (number, (fact, expected)) in facts.iter().enumerate() {
            let mut exit = |child, exit, ms| {
                let directive = record.exited(&policy, child, exit, start + MS(ms), 0.5);
                Some(directive)
            };
            let directive = match *fact {
                Dies(ms) => exit(0, Exit::Abnormal, ms),
                Stops(ms) => exit(0, Exit::Normal, ms),
                Other(ms) => exit(1, Exit::Abnormal, ms),
                Looks(ms) => Some(record.look(start + MS(ms))),
                Admits(yes) => {
                    assert_eq!(record.admit(), yes, "{what}, {number}: {fact:?}");
                    None
                }
                Answers(news) => {
                    assert_eq!(record.answered(), news, "{what}, {number}: {fact:?}");
                    None
                }
                GivesBack => {
                    record.give_back();
                    None
                }
                IsDying => {
                    record.dying();
                    None
                }
                Replaced => {
                    record.replaced();
                    None
                }
            };
            let ms = |time: Duration| u64::try_from(time.as_millis()).expect("short");
            let said = match directive {
                Some(Directive::RestartAfter(wait)) => Said::After(ms(wait)),
                Some(Directive::QuarantineUntil(until)) => Said::Until(ms(until - start)),
                Some(Directive::Probe) => Said::Probe,
                Some(Directive::Escalate) => Said::Escalate,
                Some(Directive::StopChild) => Said::Stop,
                Some(Directive::Shutdown) => Said::Shutdown,
                Some(Directive::Nothing) | None => Said::Nothing,
            };
            assert_eq!(said, *expected, "{what}, {number}: {fact:?}");
        }
    }

    /// Two restarts in a second, then `on_exceeded`.
    fn twice(on_exceeded: OnExceeded) -> Policy {
        Policy::DEFAULT.intensity(2, Duration::from_secs(1)).on_exceeded(on_exceeded)
    }

    const QUARANTINE: OnExceeded = OnExceeded::Quarantine { probe_after: Duration::from_secs(5) };
    const NONE: Said = Said::Nothing;

    #[test]
    fn every_policy_says_what_its_table_says() {
        let both = [(Dies(0), AFTER(100)), (Dies(10), AFTER(200))];
        let with = |rest: &[(Fact, Said)]| [&both[..], rest].concat();
        check("escalate", twice(OnExceeded::Escalate), &with(&[(Dies(20), Said::Escalate)]));
        check("shutdown", twice(OnExceeded::Shutdown), &with(&[(Dies(20), Said::Shutdown)]));
        let stopped = [(Dies(20), Said::Stop), (Admits(false), NONE), (Dies(30), NONE)];
        check("stop", twice(OnExceeded::StopChild), &with(&stopped));
        let none = twice(OnExceeded::Escalate).intensity(0, MS(1));
        check("no restart is borne", none, &[(Dies(0), Said::Escalate)]);
        let fresh = [(Dies(20), Said::Escalate), (Dies(30), AFTER(100))];
        check("the count begins anew", twice(OnExceeded::Escalate), &with(&fresh));
        let stops = [(Stops(0), AFTER(100)), (Stops(1), AFTER(200)), (Stops(2), Said::Shutdown)];
        check("permanent", twice(OnExceeded::Shutdown), &stops);
        let transient = twice(QUARANTINE).restart(Restart::Transient);
        check("transient", transient, &[(Dies(0), AFTER(100)), (Stops(1), NONE)]);
        let temporary = twice(QUARANTINE).restart(Restart::Temporary);
        check("temporary", temporary, &[(Dies(0), NONE), (Stops(1), NONE)]);
        let others =
            [(Other(11), AFTER(100)), (Other(12), AFTER(200)), (Other(13), Said::Shutdown)];
        check("each child has its own budget", twice(OnExceeded::Shutdown), &with(&others));
    }

    #[test]
    fn a_quarantine_ends_by_one_task_that_is_answered() {
        let first = [
            (Admits(true), NONE),
            (Dies(0), AFTER(100)),
            (Dies(10), AFTER(200)),
            (Answers(false), NONE),
            (Dies(20), Said::Until(5_020)),
            (Admits(false), NONE),
            (Answers(false), NONE),
            (Other(30), Said::Until(5_020)),
            (Looks(5_019), NONE),
            (Looks(5_020), Said::Probe),
            (Looks(5_021), NONE),
            (Admits(true), NONE),
            (Admits(false), NONE),
        ];
        let with = |rest: &[(Fact, Said)]| [&first[..], rest].concat();
        let fails = [(Dies(5_100), Said::Until(10_100)), (GivesBack, NONE), (Admits(false), NONE)];
        check("failure quarantines again", twice(QUARANTINE), &with(&fails));
        let raced =
            [(IsDying, NONE), (GivesBack, NONE), (Admits(false), NONE), (Answers(false), NONE)];
        check("an exit on its way is waited for", twice(QUARANTINE), &with(&raced));
        let silent = [
            (IsDying, NONE),
            (GivesBack, NONE),
            (Admits(false), NONE),
            (Replaced, NONE),
            (Admits(true), NONE),
        ];
        check("an exit that is never told is not", twice(QUARANTINE), &with(&silent));
        let in_order = [
            (IsDying, NONE),
            (GivesBack, NONE),
            (Admits(false), NONE),
            (Stops(5_100), NONE),
            (Admits(true), NONE),
        ];
        let transient = twice(QUARANTINE).restart(Restart::Transient);
        check("who may stop in order is no failure of a probe", transient, &with(&in_order));
        let released = [(GivesBack, NONE), (Admits(true), NONE), (Admits(false), NONE)];
        check("one that did not run is followed by another", twice(QUARANTINE), &with(&released));
        let recovers = [
            (Answers(true), NONE),
            (Answers(false), NONE),
            (Admits(true), NONE),
            (Admits(true), NONE),
            (Dies(5_200), AFTER(100)),
        ];
        check("success resets", twice(QUARANTINE), &with(&recovers));
    }

    #[test]
    fn the_window_slides_and_the_backoff_forgets() {
        let s = |seconds: u64| seconds * 1_000;
        let default = Policy::DEFAULT;
        let sixth: Vec<_> = [100, 200, 400, 800, 1_600]
            .into_iter()
            .enumerate()
            .map(|(n, wait)| (Dies(n as u64), AFTER(wait)))
            .chain([(Dies(6), Said::Until(60_006))])
            .collect();
        check("the sixth", default, &sixth);
        // A count that ends only by a quiet window would trip here.
        let slow: Vec<_> = (0..100).map(|n| (Dies(s(n * 61)), AFTER(100))).collect();
        check("slow, steady deaths", default, &slow);
        let steady = Policy { backoff: Backoff { factor: 1.0, ..Backoff::DEFAULT }, ..default };
        let six_seconds: Vec<_> = (0..100).map(|n| (Dies(s(n * 6)), AFTER(100))).collect();
        check("five in the window at any time", steady, &six_seconds);
        let intensity = Intensity { max_restarts: 9, ..Intensity::DEFAULT };
        let grows = [
            (Dies(0), AFTER(100)),
            (Dies(s(59)), AFTER(200)),
            (Dies(s(118)), AFTER(400)),
            (Dies(s(178)), AFTER(100)),
        ];
        check("a quiet minute", Policy { intensity, ..default }, &grows);
    }
}
