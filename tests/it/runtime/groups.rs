//! Groups in a worker: tasks that gathered are one piece of work, whatever handles them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, Context, Handler, ResponseFuture};
use oncue::event::Event;
use oncue::outcome::Decision;
use oncue::state::{Reason, State};
use oncue::{
    Client, Data, Group, Handle, Job, Output, Registration, RetryPolicy, Task, TaskError,
    TaskResult, actor, batch, blocking, function,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::company::*;
use super::proxy::Proxy;

/// A task of a group.
#[derive(Serialize, Deserialize, Clone, Copy)]
struct Notice(u64);

impl Task for Notice {
    const KIND: &'static str = "notice";
    const RETENTION: Duration = Duration::from_secs(600);
    const RETRY: RetryPolicy = AT_ONCE;
}

/// Patience that is at its end before a worker looks for wake-ups that were lost, which is every 12 s at most often.
const BEFORE_A_POLL: Duration = Duration::from_secs(8);

/// What each call of a handler was given.
type Calls = Sender<Vec<u64>>;

/// A group that closes once it has so many tasks, and by no time a test could take.
fn full_at(name: &str, most: usize) -> Group {
    Group::named(name).grace(Duration::from_secs(3600)).most(most)
}

/// One group of these, which closes with the last of them.
fn put_group(client: &Client, name: &str, numbers: impl IntoIterator<Item = u64>) -> Vec<Handle> {
    let numbers: Vec<_> = numbers.into_iter().collect();
    let group = full_at(name, numbers.len());
    let drafts = numbers.iter().map(|n| Notice(*n).draft().group(group.clone()));
    oncue::block_on(client.enqueue_all(drafts)).expect("enqueued")
}

#[track_caller]
fn next(calls: &Receiver<Vec<u64>>) -> Vec<u64> {
    calls.recv_timeout(PATIENCE).expect("the handler is called")
}

fn numbers(jobs: &[Job<Notice>]) -> Vec<u64> {
    jobs.iter().map(|job| job.task.0).collect()
}

async fn digest(jobs: Vec<Job<Notice>>, calls: Data<Calls>) -> Vec<TaskResult<u64>> {
    calls.send(numbers(&jobs)).expect("the test listens");
    jobs.iter().map(|job| Ok(job.task.0 * 2)).collect()
}

/// No test waits for it.
fn digests() -> Registration {
    batch(digest).batch_of(3).linger(Duration::from_secs(60))
}

fn a_group_runs_once_with_all_its_tasks_and_with_no_other(client: Client) {
    let (tell, calls) = channel::<Vec<u64>>();
    // Before the worker: one claim brings them all.
    let five = put_group(&client, "a", 0..5);
    put_group(&client, "b", 10..12);
    let single = |n| oncue::block_on(client.enqueue(Notice(n))).expect("enqueued");
    let singles = [20, 21, 22].map(single);
    let company = Company::start(client, |worker| worker.handle(digests()).data(tell).threads(2));
    let mut called = [next(&calls), next(&calls), next(&calls)];
    called.sort();
    assert_eq!(called, [vec![0, 1, 2, 3, 4], vec![10, 11], vec![20, 21, 22]]);
    for (n, task) in five.iter().enumerate() {
        let result = task.result::<u64>().timeout(PATIENCE).into_future();
        assert_eq!(oncue::block_on(result).expect("a result"), n as u64 * 2);
    }
    drop(singles);
    assert_eq!(company.end().1.completed, 10);
    assert!(calls.try_recv().is_err(), "once each");
}

fn a_group_that_fails_comes_again_as_a_whole(client: Client) {
    async fn second_time(jobs: Vec<Job<Notice>>, calls: Data<Calls>) -> TaskResult {
        calls.send(numbers(&jobs)).expect("the test listens");
        if jobs[0].context.attempt() == 1 { Err(TaskError::new("no")) } else { Ok(()) }
    }
    let (tell, calls) = channel::<Vec<u64>>();
    let company = Company::start(client, |worker| worker.handle(batch(second_time)).data(tell));
    put_group(&company.client, "a", 0..4);
    assert_eq!(next(&calls), [0, 1, 2, 3]);
    let mut again = next(&calls);
    again.sort_unstable();
    assert_eq!(again, [0, 1, 2, 3]);
    company.completed(4);
}

#[test]
fn a_task_that_will_not_come_is_not_waited_for() {
    let client = client();
    let group = full_at("a", 4);
    let wrong = oncue::task::RawTask::json("notice", "\"seven\"").expect("JSON").draft();
    let wrong = oncue::block_on(client.enqueue_raw(wrong.group(group.clone()))).expect("enqueued");
    let late = Notice(0).draft().group(group.clone()).expires(Duration::from_millis(1));
    let late = oncue::block_on(client.enqueue(late)).expect("enqueued");
    for n in [1, 2] {
        let draft = Notice(n).draft().group(group.clone());
        oncue::block_on(client.enqueue(draft)).expect("enqueued");
    }
    let (tell, calls) = channel::<Vec<u64>>();
    let company = Company::start(client, |worker| worker.handle(digests()).data(tell));
    assert_eq!(next(&calls), [1, 2]);
    company.completed(2);
    let reason = |task| show(&company.client, task).expect("archived").reason;
    assert_eq!((reason(&wrong), reason(&late)), (Some(Reason::SkipRetry), Some(Reason::Expired)));
}

/// How many run at once, and ran.
#[derive(Default)]
struct Census {
    running: AtomicUsize,
    most: AtomicUsize,
    ran: Mutex<Vec<u64>>,
}

impl Census {
    fn enter(&self, number: u64) {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        self.ran.lock().expect("not poisoned").push(number);
    }

    fn leave(&self) {
        self.running.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn turns(census: &Census, number: u64) {
    census.enter(number);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    census.leave();
}

fn under_others(client: Client, handler: Registration, census: Arc<Census>) {
    put_group(&client, "a", 0..8);
    let data = census.clone();
    let company = Company::start(client, |worker| {
        worker.handle(handler).data(data).threads(2).blocking_threads(4)
    });
    company.completed(8);
    assert_eq!(census.most.load(Ordering::SeqCst), 1, "one after the other");
    assert_eq!(*census.ran.lock().expect("not poisoned"), (0..8).collect::<Vec<_>>());
}

fn under_any_other_handler_they_run_one_after_the_other(client: Client) {
    async fn plain(task: Notice, census: Data<Arc<Census>>) -> TaskResult {
        turns(&census, task.0).await;
        Ok(())
    }
    under_others(client, function(plain), Arc::default());
}

#[test]
fn so_they_do_under_a_blocking_handler() {
    fn block(task: Notice, census: Data<Arc<Census>>) -> TaskResult {
        census.enter(task.0);
        (0..100).for_each(|_| std::thread::yield_now());
        census.leave();
        Ok(())
    }
    under_others(client(), blocking(block), Arc::default());
}

#[test]
fn so_they_do_under_an_actor() {
    struct Reader(Arc<Census>);
    impl Actor for Reader {
        type Context = Context<Self>;
    }
    impl Handler<Job<Notice>> for Reader {
        type Result = ResponseFuture<TaskResult<Output>>;
        fn handle(&mut self, job: Job<Notice>, _: &mut Self::Context) -> Self::Result {
            let census = self.0.clone();
            Box::pin(async move {
                turns(&census, job.task.0).await;
                Ok(Output::none())
            })
        }
    }
    let census = Arc::<Census>::default();
    let made = census.clone();
    let handler = actor(move || Reader(made.clone())).replicas(2).concurrent(4);
    under_others(client(), handler, census);
}

#[test]
fn no_time_runs_while_a_task_waits_for_its_turn() {
    async fn gated(task: Notice, gate: Data<Arc<Semaphore>>) -> TaskResult {
        if task.0 == 0 {
            gate.acquire().await?.forget();
        }
        Ok(())
    }
    let (client, gate) = (client(), Arc::new(Semaphore::new(0)));
    let group = full_at("a", 2);
    let first = Notice(0).draft().group(group.clone());
    let first = oncue::block_on(client.enqueue(first)).expect("enqueued");
    let limit = Duration::from_millis(30);
    let second = Notice(1).draft().group(group).timeout(limit).max_retry(0);
    let second = oncue::block_on(client.enqueue(second)).expect("enqueued");
    let data = gate.clone();
    let company = Company::start(client, |worker| worker.handle(gated).data(data).threads(1));
    company.started(&first);
    let wait = async { tokio::time::sleep(limit * 3).await };
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime")
        .block_on(wait);
    gate.add_permits(1);
    assert_eq!(company.settled(&second), (Decision::Complete(Notice::RETENTION), None));
}

fn a_group_is_one_run_of_its_kind(client: Client) {
    async fn hold(
        jobs: Vec<Job<Notice>>,
        calls: Data<Calls>,
        gate: Data<Arc<Semaphore>>,
    ) -> TaskResult {
        calls.send(numbers(&jobs)).expect("the test listens");
        gate.acquire().await?.forget();
        Ok(())
    }
    for (name, numbers) in [("a", 0..3), ("b", 3..6), ("c", 6..9)] {
        put_group(&client, name, numbers);
    }
    let ((tell, calls), gate) = (channel::<Vec<u64>>(), Arc::new(Semaphore::new(0)));
    let data = gate.clone();
    let company = Company::start(client, |worker| {
        worker.handle(batch(hold).concurrency(1)).data(tell).data(data).threads(2)
    });
    for group in [[0, 1, 2], [3, 4, 5], [6, 7, 8]] {
        assert_eq!(next(&calls), group);
        let active = count(&company.client, "default", State::Active);
        assert_eq!(active, 3, "no other is even claimed");
        gate.add_permits(1);
        company.completed(3);
    }
}

/// 0 takes down the thread it runs on, which counts as a crash of all that ran there.
#[test]
fn a_task_that_crashes_its_group_is_found_and_the_others_live() {
    type Gate = Mutex<Receiver<()>>;
    async fn poisoned(jobs: Vec<Job<Notice>>, gate: Data<Gate>) -> TaskResult {
        if jobs.iter().any(|job| job.task.0 == 0) {
            // The end of the test is as good as a word.
            let _ = gate.lock().map_err(|_| TaskError::new("poisoned"))?.recv();
        }
        Ok(())
    }
    let (_open, gate) = channel::<()>();
    let company = Company::start(client(), |worker| {
        let worker = worker.handle(batch(poisoned)).data(Mutex::new(gate)).threads(1);
        worker.stuck_after(Duration::from_millis(500)).stuck_max(9)
    });
    let tasks = put_group(&company.client, "a", 0..4);
    let mut completed = Vec::new();
    company.until(|event| match event {
        Event::Settled { id, decision: Decision::Complete(_), .. } => {
            completed.push(*id);
            None
        }
        Event::Settled { id, decision: Decision::Archive(reason), .. } => {
            assert_eq!((*id, *reason), (tasks[0].id(), Reason::Poisoned));
            Some(())
        }
        _ => None,
    });
    // They may be last.
    if completed.len() < 3 {
        company.completed(3 - completed.len());
    }
    for task in &tasks[1..] {
        assert_eq!(show(&company.client, task).expect("kept").state, State::Completed);
    }
}

/// A broker that says that all it claims is one group, or none.
fn mixing(group: Option<u32>) -> Client {
    let mut proxy = Proxy::of(broker());
    proxy.dequeue = Box::new(move |inner, ask| {
        let claims = inner.dequeue(ask);
        Box::pin(async move {
            let mut claims = claims.await?;
            claims.iter_mut().for_each(|claim| claim.group = group);
            Ok(claims)
        })
    });
    client_of(Arc::new(proxy))
}

#[test]
fn a_broker_cannot_have_the_tasks_of_one_group_handled_with_those_of_another() {
    let client = mixing(Some(0));
    let (a, b) = (put_group(&client, "a", 0..2), put_group(&client, "b", 2..4));
    let single = oncue::block_on(client.enqueue(Notice(4))).expect("enqueued");
    let (tell, calls) = channel::<Vec<u64>>();
    let company = Company::start(client, |worker| worker.handle(digests()).data(tell));
    let called = next(&calls);
    company.completed(called.len());
    assert!([vec![0, 1], vec![2, 3], vec![4]].contains(&called), "{called:?}");
    let archived = a.iter().chain(&b).chain([&single]).filter(|task| {
        show(&company.client, task).is_some_and(|view| view.reason == Some(Reason::Unopenable))
    });
    assert_eq!(archived.count(), 5 - called.len(), "all that was slipped in");
    assert!(calls.try_recv().is_err());
}

#[test]
fn what_is_claimed_without_its_group_keeps_to_itself() {
    let client = mixing(None);
    put_group(&client, "a", 0..2);
    put_group(&client, "b", 2..4);
    let (tell, calls) = channel::<Vec<u64>>();
    let company = Company::start(client, |worker| worker.handle(digests()).data(tell));
    let mut called = [next(&calls), next(&calls), next(&calls), next(&calls)];
    called.sort();
    assert_eq!(called, [vec![0], vec![1], vec![2], vec![3]]);
    company.completed(4);
}

#[test]
fn a_group_that_found_no_room_in_an_answer_is_asked_for_at_once() {
    let client = {
        let mut proxy = Proxy::of(broker());
        // Nobody is woken: only who asks again without it finds more.
        proxy.wait = Box::new(|inner, (wake, seen)| match seen {
            Some(_) => Box::pin(std::future::pending()),
            None => inner.wait(wake, seen),
        });
        client_of(Arc::new(proxy))
    };
    for (name, first) in [("a", 0), ("b", 500), ("c", 1000)] {
        put_group(&client, name, first..first + 500);
    }
    let (tell, calls) = channel::<Vec<u64>>();
    let company = Company::start(client, |worker| worker.handle(digests()).data(tell));
    let next = || {
        let called = calls.recv_timeout(BEFORE_A_POLL).expect("asked for at once");
        (called[0], called.len())
    };
    let mut called = [next(), next(), next()];
    called.sort_unstable();
    assert_eq!(called, [(0, 500), (500, 500), (1000, 500)]);
    company.completed(1500);
}

#[test]
fn a_group_goes_back_task_by_task_and_gathers_again() {
    let (tell, calls) = channel::<Vec<u64>>();
    async fn never(jobs: Vec<Job<Notice>>, calls: Data<Calls>) -> TaskResult {
        calls.send(numbers(&jobs)).expect("the test listens");
        std::future::pending().await
    }
    let told = tell.clone();
    let company = Company::start(client(), |worker| {
        worker.handle(batch(never)).data(told).shutdown_timeout(Duration::from_millis(100))
    });
    let tasks = put_group(&company.client, "a", 0..3);
    assert_eq!(next(&calls), [0, 1, 2]);
    let (client, report) = company.end();
    assert_eq!((report.completed, report.released), (0, 3));
    for task in &tasks {
        let view = show(&client, task).expect("kept");
        assert_eq!((view.state, view.trail.is_empty()), (State::Aggregating, true));
    }
    let company = Company::start(client, |worker| worker.handle(digests()).data(tell));
    let mut again = next(&calls);
    again.sort_unstable();
    assert_eq!(again, [0, 1, 2]);
    company.completed(3);
}

#[cfg(feature = "cron")]
#[test]
fn the_tasks_of_an_entry_join_its_group() {
    use oncue::timetable::Entry;
    let (tell, calls) = channel::<Vec<u64>>();
    let company = Company::start(client(), |worker| worker.handle(digests()).data(tell));
    let draft = Notice(7).draft().group(full_at("all", 2));
    let entry = Entry::new("noon", "0 12 1 1 *", draft).expect("an entry");
    let cron = company.client.cron();
    oncue::block_on(cron.put(entry)).expect("put");
    let first = oncue::block_on(cron.run_now("noon")).expect("enqueued");
    assert_eq!(show(&company.client, &first).expect("kept").state, State::Aggregating);
    oncue::block_on(cron.run_now("noon")).expect("enqueued");
    assert_eq!(next(&calls), [7, 7]);
    company.completed(2);
}

#[cfg(feature = "testing")]
mod on_a_bench {
    use oncue::testing::{Bench, crash_at_every_step, enqueued};

    use super::*;

    #[test]
    fn a_drain_waits_for_groups_to_close() {
        let (tell, calls) = channel::<Vec<u64>>();
        let drained = oncue::block_on(async {
            let bench = Bench::new()?;
            let day = Duration::from_secs(86_400);
            for n in 0..3 {
                bench
                    .client()
                    .enqueue(Notice(n).draft().group(Group::named("a").grace(day)))
                    .await?;
            }
            bench.client().enqueue(Other(0).draft().group(Group::named("b"))).await?;
            bench.drain(|worker| worker.handle(digests()).data(tell)).await
        });
        let drained = drained.expect("drained");
        assert_eq!(next(&calls), [0, 1, 2]);
        assert_eq!(drained.completed, 3);
        assert!(drained.passed >= Duration::from_secs(86_400), "{:?}", drained.passed);
    }

    /// Every task that was handled with others, by the call it was in.
    type Book = Arc<Mutex<Vec<Vec<u64>>>>;

    #[test]
    fn a_worker_that_is_killed_leaves_its_group_to_another() {
        async fn write(jobs: Vec<Job<Notice>>, book: Data<Book>) -> TaskResult {
            book.lock().map_err(|_| TaskError::new("poisoned"))?.push(numbers(&jobs));
            tokio::task::yield_now().await;
            Ok(())
        }
        let crashes = oncue::block_on(crash_at_every_step(
            async |bench: &Bench| {
                put(bench.client()).await?;
                Ok(Book::default())
            },
            |book, worker| worker.handle(batch(write)).data(book.clone()),
            async |book, bench| {
                let book = book.lock().expect("not poisoned");
                let handled: std::collections::BTreeSet<_> = book.iter().flatten().collect();
                assert_eq!(handled.len(), 3, "{book:?}");
                // Those that were not settled yet come again, once, together.
                assert!(book[0].len() == 3 && book.len() <= 2, "{book:?}");
                let left = enqueued::<Notice>(bench.client()).expect("read");
                assert_eq!(left.len(), 0);
            },
        ));
        assert!(crashes.expect("ran").steps.len() >= 3);
    }

    async fn put(client: &Client) -> oncue::Result<()> {
        let group = full_at("a", 3);
        let drafts =
            (0..3).map(|n| Notice(n).draft().retention(Duration::ZERO).group(group.clone()));
        client.enqueue_all(drafts).await.map(drop)
    }
}

on_both! {
    a_group_runs_once_with_all_its_tasks_and_with_no_other
    a_group_that_fails_comes_again_as_a_whole
    under_any_other_handler_they_run_one_after_the_other
    a_group_is_one_run_of_its_kind
}
