//! What runs leave beside their tasks: progress that is pushed, a log over all attempts, effects that are done once. And
//! payloads of several versions side by side.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt};
use oncue::outcome::Decision;
use oncue::state::State;
use oncue::task::Old;
use oncue::{Client, Data, Task, TaskContext, TaskError, TaskResult};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::company::*;
use super::proxy::Proxy;

on_both! {
    progress_is_pushed_until_the_end
    the_log_goes_through_all_attempts
    an_effect_is_done_once_over_all_attempts
    notes_are_of_one_task_and_bounded
}

fn progress_is_pushed_until_the_end(client: Client) {
    let gate = Arc::new(Semaphore::new(0));
    let company = Company::start(client, |worker| {
        worker
            .handle(async |number: Number, context: TaskContext, gate: Data<Arc<Semaphore>>| {
                for step in 0..number.0 {
                    context.progress(&step)?;
                    gate.acquire().await.expect("never closed").forget();
                }
                TaskResult::Ok(())
            })
            .data(gate.clone())
    });
    let task = company.put(Number(3));
    let seen: Vec<u64> = oncue::block_on(async {
        let watched = task.watch::<u64>().inspect(|step| {
            assert!(step.is_ok());
            gate.add_permits(1);
        });
        watched.map(|step| step.expect("a step")).collect().await
    });
    assert_eq!(seen, [0, 1, 2]);
    assert_eq!(oncue::block_on(task.progress::<u64>()).expect("kept"), Some(2));
    company.end();
}

fn the_log_goes_through_all_attempts(client: Client) {
    let company = Company::start(client, |worker| {
        worker.handle(async |_: Number, context: TaskContext| {
            context.log(format_args!("attempt {}\nand a second line", context.attempt()));
            if context.attempt() < 3 { Err(TaskError::new("again")) } else { Ok(()) }
        })
    });
    let task = company.put(Number(0));
    while !matches!(company.settled(&task).0, Decision::Complete(_)) {}
    let log = oncue::block_on(task.log()).expect("a log");
    let lines: Vec<_> = log.lines.iter().map(|line| (line.attempt, line.text.as_str())).collect();
    let expected = ["attempt 1", "attempt 2", "attempt 3"];
    for (attempt, text) in (1..).zip(expected) {
        let at = 2 * (attempt as usize - 1);
        assert_eq!(lines[at..at + 2], [(attempt, text), (attempt, "and a second line")]);
    }
    assert_eq!((lines.len(), log.dropped), (6, 0));
    company.end();
}

fn an_effect_is_done_once_over_all_attempts(client: Client) {
    let charged = Arc::new(AtomicU32::new(0));
    let company = Company::start(client, |worker| {
        worker
            .handle(async |number: Number, context: TaskContext, charged: Data<Arc<AtomicU32>>| {
                let charge = async |key: String| {
                    assert!(key.ends_with(":charge"));
                    TaskResult::Ok(charged.fetch_add(1, Ordering::Relaxed) + 1)
                };
                let receipt = context.once("charge", charge).await?;
                // One that fails is not done.
                let attempt = context.attempt();
                let send = async |_| {
                    if attempt < 3 {
                        Err(TaskError::new("no parcel"))
                    } else {
                        Ok("parcel".to_owned())
                    }
                };
                let parcel: String = context.once("send", send).await?;
                TaskResult::Ok((number.0, receipt, parcel))
            })
            .data(charged.clone())
    });
    for number in 1..=2 {
        let task = company.put(Number(number));
        let result =
            oncue::block_on(async { task.result::<(u64, u32, String)>().timeout(PATIENCE).await });
        assert_eq!(result.expect("third time"), (number, number as u32, "parcel".to_owned()));
    }
    assert_eq!(charged.load(Ordering::Relaxed), 2, "once for each task");
    company.end();
}

fn notes_are_of_one_task_and_bounded(client: Client) {
    let company = Company::start(client, |worker| {
        worker.handle(async |number: Number, context: TaskContext| {
            let long = "x".repeat(100_000);
            assert!(context.progress(&long).expect_err("long").is_too_large());
            let huge = context.once("huge", async |_| TaskResult::Ok(long.clone())).await;
            assert!(huge.is_err());
            let unnamed = context.once("", async |_| TaskResult::Ok(1)).await;
            assert!(unnamed.is_err());
            (0..200).for_each(|line| context.log(format_args!("{line} {long}")));
            if number.0 == 1 {
                context.progress(&"mine")?
            }
            TaskResult::Ok(())
        })
    });
    let (one, two) = (company.put(Number(1)), company.put(Number(2)));
    company.completed(2);
    let progress = |task: &oncue::Handle| oncue::block_on(task.progress::<String>()).expect("read");
    assert_eq!((progress(&one).as_deref(), progress(&two)), (Some("mine"), None));
    let log = oncue::block_on(one.log()).expect("a log");
    assert_eq!(log.lines.len() as u64 + log.dropped, 200);
    assert!(log.lines.last().expect("kept").text.starts_with("199 "));
    company.end();
}

#[test]
fn a_run_that_never_stops_telling_is_no_load() {
    const STEPS: u64 = 20_000;
    let (mut proxy, written) = (Proxy::of(broker()), Arc::new(AtomicU32::new(0)));
    let count = written.clone();
    proxy.note = Box::new(move |inner, (session, notes)| {
        count.fetch_add(1, Ordering::Relaxed);
        inner.note(session, notes)
    });
    let company = Company::start(client_of(Arc::new(proxy)), |worker| {
        worker.handle(async |_: Number, context: TaskContext| {
            let began = Instant::now();
            for step in 0..STEPS {
                context.progress(&step)?;
                context.log(step);
                tokio::task::yield_now().await;
            }
            TaskResult::Ok(began.elapsed())
        })
    });
    let task = company.put(Number(0));
    let ran = oncue::block_on(async { task.result::<Duration>().await }).expect("it ends");
    // Ten times a second, and once more when it ends: how far it is, and what it says.
    let most = 2 * (ran.as_millis() / 100 + 2);
    assert!(u128::from(written.load(Ordering::Relaxed)) <= most, "{written:?} writes in {ran:?}");
    assert_eq!(oncue::block_on(task.progress::<u64>()).expect("kept"), Some(STEPS - 1));
    let log = oncue::block_on(task.log()).expect("a log");
    assert_eq!(log.dropped + log.lines.len() as u64, STEPS);
    company.end();
}

/// Says that it was dropped, and what it was.
struct Last(&'static str, Sender<&'static str>);

impl Drop for Last {
    fn drop(&mut self) {
        let _ = self.1.send(self.0);
    }
}

#[test]
fn a_run_that_is_cut_waits_for_no_note() {
    let (mut proxy, (tell, told), gate) =
        (Proxy::of(broker()), channel(), Arc::new(Semaphore::new(0)));
    let (note, held) = (tell.clone(), gate.clone());
    proxy.note = Box::new(move |inner, (session, notes)| {
        let (last, held, inner) = (Last("note", note.clone()), held.clone(), inner.clone());
        async move {
            let _last = last;
            let _ = held.acquire().await;
            inner.note(session, notes).await
        }
        .boxed()
    });
    let company = Company::start(client_of(Arc::new(proxy)), |worker| {
        worker.handle(move |_: Number, context: TaskContext| {
            let last = Last("run", tell.clone());
            async move {
                let _last = last;
                context.progress(&1)?;
                std::future::pending::<TaskResult>().await
            }
        })
    });
    let task = company.put(Number(0).draft().timeout(Duration::from_millis(50)).max_retry(0));
    assert_eq!(told.recv_timeout(PATIENCE).expect("one ends"), "run");
    gate.close();
    assert_eq!(company.settled(&task).1.as_deref(), Some("timeout"));
    company.end();
}

/// A letter as it was, and as it is.
#[derive(Serialize, Deserialize)]
struct LetterV1 {
    to: String,
}

#[derive(Serialize, Deserialize)]
struct LetterV2 {
    to: Vec<String>,
}

impl Task for LetterV1 {
    const KIND: &'static str = "letter";
    const RETENTION: Duration = Duration::from_secs(600);
}

impl Task for LetterV2 {
    const KIND: &'static str = "letter";
    const RETENTION: Duration = Duration::from_secs(600);
    const VERSION: u16 = 2;

    fn upcast(old: Old<'_>) -> oncue::Result<Self> {
        Ok(Self { to: vec![old.decode::<LetterV1>()?.to] })
    }
}

#[test]
fn old_and_new_workers_live_side_by_side() {
    let client = client();
    let old = Company::start(client.clone(), |worker| {
        worker.handle(async |letter: LetterV1| TaskResult::Ok(letter.to))
    });
    let newer = old.put(LetterV2 { to: vec!["ada".to_owned(), "bob".to_owned()] });
    // Not for this worker: it is put off, and nothing is counted.
    assert!(matches!(old.settled(&newer).0, Decision::Snooze(_)));
    let view = show(&client, &newer).expect("there");
    assert_eq!((view.state, view.trail.attempts), (State::Scheduled, 0));
    old.end();
    let older = oncue::block_on(client.enqueue(LetterV1 { to: "cyd".to_owned() })).expect("old");
    let new = Company::start(client.clone(), |worker| {
        worker.handle(async |letter: LetterV2| TaskResult::Ok(letter.to.len()))
    });
    assert!(matches!(new.settled(&older).0, Decision::Complete(_)));
    oncue::block_on(newer.run_now()).expect("now");
    assert!(matches!(new.settled(&newer).0, Decision::Complete(_)));
    let lengths = oncue::block_on(async {
        (older.result::<usize>().await.expect("one"), newer.result::<usize>().await.expect("two"))
    });
    assert_eq!(lengths, (1, 2));
    new.end();
}
