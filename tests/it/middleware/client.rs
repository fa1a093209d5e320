//! Middleware of a client: headers before sealing, refusals, panics.

use std::sync::{Arc, Mutex};

use oncue::seal::HEADERS_MAX;
use oncue::task::RawTask;
use oncue::{Client, Draft, Error, Outgoing, Task};

use crate::runtime::company::*;

/// The sealed headers of a task, opened.
fn headers(client: &Client, task: &oncue::Handle) -> Vec<(String, String)> {
    let view = show(client, task).expect("kept");
    client.sealer().open_task(&view.stored).expect("opens").headers
}

fn put<T: Task>(client: &Client, draft: impl Into<Draft<T>>) -> oncue::Handle {
    oncue::block_on(client.enqueue(draft)).expect("enqueued")
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn is_empty(client: &Client) -> bool {
    oncue::block_on(client.broker().stats()).expect("stats").iter().all(|queue| queue.total() == 0)
}

#[test]
fn each_sees_what_those_before_it_did() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = seen.clone();
    let bare = client();
    let client = bare
        .with(|task| {
            task.header("tenant", "acme").header("trace", "1");
            Ok(())
        })
        .with(move |task| {
            let names: Vec<_> = task.headers().map(|(name, _)| name.to_owned()).collect();
            let told = &mut *told.lock().expect("not poisoned");
            told.push((task.kind().to_string(), task.queue().to_string(), names));
            task.header("trace", "2");
            Ok(())
        });
    let task = put(&client, Number(1).draft().header("own", "x").header("tenant", "mine"));
    let expected = pairs(&[("own", "x"), ("tenant", "acme"), ("trace", "2")]);
    assert_eq!(headers(&client, &task), expected);
    let raw = RawTask::json("number", "7").expect("a task");
    let raw = oncue::block_on(client.enqueue_raw(raw.draft().queue("aside"))).expect("enqueued");
    assert_eq!(headers(&client, &raw), expected[1..]);
    let all = oncue::block_on(client.enqueue_all([Other(1), Other(2)])).expect("enqueued");
    assert!(all.iter().all(|task| headers(&client, task) == expected[1..]));
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let at = |kind: &str, queue: &str, own: &[&str]| {
        (kind.to_owned(), queue.to_owned(), names(&[own, &["tenant", "trace"]].concat()))
    };
    let others = || at("other", "others", &[]);
    let expected =
        [at("number", "default", &["own"]), at("number", "aside", &[]), others(), others()];
    assert_eq!(*seen.lock().expect("not poisoned"), expected);
    assert_eq!(
        headers(&bare, &put(&bare, Number(1))),
        [],
        "the client it was made of is as before"
    );
}

#[test]
fn a_handler_finds_the_headers() {
    let client = client().with(|task| {
        task.header("tenant", "acme");
        Ok(())
    });
    let company = Company::start(client, |worker| {
        worker.handle(|_: Number, context: oncue::TaskContext| async move {
            oncue::TaskResult::Ok(context.header("tenant").map(str::to_owned))
        })
    });
    let task = company.put(Number(1));
    let found = oncue::block_on(async { task.result::<Option<String>>().timeout(PATIENCE).await });
    assert_eq!(found.expect("a result").as_deref(), Some("acme"));
}

#[test]
fn a_refusal_is_the_answer_and_nothing_is_stored() {
    let client = client().with(|task: &mut Outgoing<'_>| match task.queue().as_str() {
        "frozen" => Err(Error::denied("not this tenant")),
        _ => Ok(()),
    });
    let refused = oncue::block_on(client.enqueue(Number(1).draft().queue("frozen")));
    let error = refused.expect_err("refused");
    assert!(error.is_denied() && error.to_string() == "not this tenant", "{error}");
    let some = [Number(1).draft(), Number(2).draft().queue("frozen")];
    assert!(oncue::block_on(client.enqueue_all(some)).expect_err("refused").is_denied());
    // The queue it may spill to is looked at, too.
    let spills = Number(1).draft().spill_to("frozen");
    assert!(oncue::block_on(client.enqueue(spills)).expect_err("refused").is_denied());
    assert!(is_empty(&client));
    put(&client, Number(1));
    assert!(!is_empty(&client));
}

#[test]
fn a_panic_refuses_one_enqueue_and_no_more() {
    let client = client().with(|task| {
        assert!(task.kind().as_str() != "other", "the middleware broke");
        Ok(())
    });
    let error = oncue::block_on(client.enqueue(Other(1))).expect_err("refused");
    assert!(
        error.is_refused() && format!("{error:?}").contains("the middleware broke"),
        "{error:?}"
    );
    assert!(is_empty(&client));
    put(&client, Number(1));
}

#[test]
fn what_it_adds_is_bounded_and_never_printed() {
    let client = client().with(|task| {
        for number in 0..=HEADERS_MAX {
            task.header(format!("h{number}"), "secret");
        }
        let shown = format!("{task:?}");
        assert!(shown.contains("headers: 17") && !shown.contains("secret"), "{shown}");
        Ok(())
    });
    let error = oncue::block_on(client.enqueue(Number(1))).expect_err("too many");
    assert!(error.is_too_large(), "{error}");
    assert!(is_empty(&client));
}
