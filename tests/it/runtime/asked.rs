//! What one can ask of a task when it is enqueued, and what people do to it after: through the public API.

use std::time::Duration;

use oncue::broker::{Acted, Enqueued, Setting};
use oncue::outcome::Decision;
use oncue::queue::QueueName;
use oncue::state::{Reason, State};
use oncue::{
    Client, Handle, Result, RetryPolicy, Task, TaskContext, TaskError, TaskResult, Unique,
};
use serde::{Deserialize, Serialize};

use super::company::*;

const HOUR: Duration = Duration::from_secs(3_600);

on_both! {
    an_enqueue_says_what_is_not_as_its_kind_says
    one_of_its_sort_at_a_time
    alike_is_what_was_said
    a_lock_is_released_by_the_start_or_by_the_end
    many_at_once_know_their_winners
    a_debounced_task_runs_once_with_the_last_payload
    people_move_tasks
    a_payload_is_corrected_before_its_run
    priorities_and_the_front_go_first
    a_full_queue_is_waited_for_or_spilled
    a_retry_waits_as_its_class_says_and_may_go_first
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Mail {
    to: String,
    text: String,
}

impl Task for Mail {
    const KIND: &'static str = "mail";
    const RETENTION: Duration = HOUR;
}

fn mail(to: &str, text: &str) -> Mail {
    Mail { to: to.to_owned(), text: text.to_owned() }
}

fn put<T: Task>(client: &Client, draft: impl Into<oncue::Draft<T>>) -> Handle {
    oncue::block_on(client.enqueue(draft)).expect("enqueued")
}

fn act(acted: impl Future<Output = Result<Acted>>) -> Acted {
    oncue::block_on(acted).expect("acted")
}

#[derive(Serialize, Deserialize)]
struct Careful;

impl Task for Careful {
    const KIND: &'static str = "careful";
    const QUEUE: &'static str = "care";
    const MAX_RETRY: u32 = 3;
    const TIMEOUT: Duration = Duration::from_millis(1_500);
    const RETENTION: Duration = HOUR;
}

fn an_enqueue_says_what_is_not_as_its_kind_says(client: Client) {
    let says = |handle: Handle| {
        let header = show(&client, &handle).expect("there").stored.header().expect("reads");
        (header.queue.to_string(), header.max_retry, header.timeout, header.retention)
    };
    let ms = Duration::from_millis;
    assert_eq!(says(put(&client, Careful)), ("care".to_owned(), 3, ms(1_500), HOUR));
    let other = Careful.draft().queue("other").max_retry(0).timeout(ms(7)).retention(ms(8));
    assert_eq!(says(put(&client, other)), ("other".to_owned(), 0, ms(7), ms(8)));
    let silent = put(&client, Number(1).draft().timeout(Duration::ZERO));
    assert_eq!(says(silent), ("default".to_owned(), 3, Duration::ZERO, 600_000 * ms(1)));
}

fn one_of_its_sort_at_a_time(client: Client) {
    let unique = Unique::until_end();
    let first = put(&client, mail("ada", "a").draft().unique(unique.clone()));
    let second = put(&client, mail("ada", "a").draft().unique(unique.clone()));
    assert_eq!((second.id(), second.is_created()), (first.id(), false));
    assert_eq!(second.enqueued(), Enqueued::Held(first.id()));
    // Not alike, not unique, another queue: each its own.
    for other in [
        mail("ada", "b").draft().unique(unique.clone()),
        mail("ada", "a").draft(),
        mail("ada", "a").draft().queue("elsewhere").unique(unique.clone()),
    ] {
        assert!(put(&client, other).is_created());
    }
    let soon = mail("ada", "a").draft().unique(unique.clone().reschedule()).after(HOUR);
    assert_eq!(put(&client, soon).enqueued(), Enqueued::Moved(first.id()));
    assert_eq!(show(&client, &first).expect("there").state, State::Scheduled);
    let third = put(&client, mail("ada", "a").draft().unique(unique.replace()));
    assert_eq!(third.enqueued(), Enqueued::Replaced(first.id()));
    assert!(third.is_created() && third.id() != first.id());
    assert!(show(&client, &first).is_none());
}

fn alike_is_what_was_said(client: Client) {
    let by_field = Unique::until_end().fields(["to"]);
    let ada = put(&client, mail("ada", "a").draft().unique(by_field.clone()));
    assert_eq!(put(&client, mail("ada", "b").draft().unique(by_field.clone())).id(), ada.id());
    assert!(put(&client, mail("bob", "a").draft().unique(by_field)).is_created());
    let by_key = Unique::until_end().key("monday");
    let monday = put(&client, mail("x", "x").draft().unique(by_key.clone()));
    assert_eq!(put(&client, mail("y", "y").draft().unique(by_key)).id(), monday.id());
    for bad in [
        Unique::until_end().fields::<&str>([]),
        Unique::until_end().key(""),
        Unique::until_end().key("x".repeat(5_000)),
        Unique::until_end().lasts(Duration::ZERO),
    ] {
        let refused = oncue::block_on(client.enqueue(mail("z", "z").draft().unique(bad)));
        assert!(refused.expect_err("refused").is_invalid());
    }
}

fn a_lock_is_released_by_the_start_or_by_the_end(client: Client) {
    let draft = |unique: Unique| Number(7).draft().unique(unique);
    let (started, ended) = (Unique::until_start().key("s"), Unique::until_end().key("e"));
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let company = Company::start(client, |worker| {
        let wait = |_: Number, gate: oncue::Data<std::sync::Arc<tokio::sync::Semaphore>>| async move {
            gate.acquire().await.expect("never closed").forget();
            TaskResult::Ok(())
        };
        worker.handle(oncue::function(wait).concurrency(2)).data(gate.clone())
    });
    let (s, e) = (company.put(draft(started.clone())), company.put(draft(ended.clone())));
    let mut begun = [s.id(), e.id()].into_iter().collect::<std::collections::HashSet<_>>();
    company.until(|event| {
        if let oncue::event::Event::Started { id, .. } = event {
            begun.remove(id);
        }
        begun.is_empty().then_some(())
    });
    let next = company.put(draft(started));
    assert!(next.is_created(), "the first has started");
    assert_eq!(company.put(draft(ended.clone())).id(), e.id(), "it has not ended");
    gate.add_permits(3);
    company.completed(3);
    assert!(company.put(draft(ended)).is_created());
    gate.add_permits(1);
    company.end();
}

fn many_at_once_know_their_winners(client: Client) {
    let unique = Unique::until_end().fields(["to"]);
    let drafts = ["ada", "bob", "ada", "cyd", "bob"]
        .iter()
        .enumerate()
        .map(|(at, to)| mail(to, &at.to_string()).draft().unique(unique.clone()));
    let handles = oncue::block_on(client.enqueue_all(drafts)).expect("enqueued");
    let created: Vec<_> = handles.iter().map(Handle::is_created).collect();
    assert_eq!(created, [true, true, false, true, false]);
    assert_eq!((handles[2].id(), handles[4].id()), (handles[0].id(), handles[1].id()));
    assert_eq!(count(&client, "default", State::Pending), 3);
}

fn a_debounced_task_runs_once_with_the_last_payload(client: Client) {
    let draft = |text: &str| mail("ada", text).draft().unique(Unique::until_end().fields(["to"]));
    let quiet = Duration::from_millis(200);
    let put_one = |n: u32| put(&client, draft(&n.to_string()).debounce(quiet, None));
    let last = (0..5).map(put_one).collect::<Vec<_>>().pop();
    assert_eq!(count(&client, "default", State::Scheduled), 1);
    let company = Company::start(client, |worker| {
        worker.handle(async |mail: Mail| TaskResult::Ok(mail.text))
    });
    let text =
        oncue::block_on(async { last.expect("five").result::<String>().timeout(PATIENCE).await });
    assert_eq!(text.expect("it ran"), "4");
    // Due never later than so long after the first, however often it comes.
    let soon = draft("0").debounce(HOUR, Some(Duration::from_millis(50)));
    let (first, second) = (company.put(soon.clone()), company.put(soon));
    assert_eq!(second.enqueued(), Enqueued::Replaced(first.id()));
    company.settled(&second);
    assert_eq!(company.end().1.completed, 2);
}

fn people_move_tasks(client: Client) {
    let task = put(&client, Number(1).draft().after(HOUR));
    let state = |task: &Handle| show(&client, task).map(|view| (view.state, view.reason));
    assert_eq!(act(task.run_now()), Acted::Done);
    assert_eq!(state(&task), Some((State::Pending, None)));
    assert_eq!(act(task.run_now()), Acted::Not(State::Pending));
    assert_eq!(act(task.reschedule_after(HOUR)), Acted::Done);
    assert_eq!(state(&task), Some((State::Scheduled, None)));
    assert_eq!(act(task.reschedule_at(std::time::UNIX_EPOCH)), Acted::Done);
    assert_eq!(state(&task), Some((State::Pending, None)));
    assert_eq!(act(task.archive()), Acted::Done);
    assert_eq!(state(&task), Some((State::Archived, Some(Reason::Operator))));
    assert_eq!(act(task.run_now()), Acted::Done);
    let company = Company::start(client.clone(), |worker| {
        worker.handle(async |number: Number| TaskResult::Ok(number.0))
    });
    assert_eq!(company.settled(&task).0, Decision::Complete(Number::RETENTION));
    company.end();
    assert_eq!(act(task.archive()), Acted::Not(State::Completed));
    assert_eq!(act(task.delete()), Acted::Done);
    assert_eq!((act(task.delete()), state(&task)), (Acted::Missing, None));
}

fn a_payload_is_corrected_before_its_run(client: Client) {
    let header = mail("adda", "hi").draft().header("trace", "7").tag("greeting").after(HOUR);
    let task = put(&client, header);
    let correct = |mail: &mut Mail| mail.to = "ada".to_owned();
    assert_eq!(act(task.edit(correct)), Acted::Done);
    let wrong = oncue::block_on(task.edit(|number: &mut Number| number.0 = 1));
    assert!(wrong.expect_err("another kind").is_invalid());
    assert_eq!(act(task.run_now()), Acted::Done);
    let company = Company::start(client.clone(), |worker| {
        worker.handle(async |mail: Mail, context: TaskContext| {
            TaskResult::Ok((mail.to, context.header("trace").map(str::to_owned)))
        })
    });
    let result =
        oncue::block_on(async { task.result::<(String, String)>().timeout(PATIENCE).await });
    assert_eq!(result.expect("it ran"), ("ada".to_owned(), "7".to_owned()));
    company.end();
    let view = show(&client, &task).expect("kept");
    assert_eq!(view.stored.header().expect("a header").tags(), ["greeting"]);
    assert_eq!(act(task.edit(|_: &mut Mail| ())), Acted::Not(State::Completed));
}

fn priorities_and_the_front_go_first(client: Client) {
    for draft in [
        Number(3).draft(),
        Number(4).draft(),
        Number(2).draft().front(),
        Number(1).draft().priority(9),
    ] {
        put(&client, draft);
    }
    for bad in [Number(0).draft().priority(10), Number(0).draft().front().after(HOUR)] {
        assert!(oncue::block_on(client.enqueue(bad)).expect_err("refused").is_invalid());
    }
    let company = Company::start(client, |worker| {
        worker
            .handle(oncue::function(async |number: Number| TaskResult::Ok(number.0)).concurrency(1))
    });
    let order: Vec<u64> = (0..4)
        .map(|_| {
            let id = company.until(|event| match event {
                oncue::event::Event::Started { id, .. } => Some(*id),
                _ => None,
            });
            let handle = company.client.handle("default", id).expect("a handle");
            oncue::block_on(async { handle.result().timeout(PATIENCE).await }).expect("its number")
        })
        .collect();
    assert_eq!(order, [1, 2, 3, 4]);
    company.end();
}

fn a_full_queue_is_waited_for_or_spilled(client: Client) {
    let queue = QueueName::parse("default").expect("a name");
    oncue::block_on(client.broker().set(queue, Setting::Limit(Some(1)))).expect("limited");
    put(&client, Number(1));
    assert!(oncue::block_on(client.enqueue(Number(2))).expect_err("full").is_full());
    let spilled = put(&client, Number(3).draft().spill_to("others"));
    assert_eq!((spilled.queue().as_str(), spilled.is_created()), ("others", true));
    let many = (4..7).map(|number| Number(number).draft().spill_to("others"));
    let many = oncue::block_on(client.enqueue_all(many)).expect("spilled");
    assert!(many.iter().all(|task| task.queue().as_str() == "others"));
    let impatient = Number(8).draft().wait_if_full(Duration::from_millis(1));
    assert!(oncue::block_on(client.enqueue(impatient)).expect_err("still full").is_full());
    // Whoever waits is woken by the end of what is there.
    let waiting = client.clone();
    let waiting = std::thread::spawn(move || {
        oncue::block_on(waiting.enqueue(Number(9).draft().wait_if_full(PATIENCE))).expect("room")
    });
    let company = Company::start(client, |worker| {
        worker.handle(async |number: Number| TaskResult::Ok(number.0))
    });
    let task = waiting.join().expect("it waited");
    company.until(|event| match event {
        oncue::event::Event::Settled { id, .. } => (*id == task.id()).then_some(()),
        _ => None,
    });
    company.end();
}

fn a_retry_waits_as_its_class_says_and_may_go_first(client: Client) {
    let fail = async |number: Number, context: TaskContext| match (number.0, context.attempt()) {
        (1, 1) => Err(TaskError::new("slow down").class("busy")),
        (2, 1) | (3, 1) => Err(TaskError::new("other").class("other")),
        (number, _) => TaskResult::Ok(number),
    };
    let company = Company::start(client, |worker| {
        let handler = oncue::function(fail).concurrency(1).retry(RetryPolicy::fixed(HOUR));
        worker
            .handle(handler.retry_on("busy", RetryPolicy::fixed(Duration::from_millis(1)).front()))
    });
    let busy = company.put(Number(1));
    assert!(matches!(company.settled(&busy).0, Decision::Retry(wait) if wait < HOUR));
    assert!(matches!(company.settled(&busy).0, Decision::Complete(_)));
    assert_eq!(company.settled(&company.put(Number(2))).0, Decision::Retry(HOUR));
    let own = company.put(Number(3).draft().retry(RetryPolicy::fixed(2 * HOUR)));
    assert_eq!(company.settled(&own).0, Decision::Retry(2 * HOUR));
    company.end();
    for (class, policy) in [
        ("", RetryPolicy::DEFAULT),
        ("two words", RetryPolicy::DEFAULT),
        ("nan", RetryPolicy { factor: f64::NAN, ..RetryPolicy::DEFAULT }),
    ] {
        let worker = super::company::client().worker();
        let refused =
            oncue::block_on(worker.handle(oncue::function(fail).retry_on(class, policy)).start());
        assert!(refused.err().expect("refused").is_invalid(), "{class}");
    }
}
