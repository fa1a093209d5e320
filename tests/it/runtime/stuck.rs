//! Threads that do not turn, and runs nobody can stop: found, told, settled, and bounded.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use oncue::broker::Operate;
use oncue::event::Event;
use oncue::outcome::Decision;
use oncue::state::State;
use oncue::worker::{Builder, Health, Reason};
use oncue::{Data, Group, Task, TaskContext, TaskError, TaskResult, blocking, function};
use tokio::sync::Semaphore;

use super::company::*;
use super::proxy::Proxy;

/// Long enough for a busy machine to turn, short enough to wait for.
const PATIENCE_WITH_THREADS: Duration = Duration::from_millis(500);

/// What is blocked waits for a word here, or for the end of the test.
type Gate = Data<Mutex<Receiver<()>>>;

fn wait(gate: &Gate) -> TaskResult {
    // The end of the test is as good as a word.
    let _ = gate.lock().map_err(|_| TaskError::new("poisoned"))?.recv();
    Ok(())
}

/// 0 blocks its thread; the others only tell that they ran.
async fn sleepy(task: Number, gate: Gate) -> TaskResult {
    if task.0 == 0 { wait(&gate) } else { Ok(()) }
}

async fn other(_: Other) -> TaskResult {
    Ok(())
}

/// A worker of one thread.
fn one_thread(client: oncue::Client, gate: Receiver<()>, build: fn(Builder) -> Builder) -> Company {
    Company::start(client, |worker| {
        let worker = worker.handle(sleepy).handle(other).data(Mutex::new(gate));
        build(worker.threads(1).stuck_after(PATIENCE_WITH_THREADS))
    })
}

/// Waits for a thread to be found stuck, those on it to be restarted, and it to be replaced; what counts as crashed, what
/// goes back, and how many linger.
#[track_caller]
fn replaced(company: &Company) -> (usize, usize, usize) {
    let (mut found, mut restarted) = (None, 0);
    company.until(|event| match event {
        Event::Stuck { thread: 0, silent } => {
            found = Some(*silent);
            None
        }
        Event::Restarted { who, why } if why == "its thread is stuck" => {
            assert!(found.is_some() && who.starts_with("processor "), "{who}");
            restarted += 1;
            None
        }
        Event::Replaced { thread: 0, lost, released, lingering } => {
            assert!(restarted > 0, "told who is started again");
            let silent = found.expect("told that it is stuck before it is replaced");
            assert!(silent >= PATIENCE_WITH_THREADS, "{silent:?}");
            Some((*lost, *released, *lingering))
        }
        _ => None,
    })
}

#[test]
fn a_blocked_thread_is_replaced_and_its_late_settle_refused() {
    late_settle_refused(broker());
}

#[cfg(feature = "redis")]
#[test]
fn a_blocked_thread_is_replaced_and_its_late_settle_refused_on_redis() {
    let server = crate::redis_servers::server::Server::start();
    late_settle_refused(broker_on(&server.url()));
}

fn late_settle_refused(broker: Arc<dyn Operate>) {
    type Twice = Data<Arc<AtomicBool>>;
    /// 0 blocks its thread the first time it runs, and waits at a gate of its own the second time.
    async fn once(
        task: Number,
        gate: Gate,
        ran: Twice,
        second: Data<Arc<Semaphore>>,
    ) -> TaskResult {
        match task.0 {
            0 if !ran.swap(true, Ordering::SeqCst) => wait(&gate),
            0 => {
                second.acquire().await?.forget();
                Ok(())
            }
            _ => Ok(()),
        }
    }
    let (mut proxy, (tell, beats)) = (Proxy::of(broker), channel());
    proxy.beat = Box::new(move |inner, beat| {
        let _ = tell.send(());
        inner.beat(beat)
    });
    let ((free, gate), second) = (channel(), Arc::new(Semaphore::new(0)));
    let data = second.clone();
    let company = Company::start(client_of(Arc::new(proxy)), |worker| {
        let worker = worker.handle(once).data(Mutex::new(gate)).data(data);
        let worker = worker.data(Arc::new(AtomicBool::new(false))).lease(Duration::from_secs(1));
        worker.threads(1).stuck_after(PATIENCE_WITH_THREADS)
    });
    let blocks = company.put(Number(0));
    company.started(&blocks);
    while beats.try_recv().is_ok() {}
    // Handed to the thread that does not turn.
    let waits = company.put(Number(1));
    while show(&company.client, &waits).expect("kept").state != State::Active {
        std::thread::yield_now();
    }
    assert_eq!(replaced(&company), (1, 1, 1));
    assert!(beats.try_recv().is_ok(), "beats never stop");
    let Health::Degraded(reasons) = company.worker.health() else { panic!("a thread lingers") };
    assert!(reasons.contains(&Reason::Lingering { threads: 1, most: 2 }), "{reasons:?}");
    // What had not begun runs on the fresh thread, and so does what had, again.
    let (mut released, mut again) = (false, false);
    company.until(|event| {
        match event {
            Event::Settled { id, decision: Decision::Complete(_), .. } => {
                released |= *id == waits.id();
            }
            Event::Started { id, .. } => again |= *id == blocks.id(),
            _ => {}
        }
        (released && again).then_some(())
    });
    let trail = show(&company.client, &blocks).expect("kept").trail;
    assert_eq!((trail.attempts, trail.crashes.len(), trail.alone), (0, 1, false));
    assert!(show(&company.client, &waits).expect("kept").trail.is_empty(), "at no cost");
    // The first run returns at last: what it says is not settled, the second still runs.
    free.send(()).expect("it waits");
    company.until(|event| match event {
        Event::LeaseLost { id } => (*id == blocks.id()).then_some(()),
        Event::Settled { id, .. } if *id == blocks.id() => panic!("a late settle"),
        _ => None,
    });
    assert_eq!(show(&company.client, &blocks).expect("kept").state, State::Active);
    let Health::Degraded(reasons) = company.worker.health() else { panic!("a claim was lost") };
    assert!(reasons.contains(&Reason::LeaseLost), "{reasons:?}");
    second.add_permits(1);
    assert!(matches!(company.settled(&blocks).0, Decision::Complete(_)));
    company.end();
}

#[test]
fn what_went_back_unbegun_does_not_begin_on_the_old_thread() {
    /// 0 blocks its thread the first time; the others are counted.
    async fn run(
        task: Number,
        gate: Gate,
        blocked: Data<AtomicBool>,
        ran: Data<Arc<AtomicUsize>>,
    ) -> TaskResult {
        match task.0 {
            0 if !blocked.swap(true, Ordering::SeqCst) => wait(&gate),
            0 => Ok(()),
            _ => {
                ran.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
        }
    }
    let ((free, gate), ran) = (channel(), Arc::new(AtomicUsize::new(0)));
    let client = client();
    // Claimed together, and on the thread together before the first one blocks it.
    let tasks = oncue::block_on(client.enqueue_all((0..3).map(Number))).expect("enqueued");
    let company = Company::start(client, |worker| {
        let worker = worker.handle(run).data(Mutex::new(gate)).data(AtomicBool::new(false));
        worker.data(ran.clone()).threads(1).stuck_after(PATIENCE_WITH_THREADS)
    });
    assert_eq!(replaced(&company), (1, 2, 1));
    let mut left: Vec<_> = tasks[1..].iter().map(oncue::Handle::id).collect();
    company.until(|event| {
        if let Event::Settled { id, decision: Decision::Complete(_), .. } = event {
            left.retain(|other| other != id);
        }
        left.is_empty().then_some(())
    });
    // The old thread turns again, comes to the tasks that waited on it, and ends.
    free.send(()).expect("it waits");
    let lingers = |reason: &Reason| matches!(reason, Reason::Lingering { .. });
    while company.worker.health().reasons().iter().any(lingers) {
        std::thread::yield_now();
    }
    assert_eq!(ran.load(Ordering::SeqCst), 2);
    company.end();
}

#[test]
fn an_endless_loop_is_found_and_the_lane_goes_on() {
    async fn spin(_: Number, free: Data<Arc<AtomicBool>>) -> TaskResult {
        while !free.load(Ordering::SeqCst) {
            std::hint::spin_loop();
        }
        Ok(())
    }
    let free = Arc::new(AtomicBool::new(false));
    let data = free.clone();
    let company = Company::start(client(), |worker| {
        let worker = worker.handle(function(spin).concurrency(1)).handle(other).data(data);
        let lane = oncue::Lane::strict(["default", "others"]).concurrency(1);
        worker.threads(1).stuck_after(PATIENCE_WITH_THREADS).lane(lane)
    });
    let spins = company.put(Number(0).draft().max_retry(0));
    company.started(&spins);
    assert_eq!(replaced(&company), (1, 0, 1));
    // The one slot of the lane is back, and the one of the kind.
    company.started(&spins);
    free.store(true, Ordering::SeqCst);
    assert!(matches!(company.settled(&spins).0, Decision::Complete(_)));
    let beside = company.put(Other(0));
    company.settled(&beside);
    let trail = show(&company.client, &spins).expect("kept").trail;
    assert_eq!((trail.attempts, trail.crashes.len()), (0, 1));
    company.end();
}

#[test]
fn a_task_that_blocks_every_time_runs_alone_and_is_poisoned_when_it_did_so_twice() {
    poisoned(client());
}

#[cfg(feature = "redis")]
#[test]
fn a_task_that_blocks_every_time_is_poisoned_on_redis() {
    let server = crate::redis_servers::server::Server::start();
    poisoned(client_on(&server.url()));
}

fn poisoned(client: oncue::Client) {
    let (free, gate) = channel();
    let company = one_thread(client, gate, |worker| worker.stuck_max(9));
    let pill = company.put(Number(0));
    company.poisoned(&pill);
    let view = show(&company.client, &pill).expect("kept");
    assert_eq!((view.state, view.trail.crashes.len()), (State::Archived, 4));
    let next = company.put(Number(1));
    assert!(matches!(company.settled(&next).0, Decision::Complete(_)));
    drop(free);
    company.end();
}

#[test]
fn more_threads_than_are_borne_end_the_worker() {
    let (free, gate) = channel();
    let company = one_thread(client(), gate, |worker| worker.stuck_max(1));
    company.put(Number(0));
    let error = oncue::block_on(company.worker.run()).expect_err("a fresh process is needed");
    assert!(error.to_string().contains("2 threads are stuck; 1 are borne"), "{error}");
    assert!(matches!(company.worker.health(), Health::Failing(_)));
    drop(free);
}

#[test]
fn what_waits_beside_a_blocked_thread_goes_on_elsewhere() {
    let (free, gate) = channel::<()>();
    let company = Company::start(client(), |worker| {
        let worker = worker.handle(sleepy).data(Mutex::new(gate));
        worker.threads(2).stuck_after(PATIENCE_WITH_THREADS)
    });
    let blocks = company.put(Number(0));
    company.started(&blocks);
    let tasks = oncue::block_on(company.client.enqueue_all((1..200).map(Number)));
    let mut left: Vec<_> = tasks.expect("enqueued").iter().map(oncue::Handle::id).collect();
    company.until(|event| {
        if let Event::Settled { id, decision: Decision::Complete(_), .. } = event {
            left.retain(|other| other != id);
        }
        left.is_empty().then_some(())
    });
    drop(free);
    company.end();
}

#[test]
fn a_blocking_run_that_goes_on_is_counted_until_it_returns() {
    fn block(task: Number, gate: Gate) -> TaskResult {
        if task.0 == 0 { wait(&gate) } else { Ok(()) }
    }
    let (free, gate) = channel();
    let company = Company::start(client(), |worker| {
        let worker = worker.handle(blocking(block)).data(Mutex::new(gate));
        worker.blocking_threads(1).stuck_after(Duration::from_millis(50))
    });
    let late = company.put(Number(0).draft().timeout(Duration::from_millis(20)).max_retry(0));
    assert_eq!(company.settled(&late).1.as_deref(), Some("timeout"));
    company.until(|event| match event {
        Event::Lingering { id, .. } => (*id == late.id()).then_some(()),
        _ => None,
    });
    let Health::Degraded(reasons) = company.worker.health() else { panic!("it lingers") };
    assert!(matches!(reasons[..], [Reason::Lingering { threads: 1, .. }]), "{reasons:?}");
    // It has no thread before the one that lingers returns.
    let next = company.put(Number(1));
    free.send(()).expect("it waits");
    assert!(matches!(company.settled(&next).0, Decision::Complete(_)));
    while company.worker.health() != Health::Ok {
        std::thread::yield_now();
    }
    company.end();
}

#[test]
fn a_broker_that_fails_is_no_good_health() {
    let (mut proxy, down) = (Proxy::of(broker()), Arc::new(AtomicBool::new(false)));
    let fails = down.clone();
    proxy.dequeue = Box::new(move |inner, ask| match fails.load(Ordering::SeqCst) {
        true => std::future::ready(Err(oncue::Error::unreachable("down"))).boxed(),
        false => inner.dequeue(ask),
    });
    let company = Company::start(client_of(Arc::new(proxy)), |worker| worker.handle(other));
    assert_eq!(company.worker.health(), Health::Ok);
    down.store(true, Ordering::SeqCst);
    company.put(Other(0));
    company.until(|event| matches!(event, Event::BrokerFailed { .. }).then_some(()));
    let Health::Degraded(reasons) = company.worker.health() else { panic!("it fails") };
    assert!(matches!(&reasons[..], [Reason::BrokerFailing { verb, .. }] if verb == "dequeue"));
    company.end();
}

#[test]
fn a_run_that_is_given_up_is_told_so() {
    async fn blocks_then_looks(
        _: Number,
        gate: Gate,
        context: TaskContext,
        lost: Data<Mutex<Sender<bool>>>,
    ) -> TaskResult {
        wait(&gate)?;
        lost.lock().map_err(|_| TaskError::new("poisoned"))?.send(context.lease_lost())?;
        Ok(())
    }
    let ((free, gate), (tell, told)) = (channel::<()>(), channel::<bool>());
    let company = Company::start(client(), |worker| {
        let worker = worker.handle(blocks_then_looks).data(Mutex::new(gate)).data(Mutex::new(tell));
        worker.threads(1).stuck_after(PATIENCE_WITH_THREADS)
    });
    let task = company.put(Number(0));
    company.started(&task);
    replaced(&company);
    free.send(()).expect("it waits");
    assert!(told.recv_timeout(PATIENCE).expect("it looked"), "its task may be another's");
    drop(free);
    company.end();
}

/// Counts nothing twice: what was given up leaves neither slot nor claim behind.
#[test]
fn what_is_given_up_leaves_nothing_in_our_hands() {
    leaves_nothing(client());
}

#[cfg(feature = "redis")]
#[test]
fn what_is_given_up_leaves_nothing_in_our_hands_on_redis() {
    let server = crate::redis_servers::server::Server::start();
    leaves_nothing(client_on(&server.url()));
}

fn leaves_nothing(client: oncue::Client) {
    let (free, gate) = channel();
    let ran = Arc::new(AtomicUsize::new(0));
    let company = one_thread(client, gate, |worker| {
        worker.lane(oncue::Lane::strict(["default"]).concurrency(2)).stuck_max(9)
    });
    let pill = company.put(Number(0));
    let tasks: Vec<_> = (1..20).map(|number| company.put(Number(number))).collect();
    let mut left: Vec<_> = tasks.iter().map(oncue::Handle::id).collect();
    company.until(|event| {
        if let Event::Settled { id, decision: Decision::Complete(_), .. } = event {
            left.retain(|other| other != id);
            ran.fetch_add(1, Ordering::SeqCst);
        }
        left.is_empty().then_some(())
    });
    drop(free);
    let (client, _) = company.end();
    assert_eq!(count(&client, "default", State::Active), 0);
    assert!(show(&client, &pill).is_some());
    assert_eq!(ran.load(Ordering::SeqCst), 19);
}

#[test]
fn more_blocking_runs_that_linger_than_are_borne_end_the_worker() {
    let (free, gate) = channel::<()>();
    let company = Company::start(client(), |worker| {
        let block = |_: Number, gate: Gate| wait(&gate);
        let worker = worker.handle(blocking(block)).data(Mutex::new(gate)).stuck_max(0);
        let worker = worker.shutdown_timeout(Duration::from_millis(100));
        worker.blocking_threads(1).stuck_after(Duration::from_millis(50))
    });
    company.put(Number(0).draft().timeout(Duration::from_millis(20)).max_retry(0));
    let error = oncue::block_on(company.worker.run()).expect_err("a fresh process is needed");
    assert!(error.to_string().contains("1 threads are stuck; 0 are borne"), "{error}");
    drop(free);
}

/// 0 blocks its thread until the test is over.
#[test]
fn a_task_that_does_not_stop_keeps_none_of_its_group_waiting() {
    let (_open, gate) = channel::<()>();
    let company = Company::start(client(), |worker| {
        let blocks = |task: Number, gate: Gate| if task.0 == 0 { wait(&gate) } else { Ok(()) };
        let worker = worker.handle(blocking(blocks)).data(Mutex::new(gate));
        worker.stuck_after(PATIENCE_WITH_THREADS).stuck_max(9)
    });
    let put = |number| {
        let draft = Number(number).draft().timeout(Duration::from_millis(50)).max_retry(0);
        company.put(draft.group(Group::named("a").grace(Duration::from_secs(1)).most(3)))
    };
    let tasks = [0, 1, 2].map(put);
    assert_eq!(company.settled(&tasks[0]).1.as_deref(), Some("timeout"));
    company.completed(2);
    company.end();
}
