//! A run that is ended from outside while its deed goes on: who of its processes outlives it.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use futures::FutureExt;
use oncue::broker::sqlite::{Options, SqliteBroker};
use oncue::broker::{Ask, Beat, Beaten};
use oncue::event::Event;
use oncue::seal::{Keyring, Sealer};
use oncue::{Client, Draft, Handle};

use super::ask::Cut;
use super::census;
use super::deed::Deed;
use super::proxy::Proxy;

/// From the enqueueing to the deadline: long enough for a deed to make its processes.
const DEADLINE: Duration = Duration::from_millis(1_500);
/// A beat, which tells of lost leases, comes three times a lease.
pub const LEASE: Duration = Duration::from_secs(2);
/// Longer than anything here.
const HELD: Duration = Duration::from_secs(3_600);

/// A client of a broker in memory that loses the leases when it is told to.
pub struct Broker {
    pub client: Client,
    loses: Arc<AtomicBool>,
}

impl Broker {
    pub fn open() -> oncue::Result<Self> {
        let loses = Arc::new(AtomicBool::new(false));
        let mut proxy = Proxy::of(Arc::new(SqliteBroker::open(Options::memory())?));
        let told = loses.clone();
        // For the broker they hold: what was lost is not run again meanwhile.
        proxy.dequeue = Box::new(|inner, ask| inner.dequeue(Ask { lease: HELD, ..ask }));
        proxy.beat = Box::new(move |inner, beat| {
            // What a broker answers that gave the sessions to somebody else.
            if told.swap(false, Ordering::SeqCst) {
                let mut beaten = Beaten::default();
                beaten.lost = beat.sessions.iter().map(|session| session.id).collect();
                return ready(Ok(beaten)).boxed();
            }
            inner.beat(Beat { lease: HELD, ..beat })
        });
        let client = Client::new(Arc::new(proxy), Sealer::new(Keyring::generate()?, "hostile")?);
        Ok(Self { client, loses })
    }

    /// Ends the run of this task, which is under way, once there are so many processes; answers which.
    pub async fn cut(
        &self,
        task: &Handle,
        (cut, processes): (Cut, usize),
    ) -> oncue::Result<Vec<i32>> {
        let deed = census::descendants(processes);
        match cut {
            Cut::Cancel => drop(task.cancel().await?),
            Cut::Lease => self.loses.store(true, Ordering::SeqCst),
            Cut::Deadline => {}
        }
        Ok(deed)
    }
}

/// With a deadline, if it is to be cut by one.
pub fn timed(draft: Draft<Deed>, cut: Option<(Cut, usize)>) -> Draft<Deed> {
    match cut {
        Some((Cut::Deadline, _)) => draft.deadline(SystemTime::now() + DEADLINE),
        _ => draft,
    }
}

/// Whether this tells that the run of this task is over.
pub fn is_over(event: &Event, task: &Handle) -> bool {
    matches!(event, Event::Settled { id, .. } | Event::LeaseLost { id } if *id == task.id())
}
