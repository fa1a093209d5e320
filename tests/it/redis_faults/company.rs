//! A worker in this process on Redis, with producers that keep at it, and counts of what ran.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use oncue::broker::Operate;
use oncue::broker::redis::{Options, RedisBroker};
use oncue::event::Event;
use oncue::seal::{Keyring, Sealer};
use oncue::state::State;
use oncue::worker::Builder;
use oncue::{Client, Data, TaskResult, Worker};

use super::site::eventually;
use crate::runtime::company::{Number, count};

/// Leases short enough to run out within a test.
pub const LEASE: Duration = Duration::from_millis(1_500);
/// The server of a test answers at once, or it is as good as gone.
const TIMEOUT: &str = "2s";

/// Who works for the same queue.
pub struct Shop {
    url: String,
    sealer: Sealer,
    pub told: Arc<Told>,
}

/// What workers told.
#[derive(Debug, Default)]
pub struct Told {
    pub ran: AtomicU64,
    pub settled: AtomicU64,
    pub lost: AtomicU64,
    pub reclaimed: AtomicU64,
    pub failed: AtomicU64,
    /// Which verbs failed, and what each said.
    pub why: Mutex<BTreeSet<String>>,
}

impl Told {
    pub fn settled(&self) -> u64 {
        self.settled.load(Ordering::SeqCst)
    }

    /// Waits until a call of a worker has failed with these words.
    #[track_caller]
    pub fn until_failed(&self, words: &str) {
        eventually(&format!("{words:?} of {:?}", self.why), || {
            self.why.lock().expect("whole").iter().any(|why| why.contains(words))
        });
    }

    pub fn hear(&self, event: &Event) {
        if let Event::BrokerFailed { verb, error } = event {
            self.why.lock().expect("whole").insert(format!("{verb}: {error}"));
        }
        let counter = match event {
            Event::Settled { .. } => &self.settled,
            Event::LeaseLost { .. } => &self.lost,
            Event::Reclaimed { .. } => &self.reclaimed,
            Event::BrokerFailed { .. } => &self.failed,
            _ => return,
        };
        counter.fetch_add(1, Ordering::SeqCst);
    }
}

impl Shop {
    pub fn at(url: &str) -> Self {
        let sealer = Sealer::new(Keyring::generate().expect("keys"), "test").expect("a sealer");
        Self { url: url.to_owned(), sealer, told: Arc::default() }
    }

    /// A client with connections of its own.
    pub fn client(&self) -> Client {
        self.client_by(&self.url)
    }

    /// The same by another way.
    pub fn client_by(&self, url: &str) -> Client {
        let more = if url.contains('?') { '&' } else { '?' };
        self.client_of(Options::parse(&format!("{url}{more}timeout={TIMEOUT}")).expect("a URL"))
    }

    /// The same with these options.
    pub fn client_of(&self, options: Options) -> Client {
        let broker: Arc<dyn Operate> = Arc::new(RedisBroker::open(options).expect("a broker"));
        Client::new(broker, self.sealer.clone())
    }

    /// A worker whose runs take this long.
    pub fn worker(&self, work: Duration) -> Hand {
        self.worker_of(self.client(), work, |builder| builder)
    }

    pub fn worker_of(
        &self,
        client: Client,
        work: Duration,
        build: impl FnOnce(Builder) -> Builder,
    ) -> Hand {
        async fn run(_: Number, data: Data<(Arc<Told>, Duration)>) -> TaskResult {
            tokio::time::sleep(data.1).await;
            data.0.ran.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
        let told = self.told.clone();
        let builder = client
            .worker()
            .handle(run)
            .data((self.told.clone(), work))
            .lane(oncue::Lane::strict(["default"]).concurrency(16))
            .lease(LEASE)
            .on_event(move |event| told.hear(event));
        Hand(Some(oncue::block_on(build(builder).start()).expect("the worker starts")))
    }

    /// Enqueues one number after the other until it is told to stop.
    pub fn producer(&self, pause: Duration) -> Producer {
        let (client, stop, acked) = (self.client(), Arc::<AtomicBool>::default(), Arc::default());
        let (told, counted): (_, Arc<AtomicU64>) = (stop.clone(), acked);
        let acked = counted.clone();
        let thread = std::thread::spawn(move || {
            oncue::block_on(async {
                for number in 0.. {
                    while !told.load(Ordering::SeqCst) {
                        // Under a key of its own: repeated by the caller, it is one task.
                        let draft = oncue::Task::draft(Number(number)).key(number.to_string());
                        match client.enqueue(draft).await {
                            Ok(_) => break,
                            Err(error) => {
                                let passes = error.is_unreachable()
                                    || error.is_full()
                                    || error.is_undeployed()
                                    || error.is_not_durable();
                                assert!(passes, "{error}");
                                tokio::time::sleep(Duration::from_millis(20)).await;
                            }
                        }
                    }
                    if told.load(Ordering::SeqCst) {
                        return;
                    }
                    counted.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(pause).await;
                }
            });
        });
        Producer { stop, acked, thread: Some(thread) }
    }

    /// Waits until nothing is pending, active or to come; nothing hangs, and no task is active by nobody.
    #[track_caller]
    pub fn drained(&self, client: &Client) {
        let open = [State::Pending, State::Active, State::Retry, State::Scheduled];
        eventually("all to be done", || {
            let stats = oncue::block_on(client.broker().stats());
            stats.is_ok_and(|all| {
                all.iter().all(|stats| open.iter().all(|state| stats.count(*state) == 0))
            })
        });
    }
}

/// How many tasks are completed.
pub fn completed(client: &Client) -> u64 {
    count(client, "default", State::Completed)
}

/// How many were ever completed, whatever became of them since.
pub fn ever_completed(client: &Client) -> u64 {
    let stats = oncue::block_on(client.broker().stats()).expect("stats");
    stats.first().map_or(0, |stats| stats.completed)
}

/// A worker that is shut down at the end.
pub struct Hand(Option<Worker>);

impl Hand {
    pub fn end(mut self) {
        if let Some(worker) = self.0.take() {
            oncue::block_on(worker.shutdown()).expect("a report");
        }
    }
}

/// Enqueues in the background.
pub struct Producer {
    stop: Arc<AtomicBool>,
    acked: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Producer {
    /// How many were acknowledged so far.
    pub fn acked(&self) -> u64 {
        self.acked.load(Ordering::SeqCst)
    }

    /// Stops it; answers how many were acknowledged.
    pub fn end(mut self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().expect("a thread").join().expect("no panic");
        self.acked()
    }
}
