//! Claims on their way: idle sessions, a quiet or a shutdown that comes in between, lanes that share.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use oncue::broker::*;
use oncue::event::Event;
use oncue::queue::KindHash;
use oncue::state::State;
use oncue::worker::Life;
use oncue::{Client, Data, Error, Handle, Lane as Queues, Task, TaskResult};
use tokio::sync::Semaphore;

use super::company::*;
use super::proxy::Proxy;

async fn nothing(_: Number) -> TaskResult {
    Ok(())
}

/// A worker with a task that comes to 7 once it is let go.
fn seven(client: Client) -> (Company, Handle, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let data = gate.clone();
    let company = Company::start(client, |worker| {
        let gated = async |_: Number, gate: Data<Arc<Semaphore>>| {
            gate.acquire().await?.forget();
            TaskResult::Ok(7)
        };
        worker.handle(gated).data(data)
    });
    let task = company.put(Number(0));
    company.started(&task);
    (company, task, gate)
}

#[test]
fn a_result_comes_though_no_wake_up_does() {
    let mut proxy = Proxy::of(broker());
    proxy.wait = Box::new(|inner, (wake, seen)| match (wake, seen) {
        (Wake::Settled | Wake::Noted, Some(_)) => std::future::pending().boxed(),
        _ => inner.wait(wake, seen),
    });
    let (company, task, gate) = seven(client_of(Arc::new(proxy)));
    let result = oncue::block_on(async {
        let open = async {
            tokio::task::yield_now().await;
            gate.add_permits(1);
        };
        let result = async { task.result::<u64>().timeout(PATIENCE).await };
        futures::future::join(result, open).await.0
    });
    assert_eq!(result.expect("it looks anyway"), 7);
    company.end();
}

#[test]
fn a_result_comes_where_there_is_no_tokio_runtime() {
    let (company, task, gate) = seven(client());
    let mut result = task.result::<u64>().into_future();
    assert!((&mut result).now_or_never().is_none());
    gate.add_permits(1);
    company.settled(&task);
    let result = std::iter::repeat_with(|| (&mut result).now_or_never()).flatten().next();
    assert_eq!(result.expect("it looks again").expect("a result"), 7);
    company.end();
}

#[test]
fn a_session_that_waits_for_its_first_task_is_kept_alive() {
    // The broker opens a session at the first dequeue, whether it claims or not.
    let (mut proxy, (tell, beats)) = (Proxy::of(broker()), channel());
    let opened = Arc::new(Mutex::new(HashSet::new()));
    let seen = opened.clone();
    proxy.dequeue = Box::new(move |inner, ask| {
        seen.lock().expect("not poisoned").insert(ask.session.id);
        inner.dequeue(ask)
    });
    proxy.beat = Box::new(move |inner, beat| {
        // The first one may only say that the worker is there.
        if !beat.sessions.is_empty() {
            let _ = tell.send(beat.sessions.clone());
        }
        inner.beat(beat)
    });
    let company = Company::start(client_of(Arc::new(proxy)), |worker| {
        worker.handle(nothing).lease(Duration::from_millis(600))
    });
    let beaten = beats.recv_timeout(PATIENCE).expect("a beat, though nothing was claimed");
    let opened = opened.lock().expect("not poisoned").clone();
    assert!(beaten.iter().any(|session| opened.contains(&session.id)));
    company.end();
}

#[test]
fn what_is_claimed_while_the_worker_ends_is_handed_back_and_not_run() {
    let (mut proxy, gate) = (Proxy::of(broker()), Arc::new(Semaphore::new(0)));
    // The claim takes effect; its answer comes when the session was handed back.
    let handed_back = gate.clone();
    proxy.dequeue = Box::new(move |inner, ask| {
        let (claimed, gate) = (inner.dequeue(ask), handed_back.clone());
        async move {
            let claims = claimed.await?;
            if !claims.is_empty() {
                let _ = gate.acquire().await;
            }
            Ok(claims)
        }
        .boxed()
    });
    let (claimed, closing) = (channel(), gate.clone());
    let tell = claimed.0;
    proxy.retire = Box::new(move |inner, (session, known)| {
        let (retired, gate) = (inner.retire(session, known), closing.clone());
        let tell = tell.clone();
        async move {
            let count = retired.await?;
            gate.close();
            let _ = tell.send(count);
            // Time for a run to begin, if one would.
            for _ in 0..1_000 {
                tokio::task::yield_now().await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok(count)
        }
        .boxed()
    });
    let client = client_of(Arc::new(proxy));
    let task = oncue::block_on(client.enqueue(Number(0))).expect("enqueued");
    let ran = Arc::new(Mutex::new(0u32));
    let note = |_: Number, ran: Data<Arc<Mutex<u32>>>| async move {
        *ran.lock().expect("not poisoned") += 1;
        TaskResult::Ok(())
    };
    let data = ran.clone();
    let company = Company::start(client, |worker| worker.handle(note).data(data));
    while count(&company.client, "default", State::Active) == 0 {
        std::thread::yield_now();
    }
    let (client, _) = company.end();
    let back: usize = claimed.1.try_iter().sum();
    assert_eq!(back, 1, "it was handed back");
    assert_eq!(show(&client, &task).expect("kept").state, State::Pending);
    assert_eq!(*ran.lock().expect("not poisoned"), 0, "somebody else may run it by now");
}

#[test]
fn a_quiet_worker_claims_from_no_other_queue_of_the_round() {
    let (mut proxy, gate) = (Proxy::of(broker()), Arc::new(Semaphore::new(0)));
    let (entered, asked) = (channel(), Arc::new(Mutex::new(Vec::new())));
    let (enter, calls, hold) = (entered.0, asked.clone(), gate.clone());
    proxy.dequeue = Box::new(move |inner, ask| {
        if ask.lane == Lane::Alone {
            return inner.dequeue(ask);
        }
        calls.lock().expect("not poisoned").push(ask.session.queue.to_string());
        let _ = enter.send(());
        let (claimed, gate) = (inner.dequeue(ask), hold.clone());
        async move {
            let _ = gate.acquire().await;
            claimed.await
        }
        .boxed()
    });
    let client = client_of(Arc::new(proxy));
    for queue in ["one", "other"] {
        oncue::block_on(client.enqueue(Number(0).draft().queue(queue))).expect("enqueued");
    }
    let company = Company::start(client, |worker| {
        worker.handle(nothing).lane(Queues::weighted([("one", 1), ("other", 1)]))
    });
    entered.1.recv_timeout(PATIENCE).expect("one queue is asked");
    company.worker.quiet();
    company
        .until(|event| matches!(event, Event::LifeChanged { life: Life::Quiet, .. }).then_some(()));
    gate.close();
    company.completed(1);
    company.end();
    assert_eq!(asked.lock().expect("not poisoned").len(), 1, "quiet: nothing more is claimed");
}

#[test]
fn tasks_that_run_alone_are_served_from_every_queue() {
    type Order = Data<Arc<Mutex<Vec<String>>>>;
    async fn note(_: Number, order: Order, context: oncue::TaskContext) -> TaskResult {
        order.lock().expect("not poisoned").push(context.queue().to_string());
        // Long enough for the round to find its slot taken, so that the next one follows at once.
        tokio::time::sleep(Duration::from_millis(5)).await;
        Ok(())
    }
    let client = client();
    let kind = KindHash::of("number");
    for queue in ["a", "b"] {
        let drafts = (0..10).map(|n| Number(n).draft().queue(queue));
        let handles = oncue::block_on(client.enqueue_all(drafts)).expect("enqueued");
        let session = Session::fresh(handles[0].queue().clone());
        let (lease, lane) = (Duration::from_secs(60), Lane::Shared);
        let ask = Ask { session: session.clone(), lease, max: 10, lane, accept: vec![(kind, 10)] };
        oncue::block_on(async {
            let claims = client.broker().dequeue(ask).await?;
            let alone = oncue::broker::Order::Release { lane: Lane::Alone };
            let settle = claims.iter().map(|c| Settlement::new(c.ticket, alone.clone())).collect();
            client.broker().settle(session, settle).await
        })
        .expect("they are to run alone");
    }
    let order: Arc<Mutex<Vec<String>>> = Arc::default();
    let data = order.clone();
    let company = Company::start(client, |worker| {
        worker.handle(note).data(data).lane(Queues::strict(["a", "b"]))
    });
    company.completed(4);
    company.end();
    let order = order.lock().expect("not poisoned");
    assert!(order[..4].iter().any(|queue| queue == "b"), "{order:?}");
}

#[test]
fn a_session_is_kept_alive_while_it_is_being_retired() {
    let mut proxy = Proxy::of(broker());
    // The first claim succeeds; the answer to the second is lost, and to retire nothing answers.
    let state: Arc<Mutex<(usize, Option<SessionId>)>> = Arc::default();
    let calls = state.clone();
    proxy.dequeue = Box::new(move |inner, ask| {
        let (id, reply) = (ask.session.id, inner.dequeue(ask.clone()));
        let calls = calls.clone();
        async move {
            let claims = reply.await?;
            let mut calls = calls.lock().expect("not poisoned");
            calls.0 += claims.len();
            if calls.0 == 2 && calls.1.is_none() && !claims.is_empty() {
                calls.1 = Some(id);
                return Err(Error::unreachable("the reply was lost"));
            }
            Ok(claims)
        }
        .boxed()
    });
    let (refused, refusals) = channel();
    proxy.retire = Box::new(move |_, _| {
        let _ = refused.send(());
        std::future::ready(Err(Error::unreachable("down"))).boxed()
    });
    let (tell, beats) = channel();
    proxy.beat = Box::new(move |inner, beat| {
        let _ = tell.send(beat.sessions.clone());
        inner.beat(beat)
    });
    let company = Company::start(client_of(Arc::new(proxy)), |worker| {
        worker.handle(nothing).lease(Duration::from_secs(3))
    });
    let first = company.put(Number(0));
    company.settled(&first);
    company.put(Number(1));
    refusals.recv_timeout(PATIENCE).expect("retired");
    while beats.try_recv().is_ok() {}
    let lost = state.lock().expect("not poisoned").1.expect("a reply was lost");
    let kept = |sessions: Vec<Session>| sessions.iter().any(|session| session.id == lost);
    let next = beats.recv_timeout(PATIENCE).expect("a beat");
    assert!(kept(next), "what it claimed would be counted as crashed");
    company.end();
}

#[test]
fn a_strict_lane_serves_no_kind_below_a_queue_that_was_not_asked_for_it() {
    type Gate = Data<Arc<Semaphore>>;
    async fn gated(task: Number, gate: Gate) -> TaskResult {
        if task.0 == 0 {
            gate.acquire().await?.forget();
        }
        Ok(())
    }
    let (number, hold) = (KindHash::of("number"), Arc::new(Semaphore::new(0)));
    let (mut proxy, (enter, entered), held) = (Proxy::of(broker()), channel(), hold.clone());
    // The first queue is asked while the kind has no room, and answers when it has.
    proxy.dequeue = Box::new(move |inner, ask| {
        let limited = ask.accept.iter().all(|(kind, _)| *kind != number);
        if ask.lane == Lane::Alone || ask.session.queue.as_str() != "high" || !limited {
            return inner.dequeue(ask);
        }
        let _ = enter.send(());
        let (hold, inner) = (held.clone(), inner.clone());
        async move {
            let _ = hold.acquire().await;
            inner.dequeue(ask).await
        }
        .boxed()
    });
    let (client, gate) = (client_of(Arc::new(proxy)), Arc::new(Semaphore::new(0)));
    let data = gate.clone();
    let company = Company::start(client, |worker| {
        let limited = oncue::function(gated).concurrency(1);
        let worker = worker.handle(limited).handle(|_: Other| async { TaskResult::Ok(()) });
        worker.data(data).lane(Queues::strict(["high", "low"]))
    });
    let first = company.put(Number(0).draft().queue("high"));
    company.started(&first);
    entered.recv_timeout(PATIENCE).expect("asked for the other kind");
    let low = company.put(Number(2).draft().queue("low"));
    let high = company.put(Number(1).draft().queue("high"));
    gate.add_permits(1);
    company.settled(&first);
    hold.close();
    let next = company.until(|event| match event {
        Event::Started { id, .. } => Some(*id),
        _ => None,
    });
    assert_eq!((next, next == low.id()), (high.id(), false));
}

#[test]
fn what_comes_when_its_session_is_retired_runs_once() {
    type Counted = Data<(Arc<Semaphore>, Arc<AtomicUsize>)>;
    async fn gated(task: Number, counted: Counted) -> TaskResult {
        if task.0 == 0 {
            counted.0.acquire().await?.forget();
        } else {
            counted.1.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }
    let (mut proxy, hold) = (Proxy::of(broker()), Arc::new(Semaphore::new(0)));
    let ((enter, entered), (leave, left)) = (channel(), channel());
    // What is claimed second comes late.
    let (claims, held) = (Arc::new(AtomicUsize::new(0)), hold.clone());
    proxy.dequeue = Box::new(move |inner, ask| {
        let (reply, claims, held, enter) =
            (inner.dequeue(ask), claims.clone(), held.clone(), enter.clone());
        async move {
            let claimed = reply.await?;
            if !claimed.is_empty() && claims.fetch_add(1, Ordering::SeqCst) == 1 {
                let _ = enter.send(());
                let _ = held.acquire().await;
            }
            Ok(claimed)
        }
        .boxed()
    });
    // What is settled first is refused, so that its session is retired.
    let settles = AtomicUsize::new(0);
    proxy.settle = Box::new(move |inner, (session, settlements)| {
        if settles.fetch_add(1, Ordering::SeqCst) == 0 {
            return std::future::ready(Err(Error::invalid("not so"))).boxed();
        }
        inner.settle(session, settlements)
    });
    proxy.retire = Box::new(move |inner, (session, known)| {
        let (reply, leave) = (inner.retire(session, known), leave.clone());
        async move { reply.await.inspect(|_| leave.send(()).expect("heard")) }.boxed()
    });
    let (gate, runs) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let data = (gate.clone(), runs.clone());
    let company =
        Company::start(client_of(Arc::new(proxy)), |worker| worker.handle(gated).data(data));
    let first = company.put(Number(0));
    company.started(&first);
    let second = company.put(Number(1));
    entered.recv_timeout(PATIENCE).expect("claimed");
    gate.add_permits(2);
    left.recv_timeout(PATIENCE).expect("retired");
    hold.close();
    company.completed(2);
    assert_eq!(show(&company.client, &second).expect("kept").state, State::Completed);
    company.end();
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}
