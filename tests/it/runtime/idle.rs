//! What a worker asks of its broker while there is nothing to do, and how soon it is awake again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::ready;
use oncue::broker::*;
use oncue::clock::Timestamp;
use oncue::event::Event;
use oncue::{Data, Error, Lane as Queues, Task, TaskResult};
use tokio::sync::Semaphore;

use super::company::*;
use super::proxy::Proxy;

/// Most calls a second of an idle worker with three queues.
const CALLS_MAX: u32 = 5;

async fn nothing(_: Number) -> TaskResult {
    Ok(())
}

/// A proxy that counts every call of a verb that is a request; `wait` is none.
fn counting(calls: &Arc<AtomicUsize>) -> Proxy {
    let mut proxy = Proxy::of(broker());
    macro_rules! count {
        ($($verb:ident)*) => { $({
            let (calls, next) = (calls.clone(), proxy.$verb);
            proxy.$verb = Box::new(move |inner, ask| {
                calls.fetch_add(1, Ordering::SeqCst);
                next(inner, ask)
            });
        })* };
    }
    count!(enqueue dequeue settle retire beat advance reclaim show);
    proxy
}

/// Calls a second of a worker with three queues and nothing to do, once it has settled in.
fn calls_a_second(change: impl FnOnce(&mut Proxy)) -> f64 {
    const WATCH: Duration = Duration::from_secs(4);
    let calls = Arc::default();
    let mut proxy = counting(&calls);
    change(&mut proxy);
    let company = Company::start(client_of(Arc::new(proxy)), |worker| {
        // One whose kind may run but once, and has all of its room, is as idle as any other.
        let worker = worker.handle(oncue::function(nothing).concurrency(1));
        worker.lane(Queues::strict(["a", "b"])).lane(Queues::weighted([("c", 1)]))
    });
    std::thread::sleep(Duration::from_millis(500));
    let (before, began) = (calls.load(Ordering::SeqCst), Instant::now());
    std::thread::sleep(WATCH);
    let count = calls.load(Ordering::SeqCst) - before;
    let seconds = began.elapsed().as_secs_f64();
    company.end();
    count as f64 / seconds
}

#[test]
fn an_idle_worker_asks_little() {
    let rate = calls_a_second(|_| ());
    assert!(rate <= f64::from(CALLS_MAX), "{rate:.1} calls a second");
    assert!(rate >= 2.0, "{rate:.1} calls a second: who sweeps?");
}

#[test]
fn a_broker_that_cannot_wake_is_polled_and_that_would_be_noticed() {
    let rate = calls_a_second(|proxy| {
        proxy.wait = Box::new(|_, _| ready(Err(Error::unreachable("no wake-ups"))).boxed());
    });
    assert!(rate > f64::from(CALLS_MAX), "{rate:.1} calls a second");
}

#[test]
fn a_broker_that_is_back_is_used_at_once() {
    let (mut proxy, down) = (Proxy::at_once(broker()), Arc::new(AtomicBool::new(false)));
    let (fail, (refuse, refused)) = (down.clone(), channel());
    proxy.dequeue = Box::new(move |inner, ask| {
        if !fail.load(Ordering::SeqCst) {
            return inner.dequeue(ask);
        }
        let _ = refuse.send(Instant::now());
        ready(Err(Error::unreachable("down"))).boxed()
    });
    let company = Company::start(client_of(Arc::new(proxy)), |worker| worker.handle(nothing));
    let first = company.put(Number(0));
    company.settled(&first);
    down.store(true, Ordering::SeqCst);
    // Every task put wakes: calls follow, but never at once.
    let began = Instant::now();
    for number in 0..200 {
        company.put(Number(number));
        std::thread::sleep(Duration::from_millis(5));
    }
    let times: Vec<Instant> = refused.try_iter().collect();
    // Two lanes ask, the shared one and that of tasks that run alone.
    let (calls, seconds) = (times.len(), began.elapsed().as_secs() + 1);
    assert!(calls as u64 <= 25 * seconds, "{calls} calls in about {seconds} seconds");
    // By now the pause is seconds long; whoever reaches the broker again wakes everybody.
    std::thread::sleep(Duration::from_secs(2));
    down.store(false, Ordering::SeqCst);
    let back = Instant::now();
    let last = company.put(Number(1_000));
    company.started(&last);
    assert!(back.elapsed() < Duration::from_secs(1), "{:?} later", back.elapsed());
}

#[test]
fn a_task_that_seems_due_and_is_not_is_asked_for_less_and_less_often() {
    let (mut proxy, calls) = (Proxy::of(broker()), Arc::new(AtomicUsize::new(0)));
    let count = calls.clone();
    proxy.advance = Box::new(move |_, _| {
        count.fetch_add(1, Ordering::SeqCst);
        // By the broker's own clock, which is behind, it is not due.
        ready(Ok(Advanced::new(0, 0, Some(Timestamp(1)), false))).boxed()
    });
    let company = Company::start(client_of(Arc::new(proxy)), |worker| worker.handle(nothing));
    std::thread::sleep(Duration::from_secs(2));
    company.end();
    let calls = calls.load(Ordering::SeqCst);
    // 1, 2, 4, .. 512 ms apart.
    assert!((8..=12).contains(&calls), "{calls} calls");
}

#[test]
fn the_end_of_a_limited_run_lets_another_lane_run_that_kind_at_once() {
    const TURNS: u64 = 8;
    async fn gated(_: Number, gate: Data<Arc<Semaphore>>) -> TaskResult {
        gate.acquire().await?.forget();
        Ok(())
    }
    let gate = Arc::new(Semaphore::new(0));
    let data = gate.clone();
    let company = Company::start(client(), |worker| {
        let worker = worker.handle(oncue::function(gated).concurrency(1)).data(data);
        worker.lane(Queues::strict(["a"])).lane(Queues::strict(["b"]))
    });
    let mut running = company.put(Number(0).draft().queue("a"));
    company.started(&running);
    let mut late = Duration::ZERO;
    for number in 1..=TURNS {
        let queue = if number % 2 == 0 { "a" } else { "b" };
        let next = company.put(Number(number).draft().queue(queue));
        // Long enough for its lane to find the kind without room.
        std::thread::sleep(Duration::from_millis(30));
        let freed = Instant::now();
        gate.add_permits(1);
        company.started(&next);
        late += freed.elapsed();
        running = next;
    }
    gate.add_permits(1);
    company.settled(&running);
    // A lane that was not woken would find out by its poll, half a second later on the average.
    assert!(late < Duration::from_millis(1_500), "{late:?} for {TURNS} turns");
}

#[test]
fn many_who_wait_for_results_do_not_look_at_every_settle() {
    let looks = Arc::new(AtomicUsize::new(0));
    let (mut proxy, count) = (Proxy::of(broker()), looks.clone());
    proxy.show = Box::new(move |inner, (queue, id)| {
        count.fetch_add(1, Ordering::SeqCst);
        inner.show(queue, id)
    });
    let company = Company::start(client_of(Arc::new(proxy)), |worker| worker.handle(nothing));
    let asleep = company.put(Number(0).draft().after(Duration::from_secs(1)));
    let settles = oncue::block_on(async {
        let waiting = actix_rt::spawn(asleep.result::<()>().into_future());
        let mut settles = 0;
        while !waiting.is_finished() {
            let other = company.client.enqueue(Number(1)).await.expect("enqueued");
            other.result::<()>().await.expect("a result");
            settles += 1;
        }
        waiting.await.expect("no panic").expect("a result");
        settles
    });
    company.until(|event| {
        matches!(event, Event::Settled { id, .. } if *id == asleep.id()).then_some(())
    });
    // Its own two looks for each of the others; about twenty a second for the one that waits.
    let looks = looks.load(Ordering::SeqCst);
    assert!(looks <= 2 * settles + 40, "{looks} looks, {settles} settles");
    company.end();
}
