//! Any program as a handler, by `oncue work` and a file: payload in, result out, exit codes, limits.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use oncue::state::State;
use oncue::task::RawTask;
use oncue::{Client, Task};
use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use super::stage::{mark, marked, wait_for};

const PATIENCE: Duration = Duration::from_secs(30);
/// For a script that starts others.
const MANY: &str = "limits = { processes = 16 }";

/// A directory with a file, programs, and a database.
struct Shop {
    home: TempDir,
    client: Client,
}

impl Shop {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let url = format!("sqlite:{}", home.path().join("work.db").display());
        let client = oncue::block_on(oncue::connect(&url)).expect("a database");
        Self { home, client }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("written");
    }

    /// A shell script, and its part of the file.
    fn script(&self, kind: &str, body: &str, limits: &str) -> String {
        let (name, text) = (format!("{kind}.sh"), format!("#!/bin/sh\n{body}\n"));
        self.write(&name, &text);
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(self.path(&name), mode).expect("executable");
        format!("[handler.{kind}]\nexec = [\"./{name}\"]\n{limits}\n")
    }

    fn oncue(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oncue"));
        let url = format!("sqlite:{}", self.path("work.db").display());
        command.args(words).args(["--broker", &url]).current_dir(self.home.path());
        command.env_remove("ONCUE_KEY").env_remove("ONCUE_KEY_FILE").env("HOSTILE_SECRET", "x");
        command.env("HOSTILE_WORD", "allowed").stdin(Stdio::null());
        command
    }

    fn work(&self, file: &Path) -> Work {
        let file = file.to_str().expect("UTF-8");
        let mut command = self.oncue(&["work", "--verbose", "--config", file]);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs");
        let mut lines =
            BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok);
        let mut said = Vec::new();
        let up = lines.by_ref().any(|line| {
            said.push(line.clone());
            line.contains("at work")
        });
        assert!(up, "{said:?}");
        // Read on, so that it never waits for us.
        Work { child, said: std::thread::spawn(move || lines.collect()) }
    }

    fn put(&self, kind: &str, payload: &str) -> oncue::Handle {
        let draft = RawTask::json(kind, payload).expect("JSON").draft().max_retry(0);
        let task = self.client.enqueue_raw(draft.retention(PATIENCE));
        oncue::block_on(task).expect("enqueued")
    }

    fn result(&self, kind: &str, payload: &str) -> serde_json::Value {
        let task = self.put(kind, payload);
        let result = async { task.result::<serde_json::Value>().timeout(PATIENCE).await };
        oncue::block_on(result).expect("a result")
    }

    /// Why it failed: class, message, and whether a retry was ruled out.
    fn failure(&self, task: &oncue::Handle) -> (String, String, String) {
        let show = || {
            let view = self.client.broker().show(task.queue().clone(), task.id());
            oncue::block_on(view).expect("shown").expect("kept")
        };
        wait_for("a failure", || show().state == State::Archived);
        let view = show();
        let message = self.client.failure(&view).unwrap_or_default();
        let reason = view.reason.map(|reason| reason.to_string());
        (view.trail.class.unwrap_or_default(), message, reason.unwrap_or_default())
    }
}

/// `oncue work` at work.
struct Work {
    child: Child,
    said: JoinHandle<Vec<String>>,
}

impl Work {
    /// Ends it; what it said on standard error.
    fn end(mut self) -> Vec<String> {
        rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM)
            .expect("asked to end");
        let status = self.child.wait().expect("ended");
        assert!(status.success(), "{status}");
        self.said.join().expect("read")
    }
}

#[test]
fn the_example_counts_and_shouts() {
    let shop = Shop::new();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/exec_handlers/oncue.toml");
    let work = shop.work(&example);
    let counted = shop.result("text:count", "{\"text\": \"one two three\"}");
    assert_eq!(counted, serde_json::json!({ "words": 3 }));
    assert_eq!(shop.result("text:shout", "\"quiet\""), serde_json::json!("QUIET"));
    let (class, message, reason) = shop.failure(&shop.put("text:count", "{}"));
    assert_eq!((class.as_str(), reason.as_str()), ("exit(65)", "skip_retry"));
    assert!(message.contains("a task needs a text"), "{message}");
    work.end();
}

#[test]
fn exit_codes_decide_and_hostile_programs_cost_their_own_tasks() {
    let shop = Shop::new();
    let word = mark(7);
    let slow = "timeout = \"300ms\"";
    shop.write(
        "oncue.toml",
        &[
            shop.script("again", "exit 75", ""),
            shop.script("never", "echo why >&2; exit 65", ""),
            shop.script("other", "exit 9", ""),
            shop.script("deaf", "echo fine", ""),
            shop.script("huge", "while :; do echo 0123456789abcdef0123456789abcdef; done", ""),
            shop.script(
                "leaves",
                &format!("setsid sleep {word} >/dev/null 2>&1 & echo left"),
                MANY,
            ),
            shop.script("hangs", "while read -r _; do :; done; while :; do :; done", slow),
            shop.script("forks", "ls / | wc -l", ""),
            shop.script("faults", "kill -SEGV $$", MANY),
            shop.script("strays", "kill -BUS $$", MANY),
            shop.script("pipes", "kill -PIPE $$", MANY),
            shop.script(
                "pries",
                "echo \"$HOSTILE_SECRET,$HOSTILE_WORD\"; read -r x </etc/shadow && echo in",
                "env = [\"HOSTILE_WORD\"]",
            ),
        ]
        .concat(),
    );
    let work = shop.work(&shop.path("oncue.toml"));
    let failure = |kind: &str| {
        let (class, message, reason) = shop.failure(&shop.put(kind, "1"));
        (class, reason, message)
    };
    let (class, reason, _) = failure("again");
    assert_eq!((&*class, &*reason), ("exit(75)", "exhausted"));
    let (class, reason, message) = failure("never");
    assert_eq!((&*class, &*reason), ("exit(65)", "skip_retry"));
    assert!(message.ends_with("why"), "{message}");
    assert_eq!(failure("other").0, "exit(9)");
    assert_eq!(failure("huge").0, "result");
    assert_eq!(failure("hangs").0, "wall");
    // No process but its own, so no pipe; the message says which program could not be started.
    assert_eq!(failure("forks").0, "exit(2)");
    // The keeper between them passes on what ended the program.
    assert_eq!(failure("faults").0, "signal(11)");
    assert_eq!(failure("strays").0, "signal(7)");
    assert_eq!(failure("pipes").0, "exit(141)");
    let (_, _, message) = failure("pries");
    assert!(message.contains("shadow"), "{message}");
    // One that never reads, though the payload is more than a pipe holds.
    let long = format!("\"{}\"", "x".repeat(200_000));
    assert_eq!(shop.result("deaf", &long), serde_json::json!("fine"));
    assert_eq!(shop.result("leaves", "1"), serde_json::json!("left"));
    wait_for("the end of what it left", || marked(&word).is_empty());
    // Whoever runs a file reads of each failure in the log, and nothing of what was sealed.
    let said = work.end();
    let told =
        |words: &[&str]| said.iter().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(told(&["archived", "never", "exit(65)", "skip_retry"]), "{said:?}");
    assert!(!told(&["why"]) && !told(&["archived", "deaf"]), "{said:?}");
}

#[test]
fn a_program_that_closed_its_output_is_fed_and_heard_on() {
    let shop = Shop::new();
    // More than the pipes hold, both ways.
    let body = "exec >&-\nread -r all\ni=0\nwhile [ $i -lt 3000 ]; do echo 0123456789abcdef0123456789abcdef >&2; \
                i=$((i+1)); done\necho ${#all} >&2; exit 9";
    let hangs = "exec >&-\nwhile :; do :; done";
    shop.write(
        "oncue.toml",
        &[
            shop.script("closes", body, ""),
            shop.script("hangs", hangs, "timeout = \"300ms\""),
            shop.script("grows", "head -c 60000 /dev/zero | tr '\\0' '\\1'", MANY),
            shop.script("fits", "head -c 60000 /dev/zero | tr '\\0' x", MANY),
        ]
        .concat(),
    );
    let work = shop.work(&shop.path("oncue.toml"));
    let long = format!("\"{}\"", "x".repeat(200_000));
    let (class, message, _) = shop.failure(&shop.put("closes", &long));
    assert!(class == "exit(9)" && message.ends_with("200002"), "{class} {message}");
    assert_eq!(shop.failure(&shop.put("hangs", "1")).0, "wall");
    // As a string of JSON each byte of it is six.
    assert_eq!(shop.failure(&shop.put("grows", "1")).0, "result");
    assert_eq!(shop.result("fits", "1"), serde_json::json!("x".repeat(60_000)));
    work.end();
}

#[test]
fn a_payload_that_is_not_json_is_refused_in_words() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Packed(u64);
    impl Task for Packed {
        const KIND: &'static str = "packed";
        const CODEC: oncue::Codec = oncue::Codec::Bincode;
    }
    let shop = Shop::new();
    shop.write("oncue.toml", &shop.script("packed", "cat", "limits = { processes = 4 }"));
    let work = shop.work(&shop.path("oncue.toml"));
    let task = oncue::block_on(shop.client.enqueue(Packed(7))).expect("enqueued");
    let (class, message, reason) = shop.failure(&task);
    assert_eq!((class.as_str(), reason.as_str()), ("payload", "skip_retry"));
    assert!(message.contains("not JSON"), "{message}");
    assert_eq!(shop.result("packed", "[1, 2]"), serde_json::json!([1, 2]));
    work.end();
}

#[test]
fn a_file_is_checked_and_shown_without_starting_anything() {
    let shop = Shop::new();
    shop.write("oncue.toml", &shop.script("fine", "touch started", ""));
    let output = shop.oncue(&["config", "check"]).output().expect("runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("is fine: fine"), "{text}");
    let output = shop.oncue(&["config", "show"]).output().expect("runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("memory = \"1GiB\"") && text.contains("network = \"none\""), "{text}");
    assert!(text.contains("[queues]\ndefault = 1"), "{text}");
    let body = shop.script("fine", "touch started", "queue = \"mail\"");
    shop.write("oncue.toml", &format!("[queues]\nother = 1\n{body}"));
    let output = shop.oncue(&["config", "check"]).output().expect("runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && text.contains("does not name the queue"), "{text}");
    shop.write("oncue.toml", "[handler.a]\nexec = [\"env\"]\nlimits = { memroy = \"1GiB\" }");
    let output = shop.oncue(&["config", "check"]).output().expect("runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("memroy; did you mean \"memory\"?"), "{text}");
    assert_eq!(output.status.code(), Some(2));
    let open = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(shop.path("oncue.toml"), open).expect("open to all");
    let output = shop.oncue(&["config", "check"]).output().expect("runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(5) && text.contains("chmod o-w"), "{text}");
    assert!(!shop.path("started").exists());
}
