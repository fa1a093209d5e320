//! A test of a shop, as it would stand in its suite: a week of reminders at once, one handler by itself, what is
//! enqueued, and what is left after a crash at every step. Run by `main` here, so that it can be watched.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oncue::testing::{Bench, crash_at_every_step, inline};
use oncue::{
    Client, Data, RetryPolicy, Task, TaskContext, TaskError, TaskResult, assert_enqueued,
    refute_enqueued,
};
use serde::{Deserialize, Serialize};

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// What is under test: an order is charged, then confirmed.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    number: u64,
}

impl Task for Order {
    const KIND: &'static str = "order";
}

#[derive(Debug, Serialize, Deserialize)]
struct Confirm {
    order: u64,
}

impl Task for Confirm {
    const KIND: &'static str = "confirm";
    const QUEUE: &'static str = "mail";
    const RETRY: RetryPolicy = RetryPolicy { jitter: 0.0, ..RetryPolicy::fixed(DAY) };
}

/// A bank that knows a charge by its key: twice with the same is once.
type Bank = Arc<Mutex<BTreeMap<String, u64>>>;

async fn order(
    task: Order,
    context: TaskContext,
    bank: Data<Bank>,
    client: Data<Client>,
) -> TaskResult {
    bank.lock().expect("not poisoned").insert(context.id().to_string(), task.number);
    // The key makes it safe to do again.
    let confirm = Confirm { order: task.number }.draft().key(format!("order {}", task.number));
    client.enqueue(confirm.after(DAY)).await?;
    Ok(())
}

/// The mail server comes back after a week.
async fn confirm(task: Confirm, context: TaskContext) -> TaskResult<String> {
    match context.attempt() {
        1..8 => Err(TaskError::new("no mail server").class("down")),
        attempt => Ok(format!("order {} confirmed at attempt {attempt}", task.order)),
    }
}

async fn a_week_without_mail() -> oncue::Result<()> {
    let bench = Bench::new()?;
    let (client, bank) = (bench.client().clone(), Bank::default());
    client.enqueue(Order { number: 7 }).await?;
    refute_enqueued!(client, Confirm);

    // For now: what is due later stays.
    let shop = client.clone();
    bench
        .drain_for(Duration::ZERO, |worker| worker.handle(order).data(bank.clone()).data(shop))
        .await?;
    assert_enqueued!(client, Confirm, |found| found.task.order == 7 && found.queue == "mail");

    let drained = bench.drain(|worker| worker.handle(confirm)).await?;
    assert_eq!((drained.completed, drained.retried, drained.passed), (1, 7, DAY * 8));
    println!("{} runs in {} days", drained.runs, drained.passed.as_secs() / DAY.as_secs());
    Ok(())
}

async fn one_handler_by_itself() {
    let said: TaskResult<String> = inline(confirm).attempt(8).run(Confirm { order: 7 }).await;
    println!("{}", said.expect("it is confirmed"));
    let early: TaskResult<String> = inline(confirm).run(Confirm { order: 7 }).await;
    assert_eq!(early.expect_err("not yet").message(), "no mail server");
}

async fn a_crash_anywhere() -> oncue::Result<()> {
    let crashes = crash_at_every_step(
        async |bench| {
            bench.client().enqueue(Order { number: 7 }).await?;
            Ok((bench.client().clone(), Bank::default()))
        },
        |(client, bank), worker| {
            worker.handle(order).handle(confirm).data(client.clone()).data(bank.clone())
        },
        async |(client, bank), _| {
            assert_eq!(bank.lock().expect("not poisoned").len(), 1, "charged once");
            refute_enqueued!(client, Order);
            refute_enqueued!(client, Confirm);
        },
    )
    .await?;
    let lived = crashes.steps.iter().map(|step| format!("{:?} {}", step.moment, step.verb));
    println!("outlived {} crashes, among them:", crashes.steps.len());
    lived.take(3).for_each(|step| println!("  {step}"));
    Ok(())
}

fn main() -> oncue::Result<()> {
    oncue::block_on(async {
        a_week_without_mail().await?;
        one_handler_by_itself().await;
        a_crash_anywhere().await
    })
}
