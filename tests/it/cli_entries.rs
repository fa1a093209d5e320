//! `oncue cron` on a timetable, from outside: a whole life of an entry, exit codes, and what is wrong with one.

use std::fs;

use oncue::TaskResult;
use oncue::queue::QueueName;
use oncue::timetable::Entry;
use serde_json::{Value, json};

use crate::cli_operate::{answer, fails, oncue};
use crate::runtime::company::Number;

async fn idle(_: Number) -> TaskResult {
    Ok(())
}

const ADD: [&str; 8] =
    ["cron", "add", "nightly", "30 2 * * *", "--kind", "report", "--payload", "{\"shop\":7}"];

#[test]
fn an_entry_is_added_edited_paused_run_and_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let more =
        ["--zone", "Europe/Berlin", "--missed", "all", "--overlap-runs", "skip", "--jitter", "5m"];
    let added =
        answer(folder, &[&ADD[..], &more, &["--max-retry", "3", "--tag", "money"]].concat());
    assert_eq!((&added["did"], &added["queue"]), (&json!("added"), &json!("default")));
    fails(folder, &ADD, 2, "oncue cron edit");
    let entry = || answer(folder, &["cron", "list"])["entries"][0].clone();
    let before = entry();
    for (field, value) in [
        ("entry", "nightly"),
        ("schedule", "30 2 * * *"),
        ("zone", "Europe/Berlin"),
        ("kind", "report"),
        ("missed", "all"),
        ("overlap_runs", "skip"),
        ("origin", "dynamic"),
    ] {
        assert_eq!(before[field], value, "{before}");
    }
    assert_eq!((&before["paused"], &before["fault"]), (&json!(false), &Value::Null));
    assert_eq!(before["next"], added["next"]);
    // Only what is given changes.
    answer(
        folder,
        &["cron", "edit", "nightly", "--schedule", "0 4 * * *", "--payload", "{\"shop\":8}"],
    );
    let after = entry();
    assert_eq!(
        (&after["schedule"], &after["zone"]),
        (&json!("0 4 * * *"), &json!("Europe/Berlin"))
    );
    assert_eq!((&after["missed"], &after["overlap_runs"]), (&json!("all"), &json!("skip")));

    assert_eq!(answer(folder, &["cron", "pause", "nightly"])["changed"], true);
    assert_eq!(answer(folder, &["cron", "pause", "nightly"])["changed"], false);
    assert_eq!((&entry()["paused"], &entry()["next"]), (&json!(true), &Value::Null));
    assert_eq!(answer(folder, &["cron", "resume", "nightly"])["paused"], false);

    let ran = answer(folder, &["cron", "run", "nightly"]);
    let again = answer(folder, &["cron", "run", "nightly"]);
    assert_eq!((&ran["created"], &again["created"]), (&json!(true), &json!(false)));
    assert_eq!(ran["id"], again["id"], "its task has not ended");
    let shown = answer(folder, &["task", "show", ran["id"].as_str().expect("an id"), "--reveal"]);
    let text = shown.to_string();
    assert!(text.contains("shop") && text.contains('8') && text.contains("money"), "{text}");
    assert_eq!(answer(folder, &["cron", "history", "nightly"])["ticks"], json!([]));

    assert_eq!(answer(folder, &["cron", "remove", "nightly"])["removed"], true);
    assert_eq!(answer(folder, &["cron", "list"]), json!({ "entries": [] }));
}

#[test]
fn what_is_not_there_or_wrong_is_told_by_its_exit_code() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    for verb in ["list", "pause", "remove"] {
        let name: &[&str] = if verb == "list" { &[] } else { &["x"] };
        let (code, _, _) = oncue(folder, &[&["cron", verb], name].concat());
        assert_ne!(code, 0, "{verb}: there is no database");
        assert_eq!(fs::read_dir(folder).expect("reads").count(), 0, "{verb} made one");
    }
    answer(folder, &ADD);
    for verb in ["pause", "resume", "run", "remove", "history", "edit"] {
        fails(folder, &["cron", verb, "nihgtly"], 3, "did you mean");
    }
    fn add<'a>(changed: &[&'a str]) -> Vec<&'a str> {
        [&["cron", "add"], changed, &["--kind", "k", "--payload", "1"]].concat()
    }
    fails(folder, &add(&["a", "0 0 1--100000000 * *"]), 2, "day of month");
    fails(folder, &add(&["a b", "@daily"]), 2, "visible ASCII");
    fails(folder, &add(&["a", "@daily", "--zone", "Europe/Berln"]), 2, "Europe/Berlin");
    fails(folder, &add(&["a", "@daily", "--priority", "10"]), 2, "priority");
    fails(folder, &["cron", "edit", "nightly", "--schedule", "never"], 2, "schedule");
    assert_eq!(answer(folder, &["cron", "list"])["entries"].as_array().expect("a list").len(), 1);
}

#[test]
fn a_faulty_entry_is_listed_with_its_fault_and_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    answer(folder, &ADD);
    let url = format!("sqlite:{}", folder.join("a.db").display());
    let client = oncue::block_on(oncue::connect(&url)).expect("opens");
    let queue = QueueName::parse("default").expect("a name");
    let write = client.broker().write_entry(queue, "bad".to_owned(), b"\0".to_vec(), 0);
    assert!(oncue::block_on(write).expect("written"));
    let entries = answer(folder, &["cron", "list"])["entries"].clone();
    assert_eq!((&entries[0]["entry"], &entries[0]["next"]), (&json!("bad"), &Value::Null));
    assert!(entries[0]["fault"].as_str().expect("a fault").starts_with("corrupt"), "{entries}");
    assert_eq!(entries[1]["fault"], Value::Null);
    fails(folder, &["cron", "run", "bad"], 1, "no entry");
    answer(folder, &["cron", "remove", "bad"]);
}

#[test]
fn a_change_that_a_worker_undoes_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    answer(folder, &ADD);
    let url = format!("sqlite:{}", folder.join("a.db").display());
    let client = oncue::block_on(oncue::connect(&url)).expect("opens");
    // Its worker starts and ends, which puts its entry.
    let start = || {
        let entry = Entry::new("hourly", "@hourly", Number(1)).expect("an entry");
        let worker = client.worker().handle(idle).cron(entry);
        let worker = oncue::block_on(worker.start()).expect("starts");
        oncue::block_on(worker.shutdown()).expect("ends");
    };
    let schedules = || {
        let entries = answer(folder, &["cron", "list"])["entries"].clone();
        let one = |entry: &Value| entry["schedule"].as_str().expect("a schedule").to_owned();
        entries.as_array().expect("a list").iter().map(one).collect::<Vec<_>>()
    };
    start();
    let edit = |name| answer(folder, &["cron", "edit", name, "--schedule", "@daily"]);
    assert_eq!(edit("hourly")["undone_at_start"], true);
    assert_eq!(edit("nightly")["undone_at_start"], false);
    assert_eq!(schedules(), ["@daily", "@daily"]);
    start();
    assert_eq!(schedules(), ["@hourly", "@daily"]);
    assert_eq!(answer(folder, &["cron", "remove", "hourly"])["undone_at_start"], true);
    start();
    assert_eq!(schedules(), ["@hourly", "@daily"]);
    assert_eq!(answer(folder, &["cron", "remove", "nightly"])["undone_at_start"], false);
}
