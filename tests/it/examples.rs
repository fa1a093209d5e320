//! Every example runs, exits 0 by itself and shows what it says. The binaries lie beside the test's own.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Longest run of an example.
const TIME_MAX: Duration = Duration::from_secs(60);

fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    let profile = test.ancestors().nth(2).expect("target/<profile>/deps/<test>");
    let path = profile.join("examples").join(name);
    assert!(
        path.exists(),
        "{} is not built; run `cargo build --examples --all-features`",
        path.display()
    );
    path
}

#[track_caller]
fn run(name: &str, arguments: &[&str], home: &TempDir) -> String {
    let mut child = Command::new(binary(name))
        .args(arguments)
        .current_dir(home)
        .env_remove("ONCUE_KEY")
        .env_remove("ONCUE_KEY_FILE")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let begun = Instant::now();
    while child.try_wait().expect("can be asked").is_none() {
        if begun.elapsed() > TIME_MAX {
            child.kill().expect("ends");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let Output { status, stdout, stderr } = child.wait_with_output().expect("ended");
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{name}: {status}\n{stdout}\n{stderr}");
    stdout.into_owned()
}

/// A worker of an example at work; asked to end, and ended in any case.
#[cfg(feature = "redis")]
struct Working(std::process::Child);

#[cfg(feature = "redis")]
impl Drop for Working {
    fn drop(&mut self) {
        // It may have ended as it was asked.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(feature = "redis")]
#[test]
fn a_producer_and_a_worker_share_a_redis() {
    use std::io::Read;

    let server = crate::redis_servers::server::Server::start();
    let keys = oncue::seal::Keyring::generate().expect("keys").to_text().to_string();
    let command = |name: &str| {
        let mut command = Command::new(binary(name));
        command.env("ONCUE_BROKER", server.url()).env("ONCUE_KEY", &keys).stdin(Stdio::null());
        command.env_remove("ONCUE_KEY_FILE").stdout(Stdio::piped());
        command
    };
    let mut worker = Working(command("redis_worker").spawn().expect("starts"));
    let told = command("redis_producer").output().expect("runs");
    let told = (told.status.success(), String::from_utf8_lossy(&told.stdout).into_owned());
    assert_eq!(told, (true, "enqueued 3\nhello Ada\nhello Grace\nhello Edsger\n".to_owned()));
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&worker.0),
        rustix::process::Signal::TERM,
    )
    .expect("asked to end");
    let mut said = String::new();
    worker.0.stdout.take().expect("piped").read_to_string(&mut said).expect("read");
    assert!(worker.0.wait().expect("ended").success(), "{said}");
    assert_eq!(said, "at work\ncompleted 3\n");
}

fn home() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

#[test]
fn hello_runs_and_runs_again_on_its_file() {
    let home = home();
    for _ in 0..2 {
        assert_eq!(run("hello", &[], &home), "hello Ada\n");
    }
    assert!(home.path().join("hello.db.key").exists());
}

#[test]
fn a_handler_actor_is_rebuilt_and_loses_nothing() {
    let told = run("actor_handler", &[], &home());
    for line in [
        "letter 2 of this connection, to grace",
        "letter 1 of this connection, to panic",
        "letter 2 of this connection, to edsger",
        "completed 4, retried 1, replicas restarted 1",
    ] {
        assert!(told.contains(line), "{told}");
    }
    assert_eq!(told.matches("mailer: connected").count(), 2, "{told}");
}

#[test]
fn a_worker_lives_beside_a_web_server() {
    let told = run("actix_web_embed", &["--once"], &home());
    for line in ["POST /greet -> HTTP/1.1 202 Accepted", "hello Ada", "completed 1"] {
        assert!(told.contains(line), "{told}");
    }
}

#[cfg(feature = "rusqlite-0_41")]
#[test]
fn an_order_and_its_task_are_both_there_or_neither() {
    let home = home();
    for _ in 0..2 {
        let told = run("outbox", &[], &home);
        for line in [
            "coffee was not paid: no order, no task",
            "is confirmed: tea",
            "is confirmed: cake",
            "handed over: 2",
        ] {
            assert!(told.contains(line), "{line}\n{told}");
        }
        assert!(!told.contains("confirmed: coffee"), "{told}");
    }
    let told = run("outbox", &["--broker", "sqlite:elsewhere.db"], &home);
    assert!(told.contains("handed over: 2") && home.path().join("elsewhere.db").exists(), "{told}");
}

#[test]
fn one_of_a_sort_runs_and_a_burst_is_one_run() {
    let told = run("unique", &[], &home());
    for line in [
        "the second is the first: true",
        "shop 7 rebuilt because of prices",
        "shop 8 rebuilt because of a text",
        "runs: 2",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }
}

#[test]
fn notices_gather_and_one_mail_tells_of_them() {
    let told = run("groups", &[], &home());
    assert_eq!(told, "to ada: 3 (a reply, a like, a new follower)\nto grace: 2 (a bug, a moth)\n");
}

#[test]
#[cfg(feature = "cron")]
fn a_task_at_every_tick_and_one_by_hand() {
    let told = run("cron", &[], &home());
    for line in ["shop 8 because of a person", "shop 7 because of 2", "nightly: 0 ticks so far"] {
        assert!(told.contains(line), "{line}\n{told}");
    }
}

#[test]
fn progress_a_log_and_one_charge() {
    let told = run("progress", &[], &home());
    for line in
        ["1000 of 1000", "receipt 42", "attempt 1: row 500 is locked", "attempt 2: all rows"]
    {
        assert!(told.contains(line), "{line}\n{told}");
    }
    assert_eq!(told.matches("charged, under the key").count(), 1, "{told}");
}

#[cfg(all(feature = "isolate", target_os = "linux"))]
#[test]
fn isolated_handlers_cost_their_own_tasks() {
    let told = run("isolated_handlers", &[], &home());
    for line in [
        "variables 0, /etc/shadow false, network false",
        "signal(6): Archive(Exhausted)",
        "cpu: Archive(Exhausted)",
        "42 in process",
        "completed 2, archived 2",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }
}

#[test]
fn middleware_is_on_both_sides() {
    let told = run("middleware", &[], &home());
    for line in [
        "3 pages for acme",
        "a report is dead, class unpaid: initech has not paid",
        "was archived: skip_retry",
        "nobody: a report is enqueued for somebody",
        "completed 1, archived 1, measured true",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }
}

#[cfg(feature = "testing")]
#[test]
fn a_suite_tests_a_week_and_every_crash() {
    let told = run("testing", &[], &home());
    for line in [
        "8 runs in 8 days",
        "order 7 confirmed at attempt 8",
        "  After dequeue\n  Before enqueue\n  After enqueue\n",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }
}

#[test]
fn retries_tell_every_ending() {
    let told = run("retries", &[], &home());
    for line in [
        "failed (handler), again in 50ms",
        "failed (handler), again in 100ms",
        "fetched at attempt 3",
        "failed (http_429), again in 300ms",
        "archived (http_403), skip_retry",
        "put off for 100ms, at no cost",
        "run ended: Drop",
        "completed 3, archived 1",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }
}
