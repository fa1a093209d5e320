//! What each level of isolation costs a task: async, blocking, a recycled child, a fresh child, a fresh child that has
//! a keeper. Printed as ratios to async; rounds are interleaved, and the least of each is shown, for noise only adds.
//!
//! Arguments: how many tasks a round (2,000 unless told; fresh children get a tenth).

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use oncue::event::Event;
use oncue::outcome::Decision;
use oncue::{Client, Limits, Registration, Task, TaskResult};
use serde::{Deserialize, Serialize};

/// How often each figure is taken.
const ROUNDS: usize = 3;
/// Tasks of one kind at once.
const RUNS: usize = 2;
/// What fresh children get of the tasks.
const FRESH: usize = 10;

macro_rules! levels {
    ($($task:ident $function:ident $kind:literal;)*) => { $(
        #[derive(Serialize, Deserialize)]
        struct $task(u64);

        impl Task for $task {
            const KIND: &'static str = $kind;
            const MAX_RETRY: u32 = 0;
        }

        fn $function(task: $task) -> TaskResult<u64> {
            Ok(task.0)
        }
    )* };
}

levels! {
    Asynchronous here "async";
    Blocking on_a_thread "blocking";
    Recycled in_a_used_child "recycled";
    Fresh in_a_child "fresh";
    Kept in_a_kept_child "kept";
}

fn main() {
    let [recycled, fresh, kept] = oncue::child([
        oncue::isolated(in_a_used_child).recycle(1_000_000).concurrency(RUNS),
        oncue::isolated(in_a_child).concurrency(RUNS),
        oncue::isolated(in_a_kept_child)
            .limits(Limits { processes: 2, ..Limits::default() })
            .concurrency(RUNS),
    ]);
    let tasks = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(2_000);
    oncue::block_on(compare([recycled, fresh, kept], tasks)).expect("all runs complete");
}

async fn compare(children: [Registration; 3], tasks: usize) -> oncue::Result<()> {
    let client = oncue::connect("sqlite::memory:").await?;
    let (tell, events) = channel();
    let mut worker = client.worker().on_event(move |event| drop(tell.send(event.clone())));
    worker =
        worker.handle(oncue::function(|task: Asynchronous| async { here(task) }).concurrency(RUNS));
    worker = worker.handle(oncue::blocking(on_a_thread).concurrency(RUNS));
    for child in children {
        worker = worker.handle(child);
    }
    let worker = worker.start().await?;
    let few = (tasks / FRESH).max(1);
    let mut least = [Duration::MAX; 5];
    for _ in 0..ROUNDS {
        let took = [
            round(&client, &events, tasks, Asynchronous).await?,
            round(&client, &events, tasks, Blocking).await?,
            round(&client, &events, tasks, Recycled).await?,
            round(&client, &events, few, Fresh).await?,
            round(&client, &events, few, Kept).await?,
        ];
        least.iter_mut().zip(took).for_each(|(least, took)| *least = took.min(*least));
    }
    for (name, took) in ["async", "blocking", "recycled", "fresh", "kept"].iter().zip(least) {
        let ratio = took.as_secs_f64() / least[0].as_secs_f64();
        println!("{name:<10}{:>10.1} us a task{ratio:>10.1} x", took.as_secs_f64() * 1e6);
    }
    worker.shutdown().await.map(drop)
}

/// Runs so many tasks, and answers what one took.
async fn round<T: Task>(
    client: &Client,
    events: &Receiver<Event>,
    tasks: usize,
    task: impl Fn(u64) -> T,
) -> oncue::Result<Duration> {
    let begun = Instant::now();
    let all: Vec<T> = (0..tasks as u64).map(task).collect();
    let mut rest = all.into_iter().peekable();
    while rest.peek().is_some() {
        client.enqueue_all(rest.by_ref().take(1_000)).await?;
    }
    let mut left = tasks;
    while left > 0 {
        let event = events.recv_timeout(Duration::from_secs(60));
        if let Event::Settled { decision, .. } = event.expect("an event comes") {
            assert!(matches!(decision, Decision::Complete(_)), "{decision:?}");
            left -= 1;
        }
    }
    Ok(begun.elapsed() / u32::try_from(tasks).expect("fits"))
}
