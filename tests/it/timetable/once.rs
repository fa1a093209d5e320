//! One task for a tick: with many Schedulers, while entries are edited, and by one that has an old view.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use futures::FutureExt;
use oncue::Task;
use oncue::broker::Enqueued;
use oncue::clock::Timestamp;
use oncue::event::Event;
use oncue::timetable::Missed;
use tokio::sync::Semaphore;

use super::scene::*;
use crate::runtime::company::Number;
use crate::runtime::proxy::Proxy;

/// Moves of the clock, and ticks in each.
const MOVES: u64 = 40;
const TICKS: u64 = 8;

#[test]
fn three_schedulers_enqueue_each_tick_once_while_entries_are_changed() {
    let scene = Scene::new();
    scene.put(entry("all", "* * * * * *", 1).missed(Missed::All));
    scene.put(entry("edited", "@every 1s", 2).missed(Missed::All));
    scene.put(entry("paused", "@every 1s", 3).missed(Missed::All));
    let workers = [scene.worker(), scene.worker(), scene.worker()];
    for number in 1..=MOVES {
        let edit = async {
            let cron = scene.client.cron();
            // Another payload, the same schedule: no tick is lost by that.
            let payload = if number % 2 == 0 { "2" } else { "20" };
            cron.edit("edited", |entry| entry.payload(payload)).await?;
            match number % 4 {
                0 => cron.pause("paused").await,
                2 => cron.resume("paused").await,
                _ => Ok(false),
            }
        };
        scene.clock.advance(TICKS as u32 * SECOND);
        oncue::block_on(edit).expect("edited");
    }
    let last = scene.now();
    assert_eq!(last, START.plus((MOVES * TICKS) as u32 * SECOND));
    scene.reaches("all", last);
    scene.reaches("edited", last);
    workers.into_iter().for_each(end);
    // What was enqueued and not run any more is run now.
    let last_worker = scene.worker_on(scene.broker(), |worker| worker.schedules(false));
    let mut runs = Vec::new();
    let is_done = |runs: &[Run]| {
        let of = |number: &[u64]| runs.iter().filter(|run| number.contains(&run.0)).count();
        of(&[1]) as u64 >= MOVES * TICKS && of(&[2, 20]) as u64 >= MOVES * TICKS
    };
    while !is_done(&runs) {
        runs.extend(scene.runs(1));
    }
    end(last_worker);
    runs.extend(scene.more_runs());
    let merged =
        runs.into_iter().map(|(number, tick)| (if number == 20 { 2 } else { number }, tick));
    let counts = counted(merged.collect());
    assert!(counts.values().all(|count| *count == 1), "a tick came twice: {counts:?}");
    for number in [1, 2] {
        let ticks: Vec<_> = counts.keys().filter(|run| run.0 == number).map(|run| &run.1).collect();
        let all: Vec<_> =
            (1..=MOVES * TICKS).map(|n| START.plus(n as u32 * SECOND).to_string()).collect();
        assert_eq!(ticks, all.iter().collect::<Vec<_>>(), "{number}");
    }
    let history = oncue::block_on(scene.client.cron().history("all")).expect("a history");
    assert_eq!((history.len(), history.last().map(|tick| tick.0)), (100, Some(last)));
}

#[test]
fn a_scheduler_that_was_stopped_and_goes_on_enqueues_nothing_twice() {
    let scene = Scene::new();
    scene.put(entry("hourly", "@hourly", 7));
    let (stopped, gate) = (Arc::new(AtomicBool::new(true)), Arc::new(Semaphore::new(0)));
    let (asked, asks) = channel();
    let (answered, answers) = channel();
    let mut proxy = Proxy::of(scene.broker());
    let (stop, hold) = (stopped.clone(), gate.clone());
    proxy.enqueue = Box::new(move |inner, batch| {
        let (inner, stop, hold) = (inner.clone(), stop.clone(), hold.clone());
        let (asked, answered) = (asked.clone(), answered.clone());
        async move {
            if stop.load(Ordering::SeqCst) {
                let _ = asked.send(());
                hold.acquire().await.expect("open").forget();
            }
            let answer = inner.enqueue(batch).await;
            let _ = answered.send(answer.as_ref().ok().cloned());
            answer
        }
        .boxed()
    });
    let old = scene.worker_on(Arc::new(proxy), |worker| worker);
    scene.pass(HOUR);
    // It has the first tick in its hands, and stops there.
    asks.recv_timeout(crate::runtime::company::PATIENCE).expect("it wants to enqueue");
    let other = scene.worker();
    assert_eq!(scene.runs(1), [(7, START.plus(HOUR).to_string())]);
    scene.pass(HOUR);
    assert_eq!(scene.runs(1), [(7, START.plus(2 * HOUR).to_string())]);
    stopped.store(false, Ordering::SeqCst);
    gate.add_permits(1);
    let late = answers.recv_timeout(crate::runtime::company::PATIENCE).expect("it went on");
    assert_eq!(late, Some(vec![Enqueued::Late]), "the broker refused its old view");
    // It looks again, and works with the others from then on.
    end(other);
    scene.pass(HOUR);
    assert_eq!(scene.runs(1), [(7, START.plus(3 * HOUR).to_string())]);
    end(old);
    assert_eq!(scene.more_runs(), []);
}

#[test]
fn every_six_hours_is_once_in_six_hours_with_three_workers() {
    let scene = Scene::new();
    let workers = [scene.worker(), scene.worker(), scene.worker()];
    scene.put(entry("six", "@every 6h", 6));
    let first = Timestamp((START.0 / 21_600_000 + 1) * 21_600_000);
    let ahead = first.since(START);
    scene.pass(ahead - SECOND);
    scene.poke();
    assert_eq!(scene.more_runs(), [], "never early");
    scene.pass(SECOND);
    assert_eq!(scene.runs(1), [(6, first.to_string())]);
    scene.pass(6 * HOUR);
    assert_eq!(scene.runs(1), [(6, first.plus(6 * HOUR).to_string())]);
    let ticked = |event: &Event| matches!(event, Event::Ticked { .. }).then_some(());
    (0..2).for_each(|_| scene.until(ticked));
    workers.into_iter().for_each(end);
    assert_eq!(scene.more_runs(), []);
}

#[test]
fn a_task_put_off_for_six_hours_runs_once_with_three_workers() {
    let scene = Scene::new();
    let workers = [scene.worker(), scene.worker(), scene.worker()];
    let draft = Number(7).draft().after(6 * HOUR);
    oncue::block_on(scene.client.enqueue(draft)).expect("enqueued");
    let early = Duration::from_millis(1);
    scene.pass(6 * HOUR - early);
    // Whoever would run it early has the chance.
    oncue::block_on(scene.client.enqueue(Number(8))).expect("enqueued");
    assert_eq!(scene.runs(1), [(8, "no tick".to_owned())]);
    scene.pass(early);
    assert_eq!(scene.runs(1), [(7, "no tick".to_owned())]);
    let settled = |event: &Event| matches!(event, Event::Settled { .. }).then_some(());
    (0..2).for_each(|_| scene.until(settled));
    workers.into_iter().for_each(end);
    assert_eq!(scene.more_runs(), []);
}
