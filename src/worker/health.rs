//! Health: how a worker fares, as one word and the reasons for it.
//!
//! It is read off what is there (wards, threads that linger) and off the events that were told. It decides nothing.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::event::Event;
use crate::queue::KindHash;
use crate::restart::Standing;

use super::ward::Ward;

/// For how long a lost lease is told of.
pub const LEASE_LOSS_MEMORY: Duration = Duration::from_secs(60);

/// After this long without a failed call the broker is well again: it is called more often than that.
pub const BROKER_FAILURE_MEMORY: Duration = Duration::from_secs(10);

/// How a worker fares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "health", content = "reasons", rename_all = "snake_case")]
pub enum Health {
    /// All is well.
    Ok,
    /// It works, with less than it should have.
    Degraded(Vec<Reason>),
    /// It does not do its work, or is about to end.
    Failing(Vec<Reason>),
}

/// Why a worker is not well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// A kind is in quarantine, or being probed: what runs it died too often.
    Quarantined {
        /// The kind.
        kind: String,
    },
    /// A kind is no longer served here.
    Stopped {
        /// The kind.
        kind: String,
    },
    /// Threads are taken by runs that were given up.
    Lingering {
        /// How many.
        threads: usize,
        /// How many are borne: with more the worker ends.
        most: usize,
    },
    /// Calls of the broker fail.
    BrokerFailing {
        /// The verb of the last one.
        verb: String,
        /// What it said.
        error: String,
    },
    /// More memory is in use than may be: the worker ends.
    MemoryExceeded {
        /// How much was in use when that was found.
        bytes: u64,
        /// How much may be.
        most: u64,
    },
    /// The worker's own thread does not turn, as a hook or a listener that blocks makes it: it neither claims nor
    /// settles, and its leases run out.
    Silent,
    /// An actor died more often than is borne: the worker ends.
    RestartsUsedUp {
        /// Which.
        who: String,
    },
    /// A run lost its lease within the last minute.
    LeaseLost,
    /// The worker has ended.
    Ended,
}

impl Health {
    /// The word for it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded(_) => "degraded",
            Self::Failing(_) => "failing",
        }
    }

    /// Why it is not ok.
    pub fn reasons(&self) -> &[Reason] {
        match self {
            Self::Ok => &[],
            Self::Degraded(reasons) | Self::Failing(reasons) => reasons,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quarantined { kind } => write!(f, "{kind} is in quarantine"),
            Self::Stopped { kind } => write!(f, "{kind} is served no longer"),
            Self::Lingering { threads, most } => {
                write!(f, "threads taken by runs that were given up: {threads}, of {most} borne")
            }
            Self::BrokerFailing { verb, .. } => write!(f, "the broker fails at {verb}"),
            Self::MemoryExceeded { bytes, most } => {
                write!(f, "{bytes} bytes of memory are in use, {most} may be")
            }
            Self::Silent => {
                f.write_str("its own thread does not turn: a hook or a listener blocks")
            }
            Self::RestartsUsedUp { who } => write!(f, "{who} died too often"),
            Self::LeaseLost => f.write_str("a lease was lost"),
            Self::Ended => f.write_str("it has ended"),
        }
    }
}

/// What health is read off.
pub(crate) struct Vitals {
    wards: HashMap<KindHash, Arc<Ward>>,
    lingering: Arc<AtomicUsize>,
    pub(crate) stuck_max: usize,
    /// Whether the control thread does not turn.
    silent: AtomicBool,
    seen: Mutex<Seen>,
}

/// What was told lately.
#[derive(Default)]
struct Seen {
    broker: Option<(Instant, &'static str, String)>,
    lease: Option<Instant>,
    used_up: Option<String>,
    memory: Option<(u64, u64)>,
}

/// One thread that lingers, counted until this is dropped.
pub(crate) struct Lingering(Arc<AtomicUsize>);

impl Drop for Lingering {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Vitals {
    pub(crate) fn new(wards: HashMap<KindHash, Arc<Ward>>, stuck_max: usize) -> Arc<Self> {
        let (lingering, silent, seen) = Default::default();
        Arc::new(Self { wards, lingering, stuck_max, silent, seen })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more thread lingers.
    pub(crate) fn linger(&self) -> Lingering {
        self.lingering.fetch_add(1, Ordering::AcqRel);
        Lingering(self.lingering.clone())
    }

    pub(crate) fn lingering(&self) -> usize {
        self.lingering.load(Ordering::Acquire)
    }

    /// What ends the worker, if more threads linger than are borne.
    pub(crate) fn too_many_linger(&self) -> Option<String> {
        let (lingering, most) = (self.lingering(), self.stuck_max);
        (lingering > most).then(|| format!("{lingering} threads are stuck; {most} are borne"))
    }

    /// Takes note of what is told.
    pub(crate) fn note(&self, event: &Event) {
        match event {
            Event::BrokerFailed { verb, error } => {
                self.seen().broker = Some((Instant::now(), verb, error.clone()));
            }
            Event::LeaseLost { .. } => self.seen().lease = Some(Instant::now()),
            Event::MemoryExceeded { bytes, most } => self.seen().memory = Some((*bytes, *most)),
            _ => {}
        }
    }

    /// Whether the control thread does not turn; answers whether that is news.
    pub(crate) fn is_silent(&self, silent: bool) -> bool {
        self.silent.swap(silent, Ordering::AcqRel) != silent
    }

    /// Whether leases are to be left to run out.
    pub(crate) fn lets_leases_go(&self) -> bool {
        self.silent.load(Ordering::Acquire)
    }

    /// An actor used up its restarts.
    pub(crate) fn used_up(&self, who: String) {
        self.seen().used_up.get_or_insert(who);
    }

    /// How it fares now.
    pub(crate) fn health(&self, ended: bool) -> Health {
        let (mut reasons, mut unserved) = (Vec::new(), 0);
        for ward in self.wards.values() {
            let kind = ward.kind.to_string();
            match ward.standing() {
                Standing::Serving => continue,
                Standing::Stopped => reasons.push(Reason::Stopped { kind }),
                Standing::Quarantined(_) | Standing::Probing { .. } => {
                    reasons.push(Reason::Quarantined { kind });
                }
            }
            unserved += 1;
        }
        let (threads, most) = (self.lingering(), self.stuck_max);
        if threads > 0 {
            reasons.push(Reason::Lingering { threads, most });
        }
        let seen = self.seen();
        let fresh = |then: Instant, memory| then.elapsed() < memory;
        if let Some((then, verb, error)) = &seen.broker
            && fresh(*then, BROKER_FAILURE_MEMORY)
        {
            let (verb, error) = ((*verb).to_owned(), error.clone());
            reasons.push(Reason::BrokerFailing { verb, error });
        }
        if seen.lease.is_some_and(|then| fresh(then, LEASE_LOSS_MEMORY)) {
            reasons.push(Reason::LeaseLost);
        }
        let (used_up, memory, silent) = (seen.used_up.clone(), seen.memory, self.lets_leases_go());
        let ending = ended || used_up.is_some() || memory.is_some() || silent;
        let failing = ending || threads > most || unserved == self.wards.len();
        reasons.extend(memory.map(|(bytes, most)| Reason::MemoryExceeded { bytes, most }));
        reasons.extend(silent.then_some(Reason::Silent));
        reasons.extend(used_up.map(|who| Reason::RestartsUsedUp { who }));
        reasons.extend(ended.then_some(Reason::Ended));
        match (failing, reasons.is_empty()) {
            (true, _) => Health::Failing(reasons),
            (false, false) => Health::Degraded(reasons),
            (false, true) => Health::Ok,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use crate::queue::Kind;
    use crate::restart::{Exit, OnExceeded, Policy};

    use super::*;

    fn ward(kind: &str, on_exceeded: OnExceeded) -> (KindHash, Arc<Ward>) {
        let kind = Kind::parse(kind).expect("a kind");
        let policy = Policy::DEFAULT.intensity(0, Duration::from_secs(1)).on_exceeded(on_exceeded);
        (kind.hash(), Ward::new(kind, policy, CancellationToken::new()))
    }

    #[test]
    fn one_word_and_its_reasons() {
        let (mail, log) =
            (ward("mail", Policy::DEFAULT.on_exceeded), ward("log", OnExceeded::StopChild));
        let vitals = Vitals::new(HashMap::from([mail.clone(), log.clone()]), 1);
        assert_eq!(vitals.health(false), Health::Ok);
        mail.1.exited(0, Exit::Abnormal);
        let quarantined = Reason::Quarantined { kind: "mail".into() };
        assert_eq!(vitals.health(false), Health::Degraded(vec![quarantined.clone()]));
        log.1.exited(0, Exit::Abnormal);
        let Health::Failing(reasons) = vitals.health(false) else { panic!("no kind is served") };
        let stopped = Reason::Stopped { kind: "log".into() };
        assert!(reasons.contains(&quarantined) && reasons.contains(&stopped), "{reasons:?}");
        let json = serde_json::to_string(&Health::Degraded(vec![quarantined])).expect("written");
        let expected =
            r#"{"health":"degraded","reasons":[{"reason":"quarantined","kind":"mail"}]}"#;
        assert_eq!(json, expected);
    }

    #[test]
    fn what_lingers_and_what_failed_is_told_while_it_lasts() {
        let vitals = Vitals::new(HashMap::from([ward("mail", OnExceeded::Escalate)]), 1);
        let one = vitals.linger();
        let lingering = |threads| vec![Reason::Lingering { threads, most: 1 }];
        assert_eq!(vitals.health(false), Health::Degraded(lingering(1)));
        let two = vitals.linger();
        assert_eq!(vitals.health(false), Health::Failing(lingering(2)));
        drop((one, two));
        assert_eq!(vitals.health(false), Health::Ok);
        vitals.note(&Event::BrokerFailed { verb: "settle", error: "down".into() });
        let failing = Reason::BrokerFailing { verb: "settle".into(), error: "down".into() };
        assert_eq!(vitals.health(false), Health::Degraded(vec![failing.clone()]));
        vitals.used_up("scheduler".to_owned());
        let used_up = Reason::RestartsUsedUp { who: "scheduler".into() };
        assert_eq!(vitals.health(false), Health::Failing(vec![failing, used_up]));
        assert!(
            matches!(vitals.health(true), Health::Failing(why) if why.contains(&Reason::Ended))
        );
    }
}
