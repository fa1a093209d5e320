//! A broker that fails: replies lost after they took effect, outages, leases that run out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::ready;
use oncue::broker::*;
use oncue::event::Event;
use oncue::outcome::Decision;
use oncue::state::State;
use oncue::{Client, Data, Error, Task, TaskContext, TaskResult};
use tokio::sync::Semaphore;

use super::company::*;
use super::proxy::Proxy;

/// A broker whose replies get lost: the call takes effect, the answer is an error.
struct Faulty {
    inner: Arc<dyn Operate>,
    /// Every n-th reply of a verb is lost; 0: none.
    lose: [AtomicUsize; 5],
    calls: AtomicUsize,
    /// Nothing answers and nothing takes effect.
    down: AtomicBool,
    /// Results are too large for this broker.
    refuses_results: AtomicBool,
    /// How many sessions each beat named.
    beats: std::sync::Mutex<Vec<usize>>,
}

const ENQUEUE: usize = 0;
const DEQUEUE: usize = 1;
const SETTLE: usize = 2;
const RETIRE: usize = 3;
const BEAT: usize = 4;

impl Faulty {
    fn new() -> Arc<Self> {
        let inner = broker();
        Arc::new(Self {
            inner,
            lose: Default::default(),
            calls: 0.into(),
            down: false.into(),
            refuses_results: false.into(),
            beats: Default::default(),
        })
    }

    fn lose(&self, verb: usize, every: usize) {
        self.lose[verb].store(every, Ordering::SeqCst);
    }

    /// A call that is made and answered, made and not answered, or not made.
    fn through<T: Send + 'static>(&self, verb: usize, call: impl FnOnce() -> Reply<T>) -> Reply<T> {
        if self.down.load(Ordering::SeqCst) {
            return ready(Err(Error::unreachable("down"))).boxed();
        }
        let (reply, every) = (call(), self.lose[verb].load(Ordering::SeqCst));
        if every > 0 && self.calls.fetch_add(1, Ordering::SeqCst).is_multiple_of(every) {
            return async move {
                reply.await?;
                Err(Error::unreachable("the reply was lost"))
            }
            .boxed();
        }
        reply
    }
}

impl Faulty {
    /// The broker that fails as it is told.
    fn broker(self: &Arc<Self>) -> Arc<dyn Operate> {
        let hooked = || self.clone();
        let (enqueue, dequeue, settle, retire, beat) =
            (hooked(), hooked(), hooked(), hooked(), hooked());
        Arc::new(Proxy {
            enqueue: Box::new(move |inner, batch| {
                enqueue.through(ENQUEUE, || inner.enqueue(batch))
            }),
            dequeue: Box::new(move |inner, ask| dequeue.through(DEQUEUE, || inner.dequeue(ask))),
            settle: Box::new(move |inner, (session, settlements)| {
                let has_result =
                    |s: &Settlement| matches!(s.order, Order::Complete { result: Some(_), .. });
                if settle.refuses_results.load(Ordering::SeqCst)
                    && settlements.iter().any(has_result)
                {
                    return ready(Err(Error::too_large("a result"))).boxed();
                }
                settle.through(SETTLE, || inner.settle(session, settlements))
            }),
            retire: Box::new(move |inner, (session, known)| {
                retire.through(RETIRE, || inner.retire(session, known))
            }),
            beat: Box::new(move |inner, ask| {
                beat.beats
                    .lock()
                    .unwrap_or_else(|error| error.into_inner())
                    .push(ask.sessions.len());
                beat.through(BEAT, || inner.beat(ask))
            }),
            ..Proxy::at_once(self.inner.clone())
        })
    }
}

type Runs = Data<Arc<Vec<AtomicUsize>>>;

async fn run(task: Number, runs: Runs) -> TaskResult {
    runs[usize::try_from(task.0)?].fetch_add(1, Ordering::SeqCst);
    Ok(())
}

fn runs(tasks: usize) -> Arc<Vec<AtomicUsize>> {
    Arc::new((0..tasks).map(|_| AtomicUsize::new(0)).collect())
}

/// Enqueues tasks one by one and runs them while every third reply of a verb is lost.
fn drive(verb: usize) {
    const TASKS: usize = 300;
    let (faulty, ledger) = (Faulty::new(), runs(TASKS));
    faulty.lose(verb, 3);
    let data = ledger.clone();
    let company =
        Company::start(client_of(faulty.broker()), |worker| worker.handle(run).data(data));
    for number in 0..TASKS as u64 {
        company.put(Number(number));
    }
    company.completed(TASKS);
    let (client, _) = company.end();
    assert!(ledger.iter().all(|runs| runs.load(Ordering::SeqCst) == 1), "each ran exactly once");
    assert_eq!(count(&client, "default", State::Completed), TASKS as u64);
    for state in [State::Pending, State::Active, State::Retry, State::Archived] {
        assert_eq!(count(&client, "default", state), 0, "{state}");
    }
}

#[test]
fn a_lost_reply_to_enqueue_stores_nothing_twice() {
    drive(ENQUEUE);
}

#[test]
fn a_task_whose_stored_reply_was_lost_counts_as_created_once() {
    let faulty = Faulty::new();
    let client = client_of(faulty.broker());
    faulty.lose(ENQUEUE, 2);
    let put = |draft| oncue::block_on(client.enqueue(draft)).expect("stored at the second try");
    let first: oncue::Handle = put(Number(0).draft());
    assert!(first.is_created(), "it was this call that stored it");
    let many = oncue::block_on(client.enqueue_all((0..3).map(Number))).expect("stored");
    assert!(many.iter().all(oncue::Handle::is_created));
    assert_eq!(count(&client, "default", State::Pending), 4);
}

#[test]
fn a_lost_reply_to_dequeue_leaks_no_claim() {
    drive(DEQUEUE);
}

#[test]
fn a_lost_reply_to_settle_runs_nothing_twice() {
    drive(SETTLE);
}

#[test]
fn an_outage_is_back_pressure_and_then_over() {
    let (faulty, ledger) = (Faulty::new(), runs(20));
    let data = ledger.clone();
    let client = client_of(faulty.broker());
    oncue::block_on(client.enqueue_all((0..20).map(Number))).expect("enqueued");
    faulty.down.store(true, Ordering::SeqCst);
    let company = Company::start(client, |worker| worker.handle(run).data(data));
    for _ in 0..3 {
        company.until(|event| matches!(event, Event::BrokerFailed { .. }).then_some(()));
    }
    assert!(ledger.iter().all(|runs| runs.load(Ordering::SeqCst) == 0));
    faulty.down.store(false, Ordering::SeqCst);
    company.completed(20);
    assert!(ledger.iter().all(|runs| runs.load(Ordering::SeqCst) == 1));
}

#[test]
fn a_settlement_that_is_refused_settles_the_rest_and_ends_without_what_was_refused() {
    async fn one_result(task: Number) -> TaskResult<Option<u64>> {
        Ok(Some(task.0).filter(|number| *number == 5))
    }
    let faulty = Faulty::new();
    faulty.refuses_results.store(true, Ordering::SeqCst);
    let client = client_of(faulty.broker());
    let tasks = oncue::block_on(client.enqueue_all((0..20).map(Number))).expect("enqueued");
    let company = Company::start(client, |worker| worker.handle(one_result));
    company.completed(20);
    let view = show(&company.client, &tasks[5]).expect("kept");
    assert_eq!((view.state, view.result), (State::Completed, None));
    assert_eq!(count(&company.client, "default", State::Completed), 20);
}

#[test]
fn an_idle_worker_keeps_the_sessions_it_opened() {
    let faulty = Faulty::new();
    let company = Company::start(client_of(faulty.broker()), |worker| {
        worker.handle(run).data(runs(1)).lease(Duration::from_millis(300))
    });
    let deadline = std::time::Instant::now() + PATIENCE;
    let beaten = || faulty.beats.lock().is_ok_and(|beats| beats.iter().any(|named| *named > 0));
    while !beaten() {
        assert!(std::time::Instant::now() < deadline, "a session nobody beats expires");
        std::thread::yield_now();
    }
    // What comes after more than a lease of idling is claimed under a lease that holds.
    let task = company.put(Number(0));
    assert!(matches!(company.settled(&task).0, Decision::Complete(_)));
}

#[test]
fn a_lease_that_ran_out_is_told_to_the_run_and_refused_to_settle() {
    async fn linger(_: Number, gate: Data<Arc<Semaphore>>, context: TaskContext) -> TaskResult {
        tokio::select! {
            permit = gate.acquire() => permit?.forget(),
            () = context.cancelled() => assert!(context.lease_lost()),
        }
        Ok(())
    }
    let (faulty, gate) = (Faulty::new(), Arc::new(Semaphore::new(0)));
    let client = client_of(faulty.broker());
    let build = |worker: oncue::worker::Builder| {
        worker.handle(linger).data(gate.clone()).lease(Duration::from_millis(600))
    };
    let cut_off = Company::start(client.clone(), build);
    let task = cut_off.put(Number(0));
    cut_off.started(&task);
    // From here on this worker is alone; the other one reaches the broker by another door.
    faulty.down.store(true, Ordering::SeqCst);
    let other = Company::start(Client::new(faulty.inner.clone(), client.sealer().clone()), build);
    let decision = other.until(|event| match event {
        Event::Reclaimed { id, decision } if *id == task.id() => Some(*decision),
        _ => None,
    });
    assert_eq!(decision, Decision::Release { alone: false });
    cut_off.until(|event| match event {
        Event::LeaseLost { id } => (*id == task.id()).then_some(()),
        _ => None,
    });
    other.started(&task);
    gate.add_permits(1);
    assert!(matches!(other.settled(&task).0, Decision::Complete(_)));
    let view = show(&client, &task).expect("kept");
    assert_eq!((view.trail.attempts, view.trail.crashes.len()), (0, 1));
}

#[test]
fn a_pill_that_crashed_twice_runs_alone_and_is_archived_when_it_did_so_twice() {
    let company = Company::start(client(), |worker| {
        worker.handle(|_: Number| async { TaskResult::Ok(()) }).lease(Duration::from_millis(300))
    });
    let (client, _) = company.end();
    let task = oncue::block_on(client.enqueue(Number(0).draft())).expect("enqueued");
    let build = |worker: oncue::worker::Builder| {
        worker
            .handle(|_: Other| async { TaskResult::Ok(()) })
            .lane(oncue::Lane::strict(["default"]))
            .lease(Duration::from_millis(300))
    };
    let kind = oncue::queue::KindHash::of("number");
    // A worker that claims and dies, again and again; another that finds out.
    let janitor = Company::start(client.clone(), build);
    for (lane, expected) in [
        (Lane::Shared, Decision::Release { alone: false }),
        (Lane::Shared, Decision::Release { alone: true }),
        (Lane::Alone, Decision::Release { alone: true }),
        (Lane::Alone, Decision::Archive(oncue::state::Reason::Poisoned)),
    ] {
        let claim = |lease| {
            let session = Session::fresh(task.queue().clone());
            let ask =
                Ask { session: session.clone(), lease, max: 1, lane, accept: vec![(kind, 1)] };
            let claims = oncue::block_on(client.broker().dequeue(ask)).expect("claims");
            assert_eq!(claims.len(), 1, "{lane:?}");
            (session, claims)
        };
        if lane == Lane::Alone {
            // Its worker says so once its company is gone.
            let (session, claims) = claim(PATIENCE);
            let mut trail = claims[0].trail.clone();
            trail.alone = true;
            let release = Settlement::new(claims[0].ticket, Order::Release { lane });
            let release = Settlement { trail: Some(trail), ..release };
            oncue::block_on(client.broker().settle(session, vec![release])).expect("released");
        }
        claim(Duration::from_millis(1));
        let decision = janitor.until(|event| match event {
            Event::Reclaimed { decision, .. } => Some(*decision),
            _ => None,
        });
        assert_eq!(decision, expected);
    }
    assert_eq!(show(&client, &task).expect("kept").state, State::Archived);
}

#[test]
fn a_broker_that_answers_too_little_leaves_nothing_in_our_hands() {
    let mut proxy = super::proxy::Proxy::of(broker());
    proxy.settle = Box::new(|inner, (session, settlements)| {
        let settled = inner.settle(session, settlements);
        async move { settled.await.map(|_| Vec::new()) }.boxed()
    });
    let data = runs(1);
    let company =
        Company::start(client_of(Arc::new(proxy)), |worker| worker.handle(run).data(data));
    company.put(Number(0));
    company.until(|event| matches!(event, Event::LeaseLost { .. }).then_some(()));
}
