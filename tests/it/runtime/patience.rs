//! How long what does not turn is borne: of a kind, of the worker's own thread; and how much memory.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use oncue::event::Event;
use oncue::outcome::Decision;
use oncue::worker::{Builder, Health, Reason, STUCK_AFTER};
use oncue::{Data, Error, TaskContext, TaskError, TaskResult, function};
use tokio::sync::Semaphore;

use super::company::*;
use super::proxy::Proxy;

const SHORT: Duration = Duration::from_millis(100);
const DAY: Duration = Duration::from_secs(86_400);

type Gate = Data<Mutex<Receiver<()>>>;

/// Blocks its thread until there is a word, or nobody left to say one.
async fn block(_: Number, gate: Gate) -> TaskResult {
    let _ = gate.lock().map_err(|_| TaskError::new("poisoned"))?.recv();
    Ok(())
}

/// Waits at a gate, and does not mind being told to stop.
async fn gated(_: Number, gate: Data<Arc<Semaphore>>) -> TaskResult {
    gate.acquire().await?.forget();
    Ok(())
}

fn is_stuck(event: &Event) -> Option<Duration> {
    match event {
        Event::Stuck { silent, .. } => Some(*silent),
        _ => None,
    }
}

#[test]
fn a_kind_may_take_longer_than_the_worker_bears() {
    let start = |build: fn(Builder) -> Builder| {
        let (free, gate) = channel::<()>();
        let company = Company::start(client(), |worker| {
            build(worker.data(Mutex::new(gate)).threads(1).stuck_after(SHORT))
        });
        (company, free)
    };
    let (patient, free) = start(|worker| worker.handle(function(block).stuck_after(DAY)));
    let task = patient.put(Number(0));
    patient.started(&task);
    // A control, which began later and is borne for longer than the other would be.
    let (control, _held) = start(|worker| worker.handle(block).stuck_after(SHORT * 5));
    control.put(Number(0));
    control.until(is_stuck);
    free.send(()).expect("it waits");
    patient.until(|event| match event {
        Event::Stuck { .. } | Event::Replaced { .. } => panic!("{event:?}"),
        Event::Settled { decision: Decision::Complete(_), .. } => Some(()),
        _ => None,
    });
    assert!(show(&patient.client, &task).expect("kept").trail.is_empty());
}

#[test]
fn a_kind_may_be_borne_for_less_time_than_the_worker_bears() {
    let (free, gate) = channel::<()>();
    let company = Company::start(client(), |worker| {
        worker.handle(function(block).stuck_after(SHORT)).data(Mutex::new(gate)).threads(1)
    });
    company.put(Number(0));
    assert!(company.until(is_stuck) < STUCK_AFTER);
    drop(free);
    company.end();
}

#[test]
fn a_patience_that_makes_no_sense_is_refused() {
    for patience in [Duration::ZERO, DAY * 2] {
        let worker = client().worker().handle(function(block).stuck_after(patience));
        let error = oncue::block_on(worker.start()).err().expect("refused");
        assert!(error.is_invalid() && error.to_string().contains("use 10ms to"), "{error}");
    }
}

#[test]
fn a_hook_that_blocks_leaves_what_its_worker_has_to_others() {
    const LEASE: Duration = Duration::from_millis(600);
    /// 0 fails; the others wait, and tell whether their lease was lost.
    async fn run(
        task: Number,
        gate: Data<Arc<Semaphore>>,
        context: TaskContext,
        lost: Data<tokio::sync::mpsc::UnboundedSender<()>>,
    ) -> TaskResult {
        if task.0 == 0 {
            return Err(TaskError::skip_retry("planned"));
        }
        tokio::select! {
            permit = gate.acquire() => permit?.forget(),
            () = context.cancelled() => if context.lease_lost() { lost.send(())? },
        }
        Ok(())
    }
    let ((free, hook), gate) = (channel::<()>(), Arc::new(Semaphore::new(0)));
    let (tell, mut lost) = tokio::sync::mpsc::unbounded_channel::<()>();
    let (client, hook) = (client(), Mutex::new(hook));
    let build = |worker: Builder| {
        worker.handle(run).data(gate.clone()).data(tell.clone()).lease(LEASE).stuck_after(SHORT)
    };
    let blocked = Company::start(client.clone(), |worker| {
        build(worker).on_error(move |_| {
            let _ = hook.lock().expect("one at a time").recv();
        })
    });
    let waits = blocked.put(Number(1));
    blocked.started(&waits);
    blocked.put(Number(0));
    let other = Company::start(client, build);
    other.until(|event| match event {
        Event::Reclaimed { id, .. } => (*id == waits.id()).then_some(()),
        _ => None,
    });
    let Health::Failing(reasons) = blocked.worker.health() else { panic!("it does nothing") };
    assert!(reasons.contains(&Reason::Silent), "{reasons:?}");
    oncue::block_on(lost.recv()).expect("the run was told that its task is another's");
    gate.add_permits(1);
    assert!(matches!(other.settled(&waits).0, Decision::Complete(_)));
    other.end();
    // It turns again, and is as good as new.
    free.send(()).expect("it waits");
    gate.add_permits(1);
    let next = blocked.put(Number(2));
    assert!(matches!(blocked.settled(&next).0, Decision::Complete(_)));
    while blocked.worker.health().reasons().contains(&Reason::Silent) {
        std::thread::yield_now();
    }
    blocked.end();
}

#[test]
fn no_listener_is_called_where_leases_are_extended() {
    let mut proxy = Proxy::of(broker());
    proxy.beat = Box::new(|_, _| std::future::ready(Err(Error::unreachable("down"))).boxed());
    let (tell, told) = channel();
    let company = Company::start(client_of(Arc::new(proxy)), |worker| {
        let listen = move |event: &Event| {
            if let Event::BrokerFailed { verb: "beat", .. } = event {
                let _ = tell.send(std::thread::current().name().map(str::to_owned));
            }
        };
        worker.handle(gated).data(Arc::new(Semaphore::new(0))).on_event(listen).lease(SHORT * 3)
    });
    let thread = told.recv_timeout(PATIENCE).expect("told");
    assert_eq!(thread.as_deref(), Some("oncue-control"));
    company.end();
}

#[test]
fn a_worker_that_uses_too_much_memory_drains_and_ends() {
    let (gate, ran) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    async fn run(_: Number, gate: Data<Arc<Semaphore>>, ran: Data<Arc<AtomicUsize>>) -> TaskResult {
        gate.acquire().await?.forget();
        ran.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
    let client = client();
    let task = oncue::block_on(client.enqueue(Number(0))).expect("enqueued");
    let start = |bytes| {
        Company::start(client.clone(), |worker| {
            worker.handle(run).data(gate.clone()).data(ran.clone()).memory_max(bytes)
        })
    };
    // A control: as much as it likes.
    let small = start(u64::MAX);
    small.started(&task);
    gate.add_permits(1);
    small.settled(&task);
    assert_eq!(small.worker.health(), Health::Ok);
    small.end();
    let large = start(1);
    let (bytes, most) = large.until(|event| match event {
        Event::MemoryExceeded { bytes, most } => Some((*bytes, *most)),
        _ => None,
    });
    assert!(bytes > 1 << 20 && most == 1, "{bytes}, {most}");
    let Health::Failing(reasons) = large.worker.health() else { panic!("it ends") };
    assert!(reasons.contains(&Reason::MemoryExceeded { bytes, most }), "{reasons:?}");
    let error = oncue::block_on(large.worker.run()).expect_err("a fresh process is needed");
    assert!(error.to_string().contains("bytes of memory are in use, 1 may be"), "{error}");
    assert_eq!(ran.load(Ordering::SeqCst), 1);
}
