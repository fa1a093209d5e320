//! A ward: how one kind stands in this worker, and who may pass.
//!
//! Decisions are `restart::Record`'s. This is where actors on many threads meet it: the Fetcher asks for room, a
//! job carries its pass, a run asks whether it may still begin.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::queue::Kind;
use crate::restart::{Directive, Exit, Policy, Record, Standing};

use super::config::chance;

/// The ward of one kind.
pub(crate) struct Ward {
    pub(crate) kind: Kind,
    pub(crate) policy: Policy,
    /// Ends every run of this kind now; its task goes back.
    pub(crate) cut: CancellationToken,
    record: Mutex<Record>,
    open: watch::Sender<bool>,
}

impl Ward {
    pub(crate) fn new(kind: Kind, policy: Policy, cut: CancellationToken) -> Arc<Self> {
        let (record, open) = (Mutex::default(), watch::channel(true).0);
        Arc::new(Self { kind, policy, cut, record, open })
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the record; whether the ward is open follows.
    fn change<V>(&self, change: impl FnOnce(&mut Record) -> V) -> V {
        let mut record = self.record();
        let answer = change(&mut record);
        let open = record.standing() == Standing::Serving;
        self.open.send_if_modified(|was| std::mem::replace(was, open) != open);
        answer
    }

    pub(crate) fn standing(&self) -> Standing {
        self.record().standing()
    }

    /// A child ended so; what is to be done, and whether it was in quarantine before.
    pub(crate) fn exited(&self, child: usize, exit: Exit) -> (Directive, bool) {
        self.change(|record| {
            let before = matches!(record.standing(), Standing::Quarantined(_));
            (record.exited(&self.policy, child, exit, Instant::now(), chance()), before)
        })
    }

    /// Whether a probe is due.
    pub(crate) fn look(&self) -> Directive {
        self.change(|record| record.look(Instant::now()))
    }

    /// Served no longer.
    pub(crate) fn stop(&self) {
        self.change(Record::stop);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.standing() == Standing::Stopped
    }

    /// A replica is at its end; its exit is on its way.
    pub(crate) fn dying(&self) {
        self.record().dying();
    }

    /// How many more tasks may be claimed.
    pub(crate) fn room(&self) -> usize {
        match self.standing() {
            Standing::Serving => usize::MAX,
            Standing::Probing { taken: false } => 1,
            _ => 0,
        }
    }

    /// Whether tasks in hand may begin, now and from now on.
    pub(crate) fn opening(&self) -> watch::Receiver<bool> {
        self.open.subscribe()
    }

    /// Lets a task through, if one may.
    pub(crate) fn admit(self: &Arc<Self>) -> Option<Pass> {
        let mut record = self.record();
        let is_probe = record.standing() != Standing::Serving;
        let probe = || Arc::new(Probe(self.clone()));
        let passes = record.admit();
        passes.then(|| Pass { ward: self.clone(), probe: is_probe.then(probe) })
    }
}

/// What a task that was let through carries. Those that were claimed together share it.
#[derive(Clone)]
pub(crate) struct Pass {
    pub(crate) ward: Arc<Ward>,
    probe: Option<Arc<Probe>>,
}

/// The one piece of work that is let through to see how its kind fares; over when this is dropped.
struct Probe(Arc<Ward>);

impl Pass {
    pub(crate) fn is_probe(&self) -> bool {
        self.probe.is_some()
    }

    /// Whether its run may begin.
    pub(crate) fn is_good(&self) -> bool {
        self.is_probe() || *self.ward.open.borrow()
    }

    /// Ends once its run is not to begin.
    pub(crate) async fn barred(&self) {
        let barred = self.ward.opening().wait_for(|open| !open).await.is_ok();
        if self.is_probe() || !barred {
            std::future::pending().await
        }
    }

    /// The task was answered, whatever the answer; whether that ends a quarantine.
    pub(crate) fn answered(&self) -> bool {
        self.is_probe() && self.ward.change(Record::answered)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.change(Record::give_back);
    }
}
