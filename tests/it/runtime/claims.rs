//! Claims on their way: idle sessions, a quiet or a shutdown that comes in between, lanes that share.

use std::collections::HashSet;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use oncue::broker::*;
use oncue::event::Event;
use oncue::queue::KindHash;
use oncue::state::State;
use oncue::worker::Life;
use oncue::{Data, Error, Lane as Queues, Task, TaskResult};
use tokio::sync::Semaphore;

use super::company::*;
use super::proxy::Proxy;

async fn nothing(_: Number) -> TaskResult {
    Ok(())
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
        let _ = tell.send(beat.sessions.clone());
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
