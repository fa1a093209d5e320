//! A database file that several workers share, each with a broker of its own, by one clock that stands unless moved.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use oncue::broker::Operate;
use oncue::broker::sqlite::{Options, SqliteBroker};
use oncue::clock::{Clock, ManualClock, Timestamp};
use oncue::event::{Event, Skipped};
use oncue::seal::{Keyring, Sealer};
use oncue::timetable::{Entry, TICK_HEADER};
use oncue::worker::Builder;
use oncue::{Client, TaskContext, TaskResult, Worker};
use tempfile::TempDir;

use crate::runtime::company::{Number, PATIENCE, await_event};

/// When the clock stands at first: a whole hour.
pub const START: Timestamp = Timestamp(1_800_000_000_000);
pub const SECOND: Duration = Duration::from_secs(1);
pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3_600);

/// Which run it was: what it counts for, and its tick.
pub type Run = (u64, String);

/// The place.
pub struct Scene {
    pub folder: TempDir,
    pub clock: Arc<ManualClock>,
    pub client: Client,
    sealer: Sealer,
    told: (Sender<Event>, Receiver<Event>),
    ran: (Sender<Run>, Receiver<Run>),
}

impl Scene {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(ManualClock::at(START));
        let sealer = Sealer::new(Keyring::generate().expect("keys"), "test").expect("a sealer");
        let broker = open(&folder, &clock);
        let client = Client::new(broker, sealer.clone());
        Self { folder, clock, client, sealer, told: channel(), ran: channel() }
    }

    /// One more broker on the file.
    pub fn broker(&self) -> Arc<dyn Operate> {
        open(&self.folder, &self.clock)
    }

    /// A worker by way of this broker, which runs numbers.
    pub fn worker_on(
        &self,
        broker: Arc<dyn Operate>,
        build: impl FnOnce(Builder) -> Builder,
    ) -> Worker {
        let (tell, ran) = (self.told.0.clone(), self.ran.0.clone());
        let run = move |number: Number, context: TaskContext| {
            let tick = context.header(TICK_HEADER).unwrap_or("no tick").to_owned();
            let _ = ran.send((number.0, tick));
            async move { TaskResult::Ok(number.0) }
        };
        let worker = Client::new(broker, self.sealer.clone()).worker();
        let worker = worker.on_event(move |event| drop(tell.send(event.clone()))).handle(run);
        oncue::block_on(build(worker).start()).expect("it starts")
    }

    pub fn worker(&self) -> Worker {
        self.worker_on(self.broker(), |worker| worker)
    }

    pub fn put(&self, entry: Entry) {
        assert!(oncue::block_on(self.client.cron().put(entry)).expect("put"), "it is new");
    }

    /// Moves the clock, and wakes whoever works by it.
    pub fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.poke();
    }

    /// Something is written into the timetable.
    pub fn poke(&self) {
        oncue::block_on(async {
            let cron = self.client.cron();
            cron.put(entry("poke", "@yearly", 0)).await?;
            cron.remove("poke").await
        })
        .expect("poked");
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Waits until as many tasks ran; which.
    #[track_caller]
    pub fn runs(&self, count: usize) -> Vec<Run> {
        let deadline = Instant::now() + PATIENCE;
        let next = |_| {
            let left = deadline.saturating_duration_since(Instant::now());
            self.ran.1.recv_timeout(left).expect("it runs in time")
        };
        (0..count).map(next).collect()
    }

    /// What ran beside what was waited for.
    pub fn more_runs(&self) -> Vec<Run> {
        self.ran.1.try_iter().collect()
    }

    /// Waits for an event.
    #[track_caller]
    pub fn until<V>(&self, pick: impl FnMut(&Event) -> Option<V>) -> V {
        await_event(&self.told.1, pick)
    }

    /// Waits until ticks of this entry are passed over; up to which, and why.
    #[track_caller]
    pub fn skipped(&self, name: &str) -> (Timestamp, Skipped) {
        self.until(|event| match event {
            Event::TickSkipped { entry, at, why, .. } if entry == name => Some((*at, *why)),
            _ => None,
        })
    }

    /// Waits until an entry has come as far.
    #[track_caller]
    pub fn reaches(&self, name: &str, last: Timestamp) {
        let deadline = Instant::now() + PATIENCE;
        while oncue::block_on(self.client.cron().get(name)).expect("there").last < last {
            assert!(Instant::now() < deadline, "{name} does not reach {last}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn open(folder: &TempDir, clock: &Arc<ManualClock>) -> Arc<dyn Operate> {
    let options = Options::file(folder.path().join("a.db")).clock(clock.clone());
    Arc::new(SqliteBroker::open(options).expect("a broker"))
}

/// An entry that enqueues this number.
pub fn entry(name: &str, schedule: &str, number: u64) -> Entry {
    Entry::new(name, schedule, Number(number)).expect("an entry")
}

/// How often each run was.
pub fn counted(runs: Vec<Run>) -> BTreeMap<Run, usize> {
    let mut counts = BTreeMap::new();
    runs.into_iter().for_each(|run| *counts.entry(run).or_default() += 1);
    counts
}

pub fn end(worker: Worker) {
    oncue::block_on(worker.shutdown()).expect("ends");
}
