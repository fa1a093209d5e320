//! The bench: a client on a broker in memory, keys of its own, and a clock that moves when it is told to.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::broker::sqlite::{Options, SqliteBroker};
use crate::client::Client;
use crate::clock::{ManualClock, Timestamp};
use crate::error::Result;
use crate::seal::{Keyring, Sealer};
use crate::worker::Builder;

use super::crew::{Crew, Drained, RUNS_MAX};
use super::ground::Ground;
use super::wire::Wire;

/// The namespace of every bench.
const NAMESPACE: &str = "testing";

/// A broker in memory with a clock of its own, for one test.
pub struct Bench {
    pub(super) ground: Arc<Ground>,
    client: Client,
    clock: BenchClock,
    pub(super) runs_max: u64,
}

/// The clock of a [`Bench`]: it stands still until somebody moves it, and a drain does. Clones are the same clock.
#[derive(Clone)]
pub struct BenchClock(Arc<Ground>);

impl BenchClock {
    /// What time it is.
    pub fn now(&self) -> Timestamp {
        self.0.now()
    }

    /// Lets time pass. A worker that runs hears of it at once.
    pub fn pass(&self, time: Duration) {
        self.0.pass(time);
    }
}

impl Bench {
    /// A fresh one, at the present time.
    pub fn new() -> Result<Self> {
        Self::at(SystemTime::now())
    }

    /// A fresh one, at this time.
    pub fn at(time: SystemTime) -> Result<Self> {
        let clock = Arc::new(ManualClock::at(time.into()));
        let broker = SqliteBroker::open(Options::memory().clock(clock.clone()))?;
        let ground = Arc::new(Ground::new(Arc::new(broker), clock));
        let wire = Arc::new(Wire::of_client(ground.clone()));
        let client = Client::new(wire, Sealer::new(Keyring::generate()?, NAMESPACE)?);
        let clock = BenchClock(ground.clone());
        Ok(Self { client, clock, ground, runs_max: RUNS_MAX })
    }

    /// Most runs of one drain, in place of [`RUNS_MAX`].
    #[must_use]
    pub fn runs_max(self, runs: u64) -> Self {
        Self { runs_max: runs, ..self }
    }

    /// The client. Handlers under test may have a clone of it.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The clock.
    pub fn clock(&self) -> &BenchClock {
        &self.clock
    }

    /// Starts the worker that `build` makes, lets it run all that is due, lets time jump to when the next task is due,
    /// and so on until no task is left that it handles; then ends it. Months of retries take milliseconds, if the
    /// handlers do. The worker has one thread unless told otherwise. Needs a tokio or actix runtime.
    ///
    /// # Errors
    /// What is wrong with the worker [`is_invalid`](crate::Error::is_invalid); more than
    /// [`RUNS_MAX`] runs, or nothing that changes for [`STALLED_AFTER`](super::STALLED_AFTER) while
    /// something is due, [`is_timeout`](crate::Error::is_timeout).
    pub async fn drain(&self, build: impl FnOnce(Builder) -> Builder) -> Result<Drained> {
        self.play(None, build).await
    }

    /// The same for what is due within this time, which has passed when it ends: ticks of the timetable, too, each at its
    /// time, so that months of them take milliseconds as well. ([`drain`](Self::drain) does not wait for them: they have
    /// no end.)
    pub async fn drain_for(
        &self,
        time: Duration,
        build: impl FnOnce(Builder) -> Builder,
    ) -> Result<Drained> {
        self.play(Some(self.clock.now().plus(time)), build).await
    }

    async fn play(
        &self,
        until: Option<Timestamp>,
        build: impl FnOnce(Builder) -> Builder,
    ) -> Result<Drained> {
        let crew = Crew::start(self, build).await?;
        let worked = crew.work(until).await;
        let drained = crew.dismiss().await?;
        worked.map(|()| drained)
    }
}
