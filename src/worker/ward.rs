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
    kept: Mutex<Kept>,
    open: watch::Sender<bool>,
}

#[derive(Default)]
struct Kept {
    record: Record,
    /// The number of the latest probe: those before it have no say any more.
    probe: u64,
}

impl Ward {
    pub(crate) fn new(kind: Kind, policy: Policy, cut: CancellationToken) -> Arc<Self> {
        let (kept, open) = (Mutex::default(), watch::channel(true).0);
        Arc::new(Self { kind, policy, cut, kept, open })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the record; whether the ward is open follows.
    fn change<V>(&self, change: impl FnOnce(&mut Kept) -> V) -> V {
        let mut kept = self.kept();
        let answer = change(&mut kept);
        let open = kept.record.standing() == Standing::Serving;
        self.open.send_if_modified(|was| std::mem::replace(was, open) != open);
        answer
    }

    pub(crate) fn standing(&self) -> Standing {
        self.kept().record.standing()
    }

    /// A child ended so; what is to be done, and whether it was in quarantine before.
    pub(crate) fn exited(&self, child: usize, exit: Exit) -> (Directive, bool) {
        self.change(|Kept { record, .. }| {
            let before = matches!(record.standing(), Standing::Quarantined(_));
            (record.exited(&self.policy, child, exit, Instant::now(), chance()), before)
        })
    }

    /// Whether a probe is due.
    pub(crate) fn look(&self) -> Directive {
        self.change(|kept| {
            let directive = kept.record.look(Instant::now());
            kept.probe += u64::from(directive == Directive::Probe);
            directive
        })
    }

    /// Served no longer.
    pub(crate) fn stop(&self) {
        self.change(|kept| kept.record.stop());
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.standing() == Standing::Stopped
    }

    /// A replica is at its end; its exit is on its way.
    pub(crate) fn dying(&self) {
        self.kept().record.dying();
    }

    /// Who serves it at a place is replaced, be it that it was dying.
    pub(crate) fn replaced(&self) {
        self.kept().record.replaced();
    }

    /// A probe did not run after all. One that is not the latest has no say.
    pub(crate) fn give_back(&self, probe: u64) {
        self.change(|kept| {
            if kept.probe == probe {
                kept.record.give_back();
            }
        });
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
        let mut kept = self.kept();
        let is_probe = kept.record.standing() != Standing::Serving;
        if !kept.record.admit() {
            return None;
        }
        kept.probe += u64::from(is_probe);
        let probe = is_probe.then(|| Arc::new(Probe { ward: self.clone(), number: kept.probe }));
        Some(Pass { ward: self.clone(), probe })
    }
}

/// What a task that was let through carries. Those that were claimed together share it.
#[derive(Clone)]
pub(crate) struct Pass {
    pub(crate) ward: Arc<Ward>,
    probe: Option<Arc<Probe>>,
}

/// The one piece of work that is let through to see how its kind fares; over when this is dropped.
struct Probe {
    ward: Arc<Ward>,
    number: u64,
}

impl Pass {
    pub(crate) fn is_probe(&self) -> bool {
        self.probe.is_some()
    }

    /// The number of the probe it is, for whoever gives it back in its place.
    pub(crate) fn probe(&self) -> Option<u64> {
        self.probe.as_ref().map(|probe| probe.number)
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
        let Some(number) = self.probe() else { return false };
        self.ward.change(|kept| kept.probe == number && kept.record.answered())
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.ward.give_back(self.number);
    }
}
