//! A program whose handler does its worst: it runs one deed in a worker and tells what became of it, in JSON.
//!
//! `hostile DEED [option=value ..]`. It is a program of its own because its children are itself, which a test harness
//! is not. With `inplace` the deed runs in the worker's own process: what the cage prevents is seen to happen.

mod ask;
mod census;
mod cut;
mod deed;
mod flood;
#[allow(dead_code, reason = "it offers more than this program asks for")]
#[path = "../it/runtime/proxy.rs"]
mod proxy;
mod reach;

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use oncue::event::Event;
use oncue::{Client, Handle, Registration, Task, TaskResult};
use serde::{Deserialize, Serialize};

use ask::Ask;
use deed::{Deed, act};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// Work that has nothing to do with the deed.
#[derive(Serialize, Deserialize)]
struct Neighbor(u64);

impl Task for Neighbor {
    const KIND: &'static str = "neighbor";
    const QUEUE: &'static str = "neighbors";
    const RETENTION: Duration = PATIENCE;
}

async fn greet(task: Neighbor) -> TaskResult<u64> {
    Ok(task.0 + 1)
}

/// What became of one task.
#[derive(Serialize, Default)]
struct Told {
    class: Option<String>,
    message: Option<String>,
    result: Option<String>,
    progress: Option<serde_json::Value>,
    log: Vec<String>,
    decision: String,
    /// From the start of its run to its settlement.
    ms: u128,
}

/// What became of everything.
#[derive(Serialize, Default)]
struct End {
    tasks: Vec<Told>,
    neighbors: u64,
    lacks: Vec<String>,
    /// Children of this process once the worker is gone, zombies included.
    left: Vec<String>,
    /// Processes of a run that was cut, alive after it was over and while the worker went on.
    outlived: usize,
    released: u64,
}

fn main() {
    let [isolated] = oncue::child([oncue::isolated(act)]);
    let ask = Ask::read();
    if let Some(word) = &ask.secret {
        ask::leak(word);
    }
    let told = oncue::block_on(play(&ask, isolated));
    match told {
        Ok(end) => println!("{}", serde_json::to_string(&end).expect("JSON")),
        Err(error) => {
            println!("refused {error}");
            std::process::exit(2);
        }
    }
}

async fn play(ask: &Ask, isolated: Registration) -> oncue::Result<End> {
    let broker = cut::Broker::open()?;
    let client = &broker.client;
    let (tell, events) = channel();
    let handler = if ask.inplace {
        oncue::blocking(act)
    } else {
        isolated.limits(ask.limits.clone()).recycle(ask.recycle)
    };
    let worker =
        client.worker().lease(cut::LEASE).handle(handler.concurrency(ask.runs)).handle(greet);
    let worker =
        worker.shutdown_timeout(Duration::from_millis(ask.patience)).on_event(move |event| {
            if let Event::Started { kind, .. } = event {
                println!("started {kind}");
            }
            drop(tell.send((Instant::now(), event.clone())));
        });
    let worker = worker.start().await?;
    let mut end = End::default();
    for number in 0..ask.times {
        let draft = Deed { name: ask.deed.clone(), word: ask.word.clone() };
        let draft = draft.draft().max_retry(0).timeout(Duration::from_millis(ask.timeout));
        let task = client.enqueue(cut::timed(draft.retention(PATIENCE), ask.cut)).await?;
        let began = until(
            &events,
            &mut end.lacks,
            |event| matches!(event, Event::Started { id, .. } if *id == task.id()),
        );
        // While it runs, or after it is gone: the neighbor goes on.
        let neighbor = client.enqueue(Neighbor(number)).await?;
        end.neighbors += neighbor.result::<u64>().timeout(PATIENCE).await? - number;
        if ask.leave {
            break;
        }
        let cut = match ask.cut {
            Some(cut) => broker.cut(&task, cut).await?,
            None => Vec::new(),
        };
        let settled = until(&events, &mut end.lacks, |event| cut::is_over(event, &task));
        end.outlived += census::alive(&cut);
        end.tasks.push(tell_of(client, &task, began.0, settled).await?);
    }
    if let Some(after) = ask.after {
        census::descendants(after);
    }
    end.released = worker.shutdown().await?.released;
    drop(worker);
    end.left = census::left(ask.leftovers);
    Ok(end)
}

/// Waits for an event and remembers what the system lacks on the way.
fn until(
    events: &Receiver<(Instant, Event)>,
    lacks: &mut Vec<String>,
    mut is: impl FnMut(&Event) -> bool,
) -> (Instant, Event) {
    loop {
        let (at, event) = events.recv_timeout(PATIENCE).expect("the event comes");
        if let Event::LimitsLacking { lacks: these, .. } = &event {
            lacks.extend(these.iter().cloned());
        }
        if is(&event) {
            return (at, event);
        }
    }
}

async fn tell_of(
    client: &Client,
    task: &Handle,
    began: Instant,
    (at, event): (Instant, Event),
) -> oncue::Result<Told> {
    let ms = at.duration_since(began).as_millis();
    let Event::Settled { class, decision, .. } = event else {
        let decision = "LeaseLost".to_owned();
        return Ok(Told { decision, ms, ..Told::default() });
    };
    let view = client.broker().show(task.queue().clone(), task.id()).await?;
    let message = view.and_then(|view| client.failure(&view));
    let done = matches!(decision, oncue::outcome::Decision::Complete(_));
    let result = if done { Some(task.result::<String>().timeout(PATIENCE).await?) } else { None };
    let log = task.log().await?.lines.into_iter().map(|line| line.text).collect();
    let (progress, decision) = (task.progress().await?, format!("{decision:?}"));
    Ok(Told { class, message, result, progress, log, decision, ms })
}
