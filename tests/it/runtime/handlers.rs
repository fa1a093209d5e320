//! The three sorts of handlers: functions, blocking functions, actors.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use actix::{Actor, Context, Handler, ResponseFuture};
use oncue::event::Event;
use oncue::outcome::Decision;
use oncue::{
    Data, Job, Output, Task, TaskContext, TaskError, TaskResult, actor, blocking, function,
};
use tokio::sync::{Semaphore, watch};

use super::company::*;

#[test]
fn arguments_come_in_any_order_and_futures_need_not_be_send() {
    async fn plain(_: Number) -> TaskResult {
        Ok(())
    }
    async fn both(_: Other, word: Data<String>, context: TaskContext, n: Data<u8>) -> TaskResult {
        let local = Rc::new((word.len(), *n));
        tokio::task::yield_now().await;
        let ok = *local == (4, 7) && context.kind().as_str() == "other";
        if ok { Ok(()) } else { Err(TaskError::new("wrong")) }
    }
    let company = Company::start(client(), |worker| {
        worker.handle(plain).handle(both).data("four".to_owned()).data(7u8)
    });
    let (plain, both) = (company.put(Number(0)), company.put(Other(0)));
    company.completed(2);
    let header = company.put(Other(1).draft().header("a", "b"));
    assert!(header.is_created() && plain.id() != both.id());
}

#[test]
fn what_is_missing_is_told_before_anything_starts() {
    async fn needs(_: Number, _: Data<u8>) -> TaskResult {
        Ok(())
    }
    let client = client();
    let missing = oncue::block_on(client.worker().handle(needs).start());
    let error = missing.err().expect("no Data<u8>").to_string();
    assert!(error.contains("Data<u8>") && error.contains(".data("), "{error}");
    let twice = client.worker().data(1u8).handle(needs).handle(needs).start();
    assert!(oncue::block_on(twice).err().expect("twice").to_string().contains("number"));
    assert!(oncue::block_on(client.worker().start()).err().expect("none").is_invalid());
    let replicas = client.worker().data(1u8).handle(function(needs).replicas(2)).start();
    assert!(oncue::block_on(replicas).err().expect("a function").is_invalid());
}

#[test]
fn a_blocking_handler_does_not_stop_others() {
    let (free, gate) = std::sync::mpsc::channel::<()>();
    let gate = Data::new(std::sync::Mutex::new(gate));
    fn block(
        _: Number,
        gate: Data<Data<std::sync::Mutex<std::sync::mpsc::Receiver<()>>>>,
    ) -> TaskResult {
        gate.lock().map_err(|_| TaskError::new("poisoned"))?.recv()?;
        Ok(())
    }
    async fn quick(_: Other) -> TaskResult {
        Ok(())
    }
    let company = Company::start(client(), |worker| {
        worker.handle(blocking(block)).handle(quick).data(gate).threads(1).blocking_threads(1)
    });
    let blocked = company.put(Number(0));
    company.started(&blocked);
    let quick = company.put(Other(0));
    assert!(matches!(company.settled(&quick).0, Decision::Complete(_)));
    free.send(()).expect("it waits");
    assert!(matches!(company.settled(&blocked).0, Decision::Complete(_)));
}

#[test]
fn the_time_of_a_blocking_run_begins_when_it_has_a_thread() {
    type Gate = Data<std::sync::Mutex<std::sync::mpsc::Receiver<()>>>;
    fn block(task: Number, gate: Gate) -> TaskResult {
        if task.0 == 0 {
            gate.lock().map_err(|_| TaskError::new("poisoned"))?.recv()?;
        }
        Ok(())
    }
    async fn take_longer(_: Other) -> TaskResult {
        tokio::time::sleep(Duration::from_millis(60)).await;
        Ok(())
    }
    let (free, gate) = std::sync::mpsc::channel::<()>();
    let company = Company::start(client(), |worker| {
        let worker = worker.handle(blocking(block)).handle(take_longer);
        worker.data(std::sync::Mutex::new(gate)).blocking_threads(1)
    });
    let first = company.put(Number(0));
    company.started(&first);
    let second = company.put(Number(1).draft().timeout(Duration::from_millis(20)).max_retry(0));
    let other = company.put(Other(0));
    let mut early = None;
    company.until(|event| match event {
        Event::Settled { id, class, .. } if *id == second.id() => {
            early = class.clone();
            None
        }
        Event::Settled { id, .. } => (*id == other.id()).then_some(()),
        _ => None,
    });
    assert_eq!(early, None, "it had no thread yet");
    free.send(()).expect("it waits");
    assert!(matches!(company.settled(&second).0, Decision::Complete(_)));
}

#[test]
fn a_panic_in_the_call_and_in_a_blocking_handler_is_a_failed_task() {
    fn call(task: Number) -> std::future::Ready<TaskResult> {
        panic!("call {}", task.0)
    }
    fn block(task: Other) -> TaskResult {
        panic!("block {}", task.0)
    }
    let company = Company::start(client(), |worker| worker.handle(call).handle(blocking(block)));
    let expect = |task: &oncue::Handle, expected: &str| {
        assert_eq!(company.settled(task).1.as_deref(), Some("panic"));
        let view = show(&company.client, task).expect("archived");
        assert_eq!(company.client.failure(&view).expect("sealed message"), expected);
    };
    expect(&company.put(Number(0).draft().max_retry(0)), "call 0");
    expect(&company.put(Other(0).draft().max_retry(0)), "block 0");
}

/// How many of its kind are made, run at once, and ran.
#[derive(Default)]
struct Census {
    made: AtomicUsize,
    running: AtomicUsize,
    most: AtomicUsize,
}

impl Census {
    fn enter(&self) {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
    }

    fn leave(&self) {
        self.running.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn a_kind_never_exceeds_its_concurrency() {
    async fn count(_: Number, census: Data<Arc<Census>>) -> TaskResult {
        census.enter();
        tokio::task::yield_now().await;
        census.leave();
        Ok(())
    }
    let census = Arc::new(Census::default());
    let (client, data) = (client(), census.clone());
    oncue::block_on(client.enqueue_all((0..200).map(Number))).expect("enqueued");
    let company =
        Company::start(client, |worker| worker.handle(function(count).concurrency(2)).data(data));
    company.completed(200);
    assert!((1..=2).contains(&census.most.load(Ordering::SeqCst)));
}

struct Clerk {
    census: Arc<Census>,
    handled: u64,
}

impl Actor for Clerk {
    type Context = Context<Self>;
}

impl Handler<Job<Number>> for Clerk {
    type Result = TaskResult<Output>;

    fn handle(&mut self, job: Job<Number>, _: &mut Self::Context) -> Self::Result {
        assert!(job.task.0 != 13 || job.context.attempt() > 1, "unlucky");
        self.census.enter();
        self.handled += 1;
        self.census.leave();
        Output::of(&self.handled)
    }
}

#[test]
fn a_handler_actor_that_panics_is_made_anew_by_its_factory() {
    let census = Arc::new(Census::default());
    let made = census.clone();
    let factory = move || {
        made.made.fetch_add(1, Ordering::SeqCst);
        Clerk { census: made.clone(), handled: 0 }
    };
    let company = Company::start(client(), |worker| worker.handle(actor(factory)));
    let result = |number| {
        let task = company.put(Number(number));
        oncue::block_on(async { task.result::<u64>().timeout(PATIENCE).await })
    };
    assert_eq!((result(1).expect("first"), result(2).expect("state of its own")), (1, 2));
    assert_eq!(result(13).expect("retried on a fresh actor"), 1);
    company.until(|event| match event {
        Event::Restarted { who, why } => {
            assert_eq!((who.as_str(), why.as_str()), ("handler number", "unlucky"));
            Some(())
        }
        _ => None,
    });
    assert_eq!(census.made.load(Ordering::SeqCst), 2);
    assert_eq!(company.end().1.restarts, 1);
}

struct Detached(watch::Receiver<usize>);

impl Actor for Detached {
    type Context = Context<Self>;
}

impl Handler<Job<Other>> for Detached {
    type Result = ResponseFuture<TaskResult<Output>>;

    fn handle(&mut self, job: Job<Other>, _: &mut Self::Context) -> Self::Result {
        let generation = *self.0.borrow();
        Box::pin(async move {
            tokio::task::yield_now().await;
            assert!(job.context.attempt() > 1, "in a detached answer");
            Output::of(&generation)
        })
    }
}

#[test]
fn a_panic_in_a_detached_answer_restarts_the_replica_on_purpose() {
    let (generation, seen) = watch::channel(0);
    let factory = move || {
        generation.send_modify(|count| *count += 1);
        Detached(seen.clone())
    };
    let company = Company::start(client(), |worker| worker.handle(actor(factory)));
    let task = company.put(Other(0).draft().retention(Duration::from_secs(60)));
    let generation =
        oncue::block_on(async { task.result::<usize>().timeout(PATIENCE).await }).expect("retried");
    assert_eq!(generation, 2);
}

struct Gate(Arc<Semaphore>, Arc<Census>, Sender<()>);

impl Actor for Gate {
    type Context = Context<Self>;
}

impl Handler<Job<Number>> for Gate {
    type Result = ResponseFuture<TaskResult<Output>>;

    fn handle(&mut self, _: Job<Number>, _: &mut Self::Context) -> Self::Result {
        let (gate, census, entered) = (self.0.clone(), self.1.clone(), self.2.clone());
        Box::pin(async move {
            census.enter();
            entered.send(())?;
            gate.acquire().await?.forget();
            census.leave();
            Ok(Output::none())
        })
    }
}

#[test]
fn replicas_share_the_work_one_task_each() {
    let (gate, census) = (Arc::new(Semaphore::new(0)), Arc::new(Census::default()));
    let (client, inner, counted) = (client(), gate.clone(), census.clone());
    oncue::block_on(client.enqueue_all((0..12).map(Number))).expect("enqueued");
    let (enter, entered) = std::sync::mpsc::channel();
    let factory = move || Gate(inner.clone(), counted.clone(), enter.clone());
    let company = Company::start(client, |worker| worker.handle(actor(factory).replicas(3)));
    (0..3).for_each(|_| entered.recv_timeout(PATIENCE).expect("each replica gets a task"));
    gate.add_permits(12);
    company.completed(12);
    assert_eq!(census.most.load(Ordering::SeqCst), 3);
}
