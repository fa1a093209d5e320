//! The binary from outside: what it prints, where, and with which exit code.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A run of the binary in a folder of its own, with nothing of ours in its environment.
fn oncue(folder: &Path, args: &[&str]) -> Output {
    command(folder).args(args).output().expect("runs")
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oncue"));
    command.current_dir(folder).stdin(Stdio::null());
    for name in ["ONCUE_BROKER", "ONCUE_KEY", "ONCUE_KEY_FILE", "RUST_LOG"] {
        command.env_remove(name);
    }
    command
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("folder")
}

/// The JSON on the last line of standard output of a run that exited with 0.
#[track_caller]
fn answer(output: &Output) -> Value {
    let (stdout, stderr) = texts(output);
    assert_eq!(output.status.code(), Some(0), "{stdout}{stderr}");
    serde_json::from_str(stdout.lines().last().expect("a line")).expect("JSON")
}

#[track_caller]
fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(!stderr.contains("panicked"), "{stderr}");
    (stdout, stderr)
}

/// Runs it twice: exit code and words for people, then the same as JSON with this error code.
#[track_caller]
fn fails(folder: &Path, args: &[&str], exit: i32, code: &str, words: &[&str]) {
    let output = oncue(folder, args);
    let (stdout, stderr) = texts(&output);
    assert_eq!((output.status.code(), stdout.as_str()), (Some(exit), ""), "{args:?}: {stderr}");
    for word in words {
        assert!(stderr.contains(word), "{word:?} is not in {stderr}");
    }
    let output = oncue(folder, &[args, &["--json"]].concat());
    let (_, stderr) = texts(&output);
    assert_eq!(output.status.code(), Some(exit), "{stderr}");
    // What was logged on the way stands before it.
    let told: Value = serde_json::from_str(stderr.lines().last().expect("a line")).expect("JSON");
    assert_eq!(told["error"]["code"], code, "{told}");
    assert!(told["error"]["message"].is_string() && told["error"]["causes"].is_array(), "{told}");
}

#[test]
fn the_demo_digests_a_tree_and_loses_nothing() {
    let folder = folder();
    let tree = folder.path().join("tree");
    fs::create_dir_all(tree.join("sub")).expect("folders");
    fs::create_dir_all(tree.join("target")).expect("folders");
    let tag = "Signature: 8a477f597d28d172789f06886806bc55\n";
    for (name, text) in [
        ("a.txt", "one\ntwo\n"),
        ("sub/b.txt", "three"),
        (".hidden", "no\n"),
        ("target/CACHEDIR.TAG", tag),
        ("target/c.o", "no\n"),
    ] {
        fs::write(tree.join(name), text).expect("file");
    }
    fs::write(tree.join(OsStr::from_bytes(b"not\xffutf8")), "x\n").expect("file");
    let told = answer(&oncue(folder.path(), &["demo", "--dir", "tree", "--json"]));
    for field in [
        "enqueued",
        "completed",
        "retried",
        "restarts",
        "archived",
        "lost",
        "pickup_p50_us",
        "pickup_p99_us",
        "tasks_per_s",
    ] {
        assert!(told[field].is_number(), "{field}: {told}");
    }
    assert_eq!((&told["lost"], &told["archived"]), (&0.into(), &0.into()), "{told}");
    assert_eq!((&told["retried"], &told["restarts"]), (&3.into(), &1.into()), "{told}");
    assert_eq!(told["completed"], told["enqueued"], "{told}");
    let report = &told["report"];
    let facts = (&report["files"], &report["bytes"], &report["lines"]);
    assert_eq!(facts, (&3.into(), &15.into(), &4.into()), "{told}");
    let left: Vec<_> = fs::read_dir(folder.path()).expect("folder").collect();
    assert_eq!(left.len(), 1, "only the tree: {left:?}");
}

#[test]
fn a_level_that_is_none_is_refused() {
    let folder = folder();
    let run = |levels: &str| {
        let command = &mut command(folder.path());
        let output = command
            .args(["cron", "preview", "@daily"])
            .env("RUST_LOG", levels)
            .output()
            .expect("runs");
        (output.status.code(), texts(&output).1)
    };
    let (code, stderr) = run("oncue=loud");
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("RUST_LOG") && stderr.contains("info,oncue=debug"), "{stderr}");
    assert_eq!(run("info,oncue=debug").0, Some(0));
}

#[test]
fn the_demo_keeps_its_file_and_replaces_only_its_own() {
    let folder = folder();
    fs::create_dir(folder.path().join("empty")).expect("folder");
    let demo = ["demo", "--dir", "empty", "--keep"];
    // Without a terminal the answer is JSON unasked.
    let told = answer(&oncue(folder.path(), &demo));
    assert_eq!((&told["lost"], &told["kept"]), (&0.into(), &"oncue-demo.db".into()), "{told}");
    let broker = ["--broker", "sqlite:oncue-demo.db", "--json"];
    let list = ["task", "list", "--queue", "oncue-demo", "--state", "completed", "--limit", "1000"];
    let told = answer(&oncue(folder.path(), &[&list[..], &broker].concat()));
    let kinds: Vec<_> = told["tasks"].as_array().expect("rows").iter().collect();
    let report = kinds.iter().find(|task| task["kind"] == "tree:report").expect("the report");
    let id = report["id"].as_str().expect("id");
    let told =
        answer(&oncue(folder.path(), &[&["task", "show", id, "--reveal"][..], &broker].concat()));
    assert_eq!(told["revealed"]["result"]["files"], 0, "{told}");

    answer(&oncue(folder.path(), &["demo", "--dir", "empty"]));
    assert!(!folder.path().join("oncue-demo.db").exists());
    assert!(!folder.path().join("oncue-demo.db.key").exists());
    let words = ["was not made by a demo", "--db"];
    for (name, text) in [("text.db", "no database"), ("empty.db", "")] {
        fs::write(folder.path().join(name), text).expect("file");
        fails(folder.path(), &["demo", "--dir", "empty", "--db", name], 5, "refused", &words);
        assert_eq!(fs::read_to_string(folder.path().join(name)).expect("reads"), text);
    }
}

#[test]
fn a_file_that_is_gone_or_closed_is_archived_and_not_lost() {
    let folder = folder();
    let tree = folder.path().join("tree");
    fs::create_dir(&tree).expect("folder");
    let closed = tree.join("closed");
    fs::write(&closed, "x").expect("file");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).expect("chmod");
    // Who is root reads it all the same.
    let unreadable = u64::from(fs::File::open(&closed).is_err());
    let told = answer(&oncue(folder.path(), &["demo", "--dir", "tree", "--json"]));
    assert_eq!((&told["archived"], &told["lost"]), (&unreadable.into(), &0.into()), "{told}");
}

#[test]
fn an_interrupted_demo_hands_its_tasks_back() {
    let folder = folder();
    let path = folder.path();
    fs::create_dir(path.join("tree")).expect("folder");
    for name in 0..2_000 {
        fs::write(path.join("tree").join(name.to_string()), "x").expect("file");
    }
    let demo = ["demo", "--dir", "tree", "--keep", "--concurrency", "1"];
    let child = command(path).args(demo).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("runs");
    let list = ["queue", "list", "--broker", "sqlite:oncue-demo.db", "--json"];
    // Once something was done, signals are listened for.
    while {
        assert!(child.try_wait().expect("waits").is_none(), "the demo ended by itself");
        let output = oncue(path, &list);
        let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        told["queues"][0]["completed_ever"].as_u64().unwrap_or(0) == 0
    } {}
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::INT).expect("signalled");
    let output = child.wait_with_output().expect("ends");
    let (stdout, stderr) = texts(&output);
    assert_eq!(output.status.code(), Some(130), "{stdout}{stderr}");
    let told: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!((&told["interrupted"], &told["lost"]), (&true.into(), &0.into()), "{told}");
    let queue = &answer(&oncue(path, &list))["queues"][0];
    assert_eq!((&queue["active"], &queue["failed_ever"]), (&0.into(), &told["retried"]), "{queue}");
    let left = ["pending", "scheduled", "retry"].map(|state| queue[state].as_u64().expect(state));
    assert_eq!(told["unfinished"], left.iter().sum::<u64>(), "{told} {queue}");
}

#[test]
fn a_bench_names_every_figure_and_leaves_nothing_behind() {
    let folder = folder();
    // So many and so large that they do not fit into one batch.
    let size = ["--tasks", "900", "--payload", "5000", "--json"];
    let told = answer(&oncue(folder.path(), &[&["bench"], &size[..]].concat()));
    for field in [
        "enqueue_single_per_s",
        "enqueue_bulk_per_s",
        "drain_per_s",
        "pickup_p50_us",
        "pickup_p99_us",
        "worker_cpu_us_per_task",
        "bytes_per_pending_task",
        "lost",
        "duplicates",
    ] {
        assert!(told[field].is_number(), "{field}: {told}");
    }
    assert_eq!((&told["lost"], &told["duplicates"]), (&0.into(), &0.into()), "{told}");
    assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 0);
    let enqueue = ["task", "enqueue", "--kind", "k", "--payload", "1", "--queue", "oncue-bench"];
    answer(&oncue(folder.path(), &[&enqueue[..], &["--json"]].concat()));
    fails(folder.path(), &["bench", "--broker", "sqlite:oncue.db"], 5, "refused", &["--yes"]);
}

#[test]
fn a_task_is_enqueued_listed_shown_and_revealed() {
    let folder = folder();
    let path = folder.path();
    fs::write(path.join("payload.json"), r#"{"to":"Canary"}"#).expect("file");
    let enqueue = ["task", "enqueue", "--kind", "email:send", "--payload", "@payload.json"];
    let more = ["--key", "order 7", "--header", "trace=abc=d", "--in", "1h", "--json"];
    let told = answer(&oncue(path, &[&enqueue[..], &more].concat()));
    assert_eq!(told["created"], true, "{told}");
    let id = told["id"].as_str().expect("id").to_owned();
    let again = answer(&oncue(path, &[&enqueue[..], &more].concat()));
    assert_eq!((&again["created"], &again["id"]), (&false.into(), &told["id"]), "{again}");
    assert_eq!(
        fs::metadata(path.join("oncue.db.key")).expect("key").permissions().mode() & 0o777,
        0o600
    );

    let told = answer(&oncue(path, &["queue", "list", "--json"]));
    assert_eq!(told["queues"][0]["scheduled"], 1, "{told}");
    let list = ["task", "list", "--queue", "default", "--state", "scheduled", "--json"];
    let told = answer(&oncue(path, &list));
    assert_eq!(
        (&told["tasks"][0]["id"], &told["tasks"][0]["kind"]),
        (&id.clone().into(), &"email:send".into())
    );
    let shown = oncue(path, &["task", "show", &id]);
    let (stdout, _) = texts(&shown);
    assert!(stdout.contains("email:send") && !stdout.contains("Canary"), "{stdout}");
    let told = answer(&oncue(path, &["task", "show", &id, "--reveal", "--json"]));
    assert_eq!(told["revealed"]["payload"]["to"], "Canary", "{told}");
    assert_eq!(told["revealed"]["headers"]["trace"], "abc=d", "{told}");

    // Of headers with one name all are shown, in their order: a handler sees the first.
    let twice = ["--header", "trace=z", "--header", "a=1", "--header", "trace=b", "--json"];
    let other = answer(&oncue(path, &[&enqueue[..], &twice].concat()));
    let other = other["id"].as_str().expect("id");
    let told = answer(&oncue(path, &["task", "show", other, "--reveal", "--json"]));
    assert_eq!(told["revealed"]["headers"], json!({ "a": "1", "trace": ["z", "b"] }));
    let (stdout, _) = texts(&oncue(path, &["task", "show", other, "--reveal"]));
    let place = |text| stdout.find(text).unwrap_or_else(|| panic!("no {text}: {stdout}"));
    assert!(place("trace: z") < place("a: 1") && place("a: 1") < place("trace: b"), "{stdout}");
    answer(&oncue(path, &["task", "delete", other, "--json"]));

    // Looking needs no key, opening does.
    fs::rename(path.join("oncue.db.key"), path.join("elsewhere")).expect("renamed");
    assert_eq!(answer(&oncue(path, &list))["tasks"][0]["id"], id.as_str());
    fails(path, &["task", "show", &id, "--reveal"], 1, "key", &["ONCUE_KEY"]);
}

#[test]
fn what_is_wrong_is_named_and_has_its_exit_code() {
    let folder = folder();
    let path = folder.path();
    let enqueue = ["task", "enqueue", "--kind", "k", "--payload"];
    answer(&oncue(path, &[&enqueue[..], &["1", "--queue", "mail", "--json"]].concat()));
    let list = |queue, state| ["task", "list", "--queue", queue, "--state", state];
    fails(path, &["queue", "lst"], 2, "usage", &["list"]);
    fails(path, &["demo", "--keeep"], 2, "usage", &["--keep"]);
    fails(path, &list("mail", "pendng"), 2, "invalid", &["did you mean \"pending\"?"]);
    fails(path, &list("mial", "pending"), 3, "not_found", &["did you mean \"mail\"?"]);
    fails(path, &list("Mail", "pending"), 2, "invalid", &["queue name"]);
    fails(
        path,
        &[&list("mail", "pending")[..], &["--limit", "0"]].concat(),
        2,
        "invalid",
        &["1000"],
    );
    fails(
        path,
        &[&list("mail", "pending")[..], &["--cursor", "x"]].concat(),
        2,
        "invalid",
        &["cursor"],
    );
    fails(path, &[&enqueue[..], &["{"]].concat(), 2, "invalid", &["not JSON"]);
    fails(path, &[&enqueue[..], &["1", "--queue", "A"]].concat(), 2, "invalid", &["queue name"]);
    fails(path, &[&enqueue[..], &["1", "--in", "soon"]].concat(), 2, "usage", &["soon"]);
    fails(path, &[&enqueue[..], &["@missing.json"]].concat(), 2, "invalid", &["missing.json"]);
    let large = format!("@{}", path.join("large").display());
    fs::write(path.join("large"), format!("\"{}\"", "x".repeat(256 * 1024))).expect("file");
    fails(path, &[&enqueue[..], &[&large]].concat(), 2, "too_large", &["262144"]);
    // Over the limit, with a character that stands across it; and within it, but no text.
    fs::write(path.join("large"), format!("{}ü", "x".repeat(256 * 1024))).expect("file");
    fails(path, &[&enqueue[..], &[&large]].concat(), 2, "too_large", &["262144"]);
    fs::write(path.join("large"), b"\"\xFF\"").expect("file");
    fails(path, &[&enqueue[..], &[&large]].concat(), 2, "invalid", &["cannot read", "utf-8"]);
    fails(path, &["task", "show", "7"], 2, "invalid", &["UUID"]);
    let nobody = "01937a5c-6e0a-7000-8000-000000000000";
    fails(path, &["task", "show", nobody], 3, "not_found", &[nobody]);
    fails(path, &["demo", "--dir", "nowhere"], 3, "not_found", &["nowhere"]);
    fails(path, &["demo", "--broker", "sqlite:x"], 2, "invalid", &["--db"]);
    fails(path, &["demo", "--concurrency", "0"], 2, "invalid", &["concurrency 0"]);
    fails(path, &["bench", "--tasks", "0"], 2, "invalid", &["0 tasks"]);
    let huge = usize::MAX.to_string();
    for bytes in ["262145", &huge] {
        fails(path, &["bench", "--payload", bytes], 2, "too_large", &["262144", bytes]);
    }
    let broker = |url| ["queue", "list", "--broker", url];
    fails(path, &broker("sqlit:x.db"), 2, "invalid", &["did you mean \"sqlite\"?"]);
    fails(
        path,
        &broker("sqlite:x.db?durabilty=full"),
        2,
        "invalid",
        &["did you mean \"durability\"?"],
    );
    fails(
        path,
        &broker("redis://localhost?timout=1s"),
        2,
        "invalid",
        &["did you mean \"timeout\"?"],
    );
    let nobody = broker("redis://127.0.0.1:1?timeout=50ms");
    fails(path, &nobody, 4, "unreachable", &["127.0.0.1:1"]);
    fails(path, &broker("sqlite:typo.db"), 3, "not_found", &["typo.db"]);
    let entries =
        fs::read_dir(path).expect("folder").map(|entry| entry.expect("entry").file_name());
    let names = entries.map(|name| name.into_string().expect("UTF-8"));
    // SQLite's own files may stay beside a database that was used.
    let mut left: Vec<_> = names.filter(|name| !name.contains(".db-")).collect();
    left.sort();
    assert_eq!(
        left,
        ["large", "oncue.db", "oncue.db.key"],
        "nothing was made by looking or failing"
    );
}

#[test]
fn a_foreign_or_damaged_file_is_an_error_and_no_panic() {
    let folder = folder();
    let path = folder.path();
    fs::write(path.join("text.db"), "this is no database ".repeat(100)).expect("file");
    let enqueue = ["task", "enqueue", "--kind", "k", "--payload", "1", "--broker"];
    fails(path, &["queue", "list", "--broker", "sqlite:text.db"], 1, "corrupt", &["text.db"]);
    fails(path, &[&enqueue[..], &["sqlite:text.db"]].concat(), 1, "key", &["text.db"]);
    let bytes = [&b"SQLite format 3\0"[..], &[0xA5; 8192]].concat();
    fs::write(path.join("hurt.db"), &bytes).expect("written");
    fails(path, &["queue", "list", "--broker", "sqlite:hurt.db"], 1, "corrupt", &["hurt.db"]);
    assert_eq!(fs::read(path.join("hurt.db")).expect("reads"), bytes, "left as it was");
}

#[test]
fn keys_are_made_private_and_checked_unseen() {
    let folder = folder();
    let path = folder.path();
    fails(path, &["key", "check"], 1, "key", &["ONCUE_KEY"]);
    let told = answer(&oncue(path, &["key", "generate", "--out", "my.key", "--json"]));
    assert_eq!(told["keys"][0]["state"], "active", "{told}");
    assert_eq!(fs::metadata(path.join("my.key")).expect("key").permissions().mode() & 0o777, 0o600);
    fails(path, &["key", "generate", "--out", "my.key"], 5, "refused", &["my.key"]);
    let text = fs::read_to_string(path.join("my.key")).expect("reads");
    let check = |more: &[&str]| {
        let output =
            command(path).args(["key", "check"]).args(more).env("ONCUE_KEY", &text).output();
        let output = output.expect("runs");
        let (stdout, stderr) = texts(&output);
        for secret in text.lines().filter_map(|line| line.rsplit(':').next()) {
            assert!(!format!("{stdout}{stderr}").contains(&secret[..8]), "{stdout}{stderr}");
        }
        output
    };
    assert_eq!(answer(&check(&["--json"]))["keys"].as_array().map(Vec::len), Some(2));
    let (stdout, _) = texts(&check(&[]));
    assert!(stdout.contains("active") && stdout.contains("index"), "{stdout}");

    let broker = ["--broker", "sqlite:a.db", "--json"];
    answer(&oncue(
        path,
        &[&["task", "enqueue", "--kind", "k", "--payload", "1"][..], &broker].concat(),
    ));
    let output = check(&broker);
    let (_, stderr) = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("\"wrong_key\""), "{stderr}");
    answer(&oncue(path, &[&["key", "check"][..], &broker].concat()));

    let printed = oncue(path, &["key", "generate"]);
    let (stdout, _) = texts(&printed);
    assert!(stdout.starts_with("active:1:") && stdout.contains("index:1:"));
}

#[test]
fn help_lists_exit_codes_and_a_reader_may_leave() {
    let folder = folder();
    let (help, _) = texts(&oncue(folder.path(), &["--help"]));
    for words in ["Exit codes", "130  interrupted", "Examples", "ONCUE_BROKER"] {
        assert!(help.contains(words), "{words}: {help}");
    }
    // A pipe whose reader is gone before anything is written.
    let (reader, writer) = std::io::pipe().expect("pipe");
    drop(reader);
    let output = command(folder.path())
        .args(["key", "generate"])
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .expect("runs");
    let (_, stderr) = texts(&output);
    assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""));
}
