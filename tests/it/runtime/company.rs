//! A worker under test, its client, and what it tells.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use oncue::broker::sqlite::{Options, SqliteBroker};
use oncue::broker::{Operate, TaskView};
use oncue::event::Event;
use oncue::outcome::Decision;
use oncue::seal::{Keyring, Sealer};
use oncue::state::{Reason, State};
use oncue::worker::Builder;
use oncue::{Client, Handle, RetryPolicy, Task, Worker};
use serde::{Deserialize, Serialize};

/// Longest a test waits for an event before it fails instead of hanging.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// A retry at once.
pub const AT_ONCE: RetryPolicy = RetryPolicy::fixed(Duration::from_millis(1));

/// A client of a broker in memory, with a key of its own.
pub fn client() -> Client {
    oncue::block_on(oncue::connect("sqlite::memory:")).expect("a broker in memory")
}

/// A client of the Redis at this URL under a fresh key.
#[cfg(feature = "redis")]
pub fn client_on(url: &str) -> Client {
    client_of(broker_on(url))
}

/// The Redis at this URL.
#[cfg(feature = "redis")]
pub fn broker_on(url: &str) -> Arc<dyn Operate> {
    use oncue::broker::redis::{Options, RedisBroker};
    let options = Options::parse(url).expect("a URL");
    Arc::new(RedisBroker::open(options).expect("a broker"))
}

/// A broker in memory that has seen no key yet.
pub fn broker() -> Arc<dyn Operate> {
    Arc::new(SqliteBroker::open(Options::memory()).expect("a broker in memory"))
}

/// A client of this broker under a fresh key.
pub fn client_of(broker: Arc<dyn Operate>) -> Client {
    let sealer = Sealer::new(Keyring::generate().expect("keys"), "test").expect("a sealer");
    Client::new(broker, sealer)
}

/// A worker and what it told so far.
pub struct Company {
    pub client: Client,
    pub worker: Worker,
    events: Receiver<Event>,
}

impl Company {
    /// Starts a worker; its events are kept.
    pub fn start(client: Client, build: impl FnOnce(Builder) -> Builder) -> Self {
        let (tell, events) = channel();
        let builder = client.worker().on_event(move |event| drop(tell.send(event.clone())));
        let worker = oncue::block_on(build(builder).start()).expect("the worker starts");
        Self { client, worker, events }
    }

    /// Enqueues one task.
    pub fn put<T: Task>(&self, draft: impl Into<oncue::Draft<T>>) -> Handle {
        oncue::block_on(self.client.enqueue(draft)).expect("enqueued")
    }

    /// Waits until an event is one of these, and answers what it is.
    #[track_caller]
    pub fn until<V>(&self, pick: impl FnMut(&Event) -> Option<V>) -> V {
        await_event(&self.events, pick)
    }

    /// Waits until a run of this task is settled, and answers how.
    #[track_caller]
    pub fn settled(&self, task: &Handle) -> (Decision, Option<String>) {
        self.until(|event| match event {
            Event::Settled { id, decision, class, .. } if *id == task.id() => {
                Some((*decision, class.clone()))
            }
            _ => None,
        })
    }

    /// Waits until this task crashed, crashed again, crashed twice alone, and was archived for it.
    #[track_caller]
    pub fn poisoned(&self, pill: &Handle) {
        for expected in [
            Decision::Release { alone: false },
            Decision::Release { alone: true },
            Decision::Release { alone: true },
            Decision::Archive(Reason::Poisoned),
        ] {
            assert_eq!(self.settled(pill).0, expected);
        }
    }

    /// Waits until as many runs completed.
    #[track_caller]
    pub fn completed(&self, mut count: usize) {
        self.until(|event| {
            if let Event::Settled { decision: Decision::Complete(_), .. } = event {
                count -= 1;
            }
            (count == 0).then_some(())
        });
    }

    /// Waits until a run of this task began.
    #[track_caller]
    pub fn started(&self, task: &Handle) {
        self.until(|event| match event {
            Event::Started { id, .. } => (*id == task.id()).then_some(()),
            _ => None,
        });
    }

    /// Shuts the worker down.
    pub fn end(self) -> (Client, oncue::worker::Report) {
        let report = oncue::block_on(self.worker.shutdown()).expect("a report");
        (self.client, report)
    }
}

/// The task as a reader sees it.
pub fn show(client: &Client, task: &Handle) -> Option<TaskView> {
    oncue::block_on(client.broker().show(task.queue().clone(), task.id())).expect("shown")
}

/// How many tasks of a queue are in a state.
pub fn count(client: &Client, queue: &str, state: State) -> u64 {
    let stats = oncue::block_on(client.broker().stats()).expect("stats");
    stats.iter().find(|stats| stats.queue.as_str() == queue).map_or(0, |stats| stats.count(state))
}

/// A task that is a number.
#[derive(Serialize, Deserialize, Clone, Copy)]
pub struct Number(pub u64);

impl Task for Number {
    const KIND: &'static str = "number";
    const RETENTION: Duration = Duration::from_secs(600);
    const MAX_RETRY: u32 = 3;
    const RETRY: RetryPolicy = AT_ONCE;
}

/// Another kind, with a queue of its own.
#[derive(Serialize, Deserialize, Clone, Copy)]
pub struct Other(pub u64);

impl Task for Other {
    const KIND: &'static str = "other";
    const QUEUE: &'static str = "others";
    const RETRY: RetryPolicy = AT_ONCE;
}

/// Waits until an event is one of these, and answers what it is.
#[track_caller]
pub fn await_event<V>(events: &Receiver<Event>, mut pick: impl FnMut(&Event) -> Option<V>) -> V {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let event = events.recv_timeout(left).expect("the event comes in time");
        if let Some(value) = pick(&event) {
            return value;
        }
    }
}
