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
