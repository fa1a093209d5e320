//! A broker's threads may die: planned panics in each of them under load, and nothing is lost.
//!
//! What is allowed, and nothing else: a call may fail as unreachable, and is then sent again under the same id. A task still
//! runs exactly once, for no lease is lost: what was claimed and not heard of goes back unrun, and a settle whose answer was
//! lost is found written when it is sent again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use oncue::broker::sqlite::{Options, SqliteBroker};
use oncue::broker::{Beat, Operate, Page, Session, Wake};
use oncue::event::Event;
use oncue::outcome::Decision;
use oncue::queue::QueueName;
use oncue::state::State;
use oncue::worker::{Health, Reason};
use oncue::{Client, Data, Error, FailPoints, Lane, Task, TaskResult};

use super::company::*;

type Ledger = Arc<Mutex<HashMap<u64, usize>>>;

/// How often each place panics.
const DEATHS: usize = 10;
/// How many passes apart at first, so that it meets one call as well as another; then all in a row, which is too often.
const APART: usize = 7;
/// Who enqueues at once.
const PRODUCERS: u64 = 2;
/// Tasks that each of them enqueues at least.
const TASKS: u64 = 100;
/// Tasks in one call.
const CHUNK: u64 = 10;
/// What a producer waits before it sends a call again.
const PAUSE: Duration = Duration::from_millis(10);

async fn run(task: Number, ledger: Data<Ledger>) -> TaskResult {
    *ledger.lock().expect("whole").entry(task.0).or_default() += 1;
    tokio::task::yield_now().await;
    Ok(())
}

fn queue() -> QueueName {
    QueueName::parse("default").expect("a name")
}

/// Repeats a call until it is answered. What failed must say that this is right.
async fn persist<T, F: Future<Output = Result<T, Error>>>(call: impl Fn() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match call().await {
            Ok(answer) => return answer,
            Err(error) => {
                assert!(error.is_unreachable(), "{error:?}");
                assert!(Instant::now() < deadline, "{error:?}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Enqueues these tasks, asks, beats, and waits for the last of them.
async fn load(client: &Client, tasks: std::ops::Range<u64>) {
    let drafts = || tasks.clone().map(|number| Number(number).draft().key(number.to_string()));
    let handles = persist(|| client.enqueue_all(drafts())).await;
    persist(|| client.broker().stats()).await;
    persist(|| {
        let (sessions, lease) = (vec![Session::fresh(queue())], Duration::from_secs(1));
        client.broker().beat(Beat { sessions, lease, presence: None })
    })
    .await;
    // Without wake-ups this never ends.
    let last = handles.last().expect("some");
    let ended = || last.result::<()>().timeout(PATIENCE).into_future();
    persist(ended).await;
}

/// Loads it from several sides until no panic is left, and then as much again; answers how many tasks that were.
fn load_all(client: &Client, planned: &FailPoints, place: &'static str, base: u64) -> u64 {
    let produce = |producer: u64| {
        let base = base + (producer << 32);
        let (mut next, mut after) = (base, 0);
        while after < TASKS {
            after += if planned.left(place) == 0 { CHUNK } else { 0 };
            oncue::block_on(load(client, next..next + CHUNK));
            next += CHUNK;
        }
        next - base
    };
    std::thread::scope(|scope| {
        let producers = (0..PRODUCERS).map(|producer| scope.spawn(move || produce(producer)));
        let producers: Vec<_> = producers.collect();
        producers.into_iter().map(|producer| producer.join().expect("joins")).sum()
    })
}

/// So many panics of a place, `apart` and in a row, while tasks run in few slots; `kick` makes the place be passed.
fn survive(
    client: Client,
    planned: &FailPoints,
    (place, apart): (&'static str, usize),
    kick: impl Fn(),
) {
    let ledger = Ledger::default();
    let data = ledger.clone();
    let company = Company::start(client, |worker| {
        worker.handle(run).data(data).lane(Lane::strict(["default"]).concurrency(4))
    });
    oncue::block_on(load(&company.client, u64::MAX - CHUNK..u64::MAX));
    let mut total = CHUNK;
    for (stage, apart) in (0..).zip([apart, 1]) {
        planned.panic_every(place, DEATHS, apart);
        kick();
        total += load_all(&company.client, planned, place, stage << 48);
    }
    let mut completed = 0;
    company.until(|event| {
        match event {
            Event::Settled { decision: Decision::Complete(_), .. } => completed += 1,
            Event::Settled { .. }
            | Event::LeaseLost { .. }
            | Event::Reclaimed { .. }
            | Event::Restarted { .. } => panic!("{event:?}"),
            _ => {}
        }
        (completed == total).then_some(())
    });
    let health = company.worker.health();
    let is_known = |reason: &Reason| matches!(reason, Reason::BrokerFailing { .. });
    assert!(health.reasons().iter().all(is_known), "{health:?}");
    let (client, report) = company.end();
    assert_eq!((report.completed, report.archived, report.retried), (total, 0, 0));
    for state in [State::Pending, State::Active, State::Retry, State::Archived] {
        assert_eq!(count(&client, "default", state), 0, "{state}");
    }
    let ledger = ledger.lock().expect("whole");
    assert_eq!(ledger.len() as u64, total, "each ran");
    assert!(ledger.values().all(|runs| *runs == 1), "none ran twice");
    let (mut cursor, mut listed) = (None, 0);
    loop {
        let page = Page { queue: queue(), state: State::Completed, cursor, rows: 1_000 };
        let page = oncue::block_on(client.broker().list(page)).expect("listed");
        assert!(page.tasks.iter().all(|task| task.trail.is_empty()), "nobody is charged");
        listed += page.tasks.len() as u64;
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(listed, total, "none is lost");
}

/// Whoever waits at this broker hears what this client enqueues.
fn hears(broker: &dyn Operate, client: &Client) {
    oncue::block_on(async {
        let mark = broker.wait(Wake::Ready, None).await.expect("a mark");
        client.enqueue(Number(0)).await.expect("enqueued");
        let woken = broker.wait(Wake::Ready, Some(mark));
        tokio::time::timeout(PATIENCE, woken).await.expect("in time").expect("woken");
    });
}

/// Work goes on until health, which tells of the calls that failed, is as good as before.
fn become_well(client: Client, planned: &FailPoints, place: &'static str) {
    let data = Ledger::default();
    let company = Company::start(client, |worker| worker.handle(run).data(data));
    planned.panic(place, DEATHS);
    load_all(&company.client, planned, place, 0);
    company.until(|event| matches!(event, Event::BrokerFailed { .. }).then_some(()));
    let (deadline, mut next) = (Instant::now() + PATIENCE, PRODUCERS << 32);
    while company.worker.health() != Health::Ok {
        assert!(Instant::now() < deadline, "{:?}", company.worker.health());
        oncue::block_on(load(&company.client, next..next + CHUNK));
        next += CHUNK;
    }
}

/// A place that panics for ever uses up its deaths and no more: calls are refused in words, and answered again once it
/// is well.
fn give_up_and_heal(broker: &dyn Operate, planned: &FailPoints, place: &'static str) {
    const MANY: usize = 1_000;
    let call = || broker.show(queue(), oncue::TaskId::fresh());
    oncue::block_on(persist(call));
    planned.panic(place, MANY);
    let refused = loop {
        let error = oncue::block_on(call()).expect_err("it dies");
        assert!(error.is_unreachable(), "{error:?}");
        if error.to_string().contains("died too often") {
            break error.to_string();
        }
    };
    assert!(refused.contains(&format!("planned panic of the {place}")), "{refused}");
    // Five restarts are borne; a call that came in the moment of the last death may be the probe of a later life.
    let deaths = MANY - planned.left(place);
    assert!((6..DEATHS).contains(&deaths), "{deaths}");
    planned.panic(place, 0);
    oncue::block_on(persist(call));
    // It is well again: one more death is borne.
    planned.panic(place, 1);
    let error = oncue::block_on(call()).expect_err("it dies");
    assert!(error.is_unreachable() && !error.to_string().contains("too often"), "{error:?}");
    oncue::block_on(call()).expect("borne");
}

/// The same in each of these places, on a broker that is opened so.
macro_rules! survives {
    ($open:ident, $apart:expr, $kick:expr; $($name:ident $place:literal,)*) => { $(
        #[test]
        fn $name() {
            let planned = Arc::new(FailPoints::default());
            let (broker, guard) = $open(planned.clone());
            survive(client_of(broker), &planned, ($place, $apart), || $kick(&guard));
        }
    )* };
}

mod sqlite_file {
    use super::*;
    use tempfile::TempDir;

    fn open(planned: Arc<FailPoints>) -> (Arc<dyn Operate>, TempDir) {
        let directory = tempfile::tempdir().expect("a directory");
        (open_in(&directory, planned), directory)
    }

    fn open_in(directory: &TempDir, planned: Arc<FailPoints>) -> Arc<dyn Operate> {
        let options = Options::file(directory.path().join("tasks.db")).failpoints(planned);
        Arc::new(SqliteBroker::open(options).expect("a broker"))
    }

    survives! { open, APART, |_| ();
        a_command_of_the_writer_may_panic "sqlite command",
        the_writer_may_die_between_commands "oncue-writer",
        the_writer_may_die_before_a_commit "sqlite commit",
        the_writer_may_die_before_its_replies "sqlite reply",
        the_writer_of_beats_may_die "oncue-beats",
        a_query_may_panic "sqlite query",
        a_reader_may_die "oncue-reader",
        the_watchman_may_die "oncue-watchman",
    }

    #[test]
    fn others_are_heard_although_the_watchman_dies() {
        let planned = Arc::new(FailPoints::default());
        let (broker, directory) = open(planned.clone());
        let client = client_of(open_in(&directory, Arc::default()));
        planned.panic("oncue-watchman", DEATHS);
        while planned.left("oncue-watchman") > 0 {
            hears(&*broker, &client);
        }
        hears(&*broker, &client);
    }
}

mod sqlite_memory {
    use super::*;

    fn open(planned: Arc<FailPoints>) -> (Arc<dyn Operate>, ()) {
        let options = Options::memory().failpoints(planned);
        (Arc::new(SqliteBroker::open(options).expect("a broker")), ())
    }

    survives! { open, APART, |_| ();
        a_command_of_the_writer_may_panic "sqlite command",
        the_writer_may_die_between_commands "oncue-writer",
        the_writer_may_die_before_a_commit "sqlite commit",
        the_writer_may_die_before_its_replies "sqlite reply",
    }

    #[test]
    fn what_was_written_and_not_told_wakes_all_the_same() {
        let planned = Arc::new(FailPoints::default());
        let broker = open(planned.clone()).0;
        let client = client_of(broker.clone());
        planned.panic("sqlite reply", 1);
        // Sent again it is found there, and wakes nobody.
        hears(&*broker, &client);
        assert_eq!(planned.left("sqlite reply"), 0);
    }

    #[test]
    fn a_worker_whose_writer_died_is_well_again() {
        let planned = Arc::new(FailPoints::default());
        become_well(client_of(open(planned.clone()).0), &planned, "oncue-writer");
    }

    #[test]
    fn a_writer_that_dies_for_ever_is_left_alone_and_heals() {
        let planned = Arc::new(FailPoints::default());
        give_up_and_heal(&*open(planned.clone()).0, &planned, "oncue-writer");
    }
}

#[cfg(feature = "redis")]
mod redis {
    use super::*;
    use crate::redis_servers::server::Server;
    use oncue::broker::redis::{Options, RedisBroker};

    fn open(planned: Arc<FailPoints>) -> (Arc<dyn Operate>, Server) {
        let server = Server::start();
        let options = Options::parse(&server.url()).expect("a URL").failpoints(planned);
        (Arc::new(RedisBroker::open(options).expect("a broker")), server)
    }

    survives! { open, APART, |_| ();
        a_call_may_panic_before_it_is_sent "redis call",
        a_call_may_panic_over_its_answer "redis answer",
        a_flight_may_panic_before_it_is_sent "redis flight",
        a_flight_may_panic_over_its_answer "redis landing",
        the_thread_may_die "oncue-redis",
        the_thread_of_beats_may_die "oncue-beats",
    }

    /// It is passed when a connection is to be made.
    fn cut(server: &Server) {
        server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
        server.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    }

    survives! { open, 1, cut;
        the_keeper_of_a_link_may_die "redis keeper",
    }

    #[test]
    fn a_worker_whose_thread_died_is_well_again() {
        let planned = Arc::new(FailPoints::default());
        let (broker, _server) = open(planned.clone());
        become_well(client_of(broker), &planned, "oncue-redis");
    }

    #[test]
    fn a_thread_that_dies_for_ever_is_left_alone_and_heals() {
        let planned = Arc::new(FailPoints::default());
        let (broker, _server) = open(planned.clone());
        give_up_and_heal(&*broker, &planned, "oncue-redis");
    }
}
