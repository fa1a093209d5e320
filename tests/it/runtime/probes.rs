//! Probes of a quarantine that meet something else meanwhile: exactly one at a time, and never none for good.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, ResponseFuture, WrapFuture};
use oncue::broker::Signal;
use oncue::event::Event;
use oncue::outcome::Decision;
use oncue::queue::Kind;
use oncue::restart::{Backoff, OnExceeded, Policy, Restart};
use oncue::state::State;
use oncue::{Data, Job, Output, Task, TaskError, TaskResult, actor};
use tokio::sync::{Semaphore, watch};

use super::company::*;

/// Bears nothing; a probe after so long.
fn fragile(probe_after: Duration) -> Policy {
    let backoff = Backoff { min: Duration::from_millis(1), ..Backoff::DEFAULT };
    let quarantine = OnExceeded::Quarantine { probe_after };
    Policy::DEFAULT.intensity(0, Duration::from_secs(600)).backoff(backoff).on_exceeded(quarantine)
}

const SOON: Duration = Duration::from_millis(30);

/// Tells, and is told to go.
type Farewell = (Sender<()>, Receiver<()>);

/// What the replicas of a test share.
#[derive(Clone, Default)]
struct Ward {
    /// It panics over every task.
    ill: Arc<AtomicBool>,
    /// It tells when it is dropped, and waits for a word.
    farewell: Arc<Mutex<Option<Farewell>>>,
    gate: Option<Arc<Semaphore>>,
    made: Arc<AtomicUsize>,
    /// Which of them was last given a task to keep.
    busy: Arc<AtomicUsize>,
    /// All others than this one die of themselves.
    doomed: Arc<watch::Sender<Option<usize>>>,
}

struct Patient {
    ward: Ward,
    number: usize,
}

impl Actor for Patient {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let (number, mut doomed) = (self.number, self.ward.doomed.subscribe());
        let dies = async move {
            let dooms = |spared: &Option<usize>| spared.is_some_and(|spared| spared != number);
            assert!(doomed.wait_for(dooms).await.is_err(), "doomed");
        };
        context.spawn(dies.into_actor(self));
    }
}

impl Drop for Patient {
    fn drop(&mut self) {
        let farewell = self.ward.farewell.lock().expect("not poisoned").take();
        if let Some((tell, told)) = farewell {
            let _ = (tell.send(()), told.recv());
        }
    }
}

/// 7 stops it in order, 8 is answered when the gate opens.
impl Handler<Job<Number>> for Patient {
    type Result = ResponseFuture<TaskResult<Output>>;

    fn handle(&mut self, job: Job<Number>, context: &mut Self::Context) -> Self::Result {
        assert!(!self.ward.ill.load(Ordering::SeqCst), "ill");
        if job.task.0 == 7 {
            context.stop();
        }
        let gate = self.ward.gate.clone().filter(|_| job.task.0 == 8);
        self.ward.busy.store(self.number, Ordering::SeqCst);
        Box::pin(async move {
            if let Some(gate) = gate {
                gate.acquire().await?.forget();
            }
            Ok(Output::none())
        })
    }
}

impl Ward {
    fn ill() -> Self {
        Self { ill: Arc::new(AtomicBool::new(true)), ..Self::default() }
    }

    fn factory(&self) -> impl Fn() -> Patient + Send + Sync + 'static {
        let ward = self.clone();
        move || {
            let number = ward.made.fetch_add(1, Ordering::SeqCst);
            Patient { ward: ward.clone(), number }
        }
    }

    fn recovers(&self) {
        self.ill.store(false, Ordering::SeqCst);
    }
}

fn quarantined(event: &Event) -> Option<()> {
    matches!(event, Event::Quarantined { .. }).then_some(())
}

fn probing(event: &Event) -> Option<()> {
    matches!(event, Event::Probing { .. }).then_some(())
}

fn recovered(event: &Event) -> Option<()> {
    matches!(event, Event::Recovered { .. }).then_some(())
}

#[test]
fn one_that_waits_on_a_thread_that_is_given_up_is_followed_by_another() {
    async fn blocks(_: Other, gate: Data<Mutex<Receiver<()>>>) -> TaskResult {
        let _ = gate.lock().map_err(|_| TaskError::new("poisoned"))?.recv();
        Ok(())
    }
    let ((free, gate), ward) = (channel::<()>(), Ward::ill());
    let company = Company::start(client(), |worker| {
        let patient = actor(ward.factory()).replicas(2);
        let worker = worker.handle(patient.policy(fragile(Duration::from_millis(400))));
        let worker = worker.handle(blocks).data(Mutex::new(gate));
        worker.threads(2).stuck_after(Duration::from_millis(800)).stuck_max(9)
    });
    let probe = company.put(Number(0).draft().max_retry(9));
    company.until(quarantined);
    ward.recovers();
    // One on each thread: the replica that lives cannot answer, the other one cannot be made anew.
    oncue::block_on(company.client.enqueue_all([Other(0), Other(1)])).expect("enqueued");
    company.until(probing);
    let mut replaced = 0;
    company.until(|event| {
        replaced += usize::from(matches!(event, Event::Replaced { .. }));
        (replaced == 2).then_some(())
    });
    assert!(matches!(company.settled(&probe).0, Decision::Complete(_)));
    drop(free);
    company.end();
}

#[test]
fn one_over_which_a_handler_died_that_is_made_anew_on_order_is_followed_by_another() {
    let ward = Ward::ill();
    let company = Company::start(client(), |worker| {
        worker.handle(actor(ward.factory()).policy(fragile(SOON))).threads(1)
    });
    let probe = company.put(Number(0).draft().max_retry(9));
    company.until(quarantined);
    let ((tell, dying), (free, told)) = (channel(), channel());
    *ward.farewell.lock().expect("not poisoned") = Some((tell, told));
    company.until(probing);
    // Dead, and not yet told to be.
    dying.recv_timeout(PATIENCE).expect("it dies over its probe");
    let restart = Signal::Restart(Kind::parse("number").expect("a kind"));
    let (broker, worker) = (company.client.broker(), company.worker.id());
    while !oncue::block_on(broker.signal(worker, restart.clone())).expect("answered") {
        std::thread::yield_now();
    }
    company.until(|event| match event {
        Event::Restarted { why, .. } => (why == "an operator ordered it").then_some(()),
        _ => None,
    });
    ward.recovers();
    free.send(()).expect("it waits");
    company.until(recovered);
    assert!(matches!(company.settled(&probe).0, Decision::Complete(_)));
    company.end();
}

#[test]
fn one_after_which_its_replica_may_stop_for_good_is_followed_by_another() {
    let ward = Ward::ill();
    let company = Company::start(client(), |worker| {
        let patient = actor(ward.factory()).replicas(2);
        worker.handle(patient.policy(fragile(SOON).restart(Restart::Transient)))
    });
    company.put(Number(0).draft().max_retry(0));
    company.until(quarantined);
    ward.recovers();
    company.put(Number(7));
    company.until(probing);
    let next = company.put(Number(1));
    assert!(matches!(company.settled(&next).0, Decision::Complete(_)), "by the other replica");
    company.end();
}

#[test]
fn one_of_an_earlier_quarantine_has_no_say_in_the_next() {
    let ward = Ward { gate: Some(Arc::new(Semaphore::new(0))), ..Ward::ill() };
    let company = Company::start(client(), |worker| {
        let patient = actor(ward.factory()).replicas(3).policy(fragile(SOON));
        worker.handle(patient).handle(|_: Other| async { TaskResult::Ok(()) }).threads(1)
    });
    company.put(Number(0).draft().max_retry(0));
    company.until(quarantined);
    ward.recovers();
    let first = company.put(Number(8));
    company.started(&first);
    // The other replica dies of itself meanwhile.
    ward.doomed.send_replace(Some(ward.busy.load(Ordering::SeqCst)));
    company.until(quarantined);
    ward.doomed.send_replace(None);
    let second = company.put(Number(8));
    company.started(&second);
    let third = company.put(Number(1));
    oncue::block_on(first.cancel()).expect("answered");
    company.settled(&first);
    // Whatever could be claimed would be by now.
    for _ in 0..3 {
        let beside = company.put(Other(0));
        company.settled(&beside);
    }
    let state = |task| show(&company.client, task).expect("kept").state;
    assert_eq!((state(&second), state(&third)), (State::Active, State::Pending), "one at a time");
    ward.gate.iter().for_each(|gate| gate.add_permits(2));
    company.until(recovered);
    company.settled(&third);
    company.end();
}
