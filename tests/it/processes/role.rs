//! What a child does, by its role. It ends with its part, or with its parent.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use oncue::event::Event;
use oncue::timetable::{Entry, Missed};
use oncue::worker::Builder;
use oncue::{Client, Data, Task, TaskContext, TaskResult};
use rustix::process::{Pid, Resource, Rlimit, Signal, setrlimit};
use tokio::sync::Semaphore;

use super::ledger::{Ledger, now};
use super::player::{MARK, PARENT, QUEUE, ROLE};
use super::stage::connect;
use crate::runtime::company::Number;

/// Where a role keeps its ledger.
pub const LEDGER: &str = "ONCUE_TEST_LEDGER";
/// The first number a producer enqueues, and the one after its last.
pub const RANGE: [&str; 2] = ["ONCUE_TEST_FROM", "ONCUE_TEST_TO"];
/// When a number of the later role is not worth running any more: less than clocks jump.
const EXPIRES: Duration = Duration::from_secs(600);
/// What the results of a gated worker say, so that it is known whose they are.
pub const NAME: &str = "ONCUE_TEST_NAME";
/// Leases short enough to run out within a test, long enough for a machine that is busy.
pub const LEASE: Duration = Duration::from_secs(1);
/// File descriptors of a process that has few.
const FILES: u64 = 64;
/// How long a run of the crowd takes.
const WORK: Duration = Duration::from_millis(5);
/// The number that takes down whoever runs it.
pub const PILL: u64 = 250;
/// Runs at once in a worker that meets it.
const NEIGHBOURS: usize = 64;
/// Numbers from here on take longer than two leases.
pub const SLOW: u64 = 1_000_000;
/// How long after it was enqueued a number of the later role is due.
pub const DELAY: Duration = Duration::from_secs(1);
/// Runs at once in a worker of the crowd. Few and short ones: a kill is charged to all of them.
const CONCURRENCY: usize = 8;
/// Longest batch of a producer of the crowd.
const BATCH_MAX: u64 = 20;

/// Plays the role this process was started in, if any.
pub fn play() {
    let Ok(role) = std::env::var(ROLE) else { return };
    die_with_parent();
    let client = connect(&word(QUEUE));
    match role.as_str() {
        "producer" => produce(&client, &Ledger::open(word(LEDGER).as_ref())),
        "later" => enqueue_for_later(&client, &Ledger::open(word(LEDGER).as_ref())),
        "worker" => work(&client, Ledger::open(word(LEDGER).as_ref())),
        "hasty" => enqueue_hastily(&client),
        "gated" => work_at_a_gate(&client),
        "echo" => echo(&client),
        "crammed" => work_without_files(&client),
        "pills" => work_among_pills(&client, Ledger::open(word(LEDGER).as_ref())),
        "ticks" => tick(&client),
        "panics" => panic_over_numbers(&client),
        #[cfg(all(feature = "rusqlite-0_41", feature = "redis"))]
        "shop" => super::outbox::sell(&client),
        #[cfg(all(feature = "rusqlite-0_41", feature = "redis"))]
        "relay" => super::outbox::relay(&client),
        _ => panic!("no role {role:?}"),
    }
}

pub(super) fn word(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

fn number(name: &str) -> u64 {
    word(name).parse().expect("a number")
}

/// The kernel sends SIGKILL when the thread that made this process ends.
fn die_with_parent() {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).expect("asked for");
    let parent = rustix::process::getppid().map_or(0, Pid::as_raw_pid);
    assert_eq!(parent.to_string(), word(PARENT), "the parent is gone already");
}

/// Says a line to the parent, in one write.
pub(super) fn say(line: &str) {
    // On a line of its own: the harness leaves its own line open while a test runs.
    let line = format!("\n{MARK}{line}\n");
    std::io::stdout().lock().write_all(line.as_bytes()).expect("the parent listens");
}

/// Enqueues its numbers in order, under keys of their own, and writes down what was acknowledged.
fn produce(client: &Client, ledger: &Ledger) {
    let [mut from, to] = RANGE.map(number);
    oncue::block_on(async {
        while from < to {
            let until = (from + 1 + from % BATCH_MAX).min(to);
            let drafts = (from..until).map(|n| Number(n).draft().key(n.to_string()));
            client.enqueue_all(drafts).await.expect("enqueued");
            ledger.line(&format!("acked {from} {until}"));
            from = until;
        }
    });
}

/// Enqueues its numbers for later, one by one; writes down what its clock says, and when it asked for each.
fn enqueue_for_later(client: &Client, ledger: &Ledger) {
    let [from, to] = RANGE.map(number);
    let wall = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
    ledger.line(&format!("wall {wall}"));
    oncue::block_on(async {
        for number in from..to {
            ledger.line(&format!("asked {number} {}", now()));
            // Archived instead of run by whoever finds it over.
            let draft = Number(number).draft().after(DELAY).expires(EXPIRES);
            client.enqueue(draft).await.expect("enqueued");
        }
    });
}

/// Runs numbers until SIGTERM; writes down when each run starts and ends, and which leases were lost.
fn work(client: &Client, ledger: Ledger) {
    async fn run(task: Number, context: TaskContext, ledger: Data<Arc<Ledger>>) -> TaskResult {
        ledger.line(&format!("start {} {} {}", task.0, now(), context.id()));
        tokio::time::sleep(if task.0 < SLOW { WORK } else { LEASE * 5 / 2 }).await;
        ledger.line(&format!("end {} {}", task.0, now()));
        Ok(())
    }
    let ledger = Arc::new(ledger);
    let told = ledger.clone();
    let worker = client
        .worker()
        .handle(run)
        .data(ledger)
        .lane(oncue::Lane::strict(["default"]).concurrency(CONCURRENCY))
        .lease(LEASE)
        .on_event(move |event| {
            if let Event::LeaseLost { id } = event {
                told.line(&format!("lost {id}"));
            }
        });
    run_to_the_end(worker);
}

/// Runs numbers until SIGTERM, or until it meets the pill; writes down when each run starts and ends.
fn work_among_pills(client: &Client, ledger: Ledger) {
    async fn run(task: Number, context: TaskContext, ledger: Data<Arc<Ledger>>) -> TaskResult {
        ledger.line(&format!("start {} {} {}", task.0, now(), context.id()));
        if task.0 == PILL {
            std::process::abort();
        }
        tokio::time::sleep(WORK).await;
        ledger.line(&format!("end {} {}", task.0, now()));
        Ok(())
    }
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).expect("no core dumps");
    let lane = oncue::Lane::strict(["default"]).concurrency(NEIGHBOURS);
    let worker = client.worker().handle(run).data(Arc::new(ledger)).lane(lane).lease(LEASE);
    run_to_the_end(worker);
}

/// Keeps a timetable and runs what it says until SIGTERM; says which ticks were its own.
fn tick(client: &Client) {
    let entry = Entry::new("each", "@every 1s", Number(7)).expect("an entry");
    let worker = client.worker().handle(async |number: Number| TaskResult::Ok(number.0));
    let worker = worker.cron(entry.missed(Missed::All)).lease(LEASE).on_event(|event| {
        if let Event::Ticked { at, .. } = event {
            say(&format!("ticked {at}"));
        }
    });
    run_to_the_end(worker);
}

fn run_to_the_end(worker: Builder) {
    oncue::block_on(async { worker.start().await.expect("starts").run().await.expect("ends") });
}

/// Enqueues batches as fast as it can, tells which are on their way and which are acknowledged.
fn enqueue_hastily(client: &Client) {
    oncue::block_on(async {
        for batch in 0.. {
            let count = [1, 7, 50][batch % 3];
            say(&format!("going {count}"));
            let handles = client.enqueue_all((0..count).map(Number)).await.expect("enqueued");
            let ids: Vec<_> = handles.iter().map(|handle| handle.id().to_string()).collect();
            say(&format!("acked {}", ids.join(" ")));
        }
    });
}

/// Runs that wait for a word of the parent each, until SIGTERM. A shutdown waits for them, if need be for
/// an hour.
fn work_at_a_gate(client: &Client) {
    async fn wait(task: Number, gate: Data<Arc<Semaphore>>) -> TaskResult<String> {
        say(&format!("started {}", task.0));
        gate.acquire().await?.forget();
        Ok(word(NAME))
    }
    let gate = Arc::new(Semaphore::new(0));
    let opened = gate.clone();
    // Ends with the pipe.
    std::thread::spawn(move || {
        std::io::stdin().lines().map_while(Result::ok).for_each(|_| opened.add_permits(1));
    });
    let worker = client
        .worker()
        .handle(wait)
        .data(gate)
        .lease(LEASE)
        .shutdown_timeout(Duration::from_secs(3_600))
        .on_event(|event| match event {
            Event::Settled { decision, .. } => say(&format!("settled {decision:?}")),
            Event::Reclaimed { decision, .. } => say(&format!("reclaimed {decision:?}")),
            Event::LeaseLost { id } => say(&format!("lost {id}")),
            Event::LifeChanged { life, .. } => say(&format!("life {life:?}")),
            _ => {}
        });
    run_to_the_end(worker);
}

/// Runs numbers with few file descriptors, and none left between the words `fill` and `free` of the parent.
fn work_without_files(client: &Client) {
    let limit = Rlimit { current: Some(FILES), maximum: Some(FILES) };
    setrlimit(Resource::Nofile, limit).expect("a lower limit");
    let filling = Arc::new(AtomicBool::new(false));
    let fills = filling.clone();
    std::thread::spawn(move || {
        let lines = std::io::stdin().lines().map_while(Result::ok);
        lines.for_each(|line| fills.store(line == "fill", Ordering::SeqCst));
    });
    // Takes whatever comes free, and tells how many it holds.
    std::thread::spawn(move || {
        let mut held = Vec::new();
        loop {
            let before = held.len();
            if filling.load(Ordering::SeqCst) {
                held.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
            } else {
                held.clear();
            }
            if held.len() > before {
                say(&format!("holds {}", held.len()));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let worker =
        client.worker().handle(|_: Number| async { TaskResult::Ok(()) }).lease(LEASE).on_event(
            |event| match event {
                Event::Settled { .. } => say("settled"),
                Event::BrokerFailed { error, .. } => say(&format!("failed {error}")),
                _ => {}
            },
        );
    run_to_the_end(worker);
}

/// Answers each number with the next.
fn echo(client: &Client) {
    run_to_the_end(client.worker().handle(|n: Number| async move { TaskResult::Ok(n.0 + 1) }));
}

/// Panics over each number: once over 1, and once more while that unwinds over 2.
fn panic_over_numbers(client: &Client) {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("while another unwinds");
        }
    }
    async fn run(task: Number) -> TaskResult {
        let _second = (task.0 == 2).then_some(Panics);
        panic!("the first")
    }
    run_to_the_end(client.worker().handle(run).on_event(|event| {
        if let Event::Settled { class: Some(class), .. } = event {
            say(&format!("settled {class}"));
        }
    }));
}
