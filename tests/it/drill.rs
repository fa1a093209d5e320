//! `oncue drill` from outside: nothing is lost under it, nothing is left of it, and bad input is told.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;

/// Longest the drill may take to start its processes, and they to be gone.
const PATIENCE: Duration = Duration::from_secs(60);
/// The processes of a drill with three workers.
const PROCESSES: usize = 6;

/// A drill that keeps its things in this folder.
fn drill(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oncue"));
    command.current_dir(folder).stdin(Stdio::null()).env("TMPDIR", folder).arg("drill").args(args);
    for name in ["ONCUE_BROKER", "ONCUE_KEY", "ONCUE_KEY_FILE", "RUST_LOG"] {
        command.env_remove(name);
    }
    command
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Fails unless the drill found nothing it must not find.
#[track_caller]
fn is_sound(output: &Output, tasks: u64) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    let last = stdout.lines().last().unwrap_or_else(|| panic!("{stderr}"));
    let told: Value = serde_json::from_str(last).expect("JSON");
    for field in ["lost", "phantom", "overlaps_unexplained"] {
        assert_eq!(told[field], 0, "{field}: {told}");
    }
    let number = |field: &str| told[field].as_u64().unwrap_or_else(|| panic!("{field}: {told}"));
    assert_eq!(number("tasks"), tasks, "{told}");
    assert_eq!(number("completed") + number("archived"), tasks, "{told}");
    assert!(number("kills") > 0 && number("restarts") >= number("kills"), "{told}");
    assert!(number("poisons") > 0, "{told}");
    assert_eq!(number("poisoned"), number("poisons"), "{told}");
    assert_eq!((number("faults_found"), number("archived_for_company")), (0, 0), "{told}");
    for field in ["duplicates", "quarantines", "stuck_arbiters", "late_settles_refused", "seed"] {
        number(field);
    }
    assert!(told["other_p99_ratio"].as_f64().is_some_and(|ratio| ratio > 0.0), "{told}");
    assert_eq!(output.status.code(), Some(0), "{told}");
    told
}

#[test]
fn on_sqlite_nothing_is_lost_and_nothing_left() {
    let folder = folder();
    let args = ["--minutes", "0.12", "--tasks", "400", "--seed", "7", "--json"];
    let told = is_sound(&drill(folder.path(), &args).output().expect("runs"), 400);
    assert_eq!(told["seed"], 7);
    let left = std::fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(left == 0, told["evidence"].is_null(), "{told}");
}

#[cfg(feature = "redis")]
#[test]
fn on_redis_nothing_is_lost_and_other_queues_are_left_alone() {
    let (folder, server) = (folder(), crate::redis_servers::server::Server::start());
    let (url, key) = (server.url(), folder.path().join("keys"));
    let keyring = oncue::seal::Keyring::generate().expect("keys");
    oncue::seal::FileKeys::create(&key, &keyring).expect("written");
    let run = |args: &[&str]| {
        let mut command = drill(folder.path(), args);
        command.env("ONCUE_KEY_FILE", &key).env("ONCUE_BROKER", &url);
        command.output().expect("runs")
    };
    let drill = ["--minutes", "0.12", "--tasks", "400", "--seed", "255", "--json"];
    is_sound(&run(&drill), 400);
    // The same seed has the same queues: what is in them stays.
    let again = run(&drill);
    let told = String::from_utf8_lossy(&again.stderr);
    assert_eq!(again.status.code(), Some(5), "{told}");
    assert!(told.contains("queue drill-ff exists") && told.contains("--seed"), "{told}");
    // No text: lines are named by the bytes of their kind.
    let keys: Vec<Vec<u8>> = server.ask(&["KEYS", "oncue:{default/*"]);
    let is_own = |key: &Vec<u8>| key.starts_with(b"oncue:{default/drill-ff");
    assert!(!keys.is_empty() && keys.iter().all(is_own), "{keys:?}");
}

/// The drill leaves its broker alone; here somebody does not. The server appends each write before it answers.
#[cfg(feature = "redis")]
#[test]
fn on_a_redis_that_is_killed_nothing_is_lost() {
    const KILLS: usize = 4;
    /// What the server is asked between two kills: some hundred transitions.
    const REQUESTS: u64 = 300;
    let folder = folder();
    let mut server = crate::redis_servers::setup::Setup::default().aof().start();
    let key = folder.path().join("keys");
    let keyring = oncue::seal::Keyring::generate().expect("keys");
    oncue::seal::FileKeys::create(&key, &keyring).expect("written");
    let args = ["--minutes", "0.15", "--tasks", "400", "--seed", "31", "--json"];
    let mut command = drill(folder.path(), &args);
    command.env("ONCUE_KEY_FILE", &key).env("ONCUE_BROKER", server.url());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    // Once the faults begin there is a queue of that name.
    let queue = ["KEYS", "oncue:{default/drill-1f}*"];
    until(|| Some(()).filter(|()| !server.ask::<Vec<Vec<u8>>>(&queue).is_empty()));
    for _ in 0..KILLS {
        let asked = |server: &crate::redis_servers::server::Server| {
            let told = server.info("total_commands_processed").expect("told");
            told.parse::<u64>().expect("a number")
        };
        let before = asked(&server);
        until(|| Some(()).filter(|()| asked(&server) > before + REQUESTS));
        server.kill9();
        server.restart();
    }
    is_sound(&child.wait_with_output().expect("ends"), 400);
}

#[test]
fn bad_input_is_told() {
    let folder = folder();
    let key = folder.path().join("keys");
    let keyring = oncue::seal::Keyring::generate().expect("keys");
    oncue::seal::FileKeys::create(&key, &keyring).expect("written");
    for (args, exit, words) in [
        (&["--minutes", "0"][..], 2, "--minutes 0; use 0.05"),
        (&["--minutes", "NaN"], 2, "--minutes NaN"),
        (&["--tasks", "0"], 2, "--tasks 0; use 1"),
        (&["--workers", "0"], 2, "--workers 0; use 1"),
        (&["--seed", "9007199254740992"], 2, "--seed 9007199254740992; use 0"),
        (&["--broker", "sqlite:none.db"], 3, "there is no file"),
        (&["--broker", "sqlite::memory:"], 2, "name a file"),
        (&["--broker", "unix:///none.sock"], 4, "no connection"),
        (&["--child"], 2, "leave it out"),
    ] {
        let mut command = drill(folder.path(), args);
        let output = command.env("ONCUE_KEY_FILE", &key).output().expect("runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{args:?}: {told}");
        assert!(told.contains(words), "{words:?} is not in {told}");
    }
    let left = std::fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(left, 1, "only the key");
}

/// A drill in the middle of it, and its processes.
fn under_way(folder: &Path) -> (Child, Vec<Pid>) {
    let mut command = drill(folder, &["--minutes", "10", "--seed", "7"]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
    let path = format!("/proc/{0}/task/{0}/children", child.id());
    let children = || {
        let text = std::fs::read_to_string(&path).expect("the drill lives");
        let pids = text.split_whitespace().filter_map(|pid| pid.parse().ok());
        pids.filter_map(Pid::from_raw).collect::<Vec<_>>()
    };
    let children = until(|| Some(children()).filter(|pids| pids.len() == PROCESSES));
    (child, children)
}

/// Asks until there is an answer; nobody tells of it.
#[track_caller]
fn until<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether a process is there that can still do something.
fn lives(pid: &Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid()));
    let state = stat.ok().and_then(|stat| Some(stat.rsplit(')').next()?.trim_start().to_owned()));
    state.is_some_and(|state| !state.starts_with(['Z', 'X']))
}

#[test]
fn an_interrupted_drill_leaves_no_process_and_no_file() {
    let folder = folder();
    let (mut child, processes) = under_way(folder.path());
    rustix::process::kill_process(Pid::from_child(&child), Signal::INT).expect("signalled");
    assert_eq!(child.wait().expect("ends").code(), Some(130));
    assert!(!processes.iter().any(lives));
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
}

#[test]
fn the_processes_of_a_drill_that_was_killed_end() {
    let folder = folder();
    let (mut child, processes) = under_way(folder.path());
    // It kills some itself, at any time.
    assert!(processes.iter().any(lives), "they live as long as it does");
    child.kill().expect("killed");
    child.wait().expect("reaped");
    until(|| (!processes.iter().any(lives)).then_some(()));
}
