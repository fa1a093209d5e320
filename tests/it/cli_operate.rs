//! The commands by which operators act, from outside: on a worker in this process and a queue in a file.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use oncue::worker::Life;
use oncue::{Client, Task, TaskResult};
use serde_json::Value;

use crate::runtime::company::{Number, PATIENCE};

pub fn oncue(folder: &Path, args: &[&str]) -> (i32, Value, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oncue"));
    for name in ["ONCUE_KEY", "ONCUE_KEY_FILE", "RUST_LOG"] {
        command.env_remove(name);
    }
    let url = format!("sqlite:{}", folder.join("a.db").display());
    let output = command.env("ONCUE_BROKER", url).args(args).arg("--json").output().expect("runs");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let last = text(&output.stdout).lines().last().map(str::to_owned).unwrap_or_default();
    let told = serde_json::from_str(&last).unwrap_or(Value::Null);
    (output.status.code().expect("an exit code"), told, text(&output.stderr))
}

#[track_caller]
pub fn answer(folder: &Path, args: &[&str]) -> Value {
    let (code, told, stderr) = oncue(folder, args);
    assert_eq!(code, 0, "{args:?}: {stderr}");
    told
}

#[track_caller]
pub fn fails(folder: &Path, args: &[&str], exit: i32, word: &str) {
    let (code, _, stderr) = oncue(folder, args);
    assert_eq!(code, exit, "{args:?}: {stderr}");
    assert!(stderr.contains(word), "{word:?} is not in {stderr}");
}

fn client(folder: &Path) -> Client {
    let url = format!("sqlite:{}", folder.join("a.db").display());
    oncue::block_on(oncue::connect(&url)).expect("opens")
}

async fn forever(_: Number) -> TaskResult {
    std::future::pending().await
}

#[test]
fn a_queue_is_paused_limited_and_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let client = client(folder);
    let task = oncue::block_on(client.enqueue(Number(1))).expect("enqueued");
    assert_eq!(answer(folder, &["queue", "pause", "default"])["paused"], true);
    assert_eq!(answer(folder, &["queue", "list"])["queues"][0]["paused"], true);
    assert_eq!(answer(folder, &["queue", "resume", "default"])["paused"], false);
    assert_eq!(answer(folder, &["queue", "limit", "default", "--tasks", "1"])["limit"], 1);
    let error = oncue::block_on(client.enqueue(Number(2))).expect_err("full");
    assert!(error.is_full(), "{error:?}");
    let id = task.id().to_string();
    assert_eq!(answer(folder, &["task", "cancel", &id])["outcome"], "archived");
    oncue::block_on(client.enqueue(Number(2))).expect("there is room again");
    let told = answer(folder, &["queue", "limit", "default", "--tasks", "none"]);
    assert_eq!(told["limit"], Value::Null);
    fails(folder, &["task", "cancel", &id], 2, "archived");
    fails(folder, &["task", "cancel", "01937a5c-6e0a-7000-8000-000000000000"], 3, "no task");
    fails(folder, &["queue", "pause", "defualt"], 3, "did you mean");
    fails(folder, &["queue", "limit", "default", "--tasks", "many"], 2, "none");
    fails(folder, &["queue", "limit", "default"], 2, "--concurrency");
}

#[test]
fn what_a_queue_holds_runs_and_keeps_is_limited_and_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let client = client(folder);
    let group = oncue::Group::named("g").grace(Duration::from_secs(3_600));
    oncue::block_on(client.enqueue(Number(1).draft().group(group))).expect("enqueued");
    let enqueue = [
        "task",
        "enqueue",
        "--kind",
        "number",
        "--payload",
        "2",
        "--group",
        "g",
        "--group-most",
        "9",
    ];
    answer(folder, &enqueue);
    for wrong in [
        &["--group-most", "501"][..],
        &["--group-grace", "2years"],
        &["--front"],
        &["--group", "a b"],
    ] {
        let args = [&enqueue[..8], wrong].concat();
        let args = if wrong[0] == "--group" { [&enqueue[..6], wrong].concat() } else { args };
        fails(folder, &args, 2, "");
    }
    fails(folder, &[&enqueue[..6], &["--group-most", "9"]].concat(), 2, "--group");
    let set = [
        &["queue", "limit", "default", "--bytes", "1MiB", "--concurrency", "3"][..],
        &["--kind", "b=2", "--kind", "a=1", "--keep-completed", "7"],
        &["--keep-archived", "8", "--keep-archived-for", "90days"],
    ];
    let told = answer(folder, &set.concat());
    let limits = serde_json::json!({
        "bytes": 1 << 20, "concurrency": 3, "kinds": { "a": 1, "b": 2 }, "keep_completed": 7,
        "keep_archived": 8, "keep_archived_for_s": 90.0 * 86_400.0,
    });
    assert_eq!(told["limits"], limits);
    assert_eq!(told, answer(folder, &["queue", "show", "default"]));
    assert_eq!((&told["groups"][0]["name"], &told["aggregating"]), (&"g".into(), &2.into()));
    assert!(told["bytes"].as_u64().is_some_and(|bytes| bytes > 100), "{told}");
    for wrong in
        [&["--bytes", "1"][..], &["--kind", "a"], &["--kind", "A=1"], &["--keep-archived-for", "1"]]
    {
        fails(folder, &[&["queue", "limit", "default"], wrong].concat(), 2, "");
    }
    for endless in ["unlimited", "9999999999GiB"] {
        fails(folder, &["queue", "limit", "default", "--bytes", endless], 2, "\"none\\\"");
    }
    let none = [
        &["queue", "limit", "default", "--bytes", "none", "--concurrency", "none"][..],
        &[
            "--kind",
            "b=none",
            "--kind",
            "a=none",
            "--keep-completed",
            "none",
            "--keep-archived",
            "none",
        ],
    ];
    let told = answer(folder, &none.concat());
    assert_eq!((&told["bytes"], &told["limits"]["concurrency"]), (&Value::Null, &Value::Null));
    assert_eq!(told["limits"]["kinds"], serde_json::json!({}));
}

#[test]
fn a_worker_of_another_process_is_seen_told_and_stopped() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let client = client(folder);
    let build = client.worker().handle(forever).shutdown_timeout(Duration::from_millis(100));
    let worker = oncue::block_on(build.start()).expect("starts");
    let task = oncue::block_on(client.enqueue(Number(1))).expect("enqueued");
    let id = worker.id().to_string();
    let deadline = Instant::now() + PATIENCE;
    let row = loop {
        let told = answer(folder, &["worker", "list"]);
        if told["workers"][0]["running"] == 1 {
            break told["workers"][0].clone();
        }
        assert!(Instant::now() < deadline, "{told}");
    };
    assert_eq!((&row["worker"], &row["pid"]), (&id.clone().into(), &std::process::id().into()));
    let started = row["started"].as_str().expect("a time");
    assert!(humantime::parse_rfc3339(started).expect("RFC 3339") <= SystemTime::now());
    fails(folder, &["worker", "quiet", "nobody"], 3, "no worker");
    fails(folder, &["worker", "stop", ""], 2, "the id of the worker is empty");
    fails(folder, &["worker", "restart-handler", &id, "other"], 3, "number");
    assert_eq!(answer(folder, &["worker", "quiet", &id[..13]])["told"], "quiet");
    let cancelled = answer(folder, &["task", "cancel", &task.id().to_string()]);
    assert_eq!(cancelled["outcome"], "asked");
    let result = oncue::block_on(async { task.result::<()>().timeout(PATIENCE).await });
    assert!(result.expect_err("cancelled").to_string().contains("cancelled"));
    assert_eq!(worker.life(), Life::Quiet);
    assert_eq!(answer(folder, &["worker", "stop", &id])["told"], "stop");
    oncue::block_on(worker.run()).expect("ends by itself");
    assert_eq!(answer(folder, &["worker", "list"])["workers"], serde_json::json!([]));
}
