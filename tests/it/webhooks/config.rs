//! Webhooks in the file of `oncue work`: delivered and signed, checked, and shown without what is secret.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use oncue::task::RawTask;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::receiver::{PATIENCE, Receiver, Reply};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A directory with a secret and this file.
fn home(file: &str) -> TempDir {
    let home = tempfile::tempdir().expect("a directory");
    let secret = home.path().join("secret");
    std::fs::write(&secret, SECRET).expect("written");
    std::fs::set_permissions(secret, std::fs::Permissions::from_mode(0o600)).expect("set");
    std::fs::write(home.path().join("oncue.toml"), file).expect("written");
    home
}

fn oncue(home: &TempDir, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oncue"));
    command.args(words).current_dir(home.path()).stdin(Stdio::null());
    for name in ["ONCUE_BROKER", "ONCUE_KEY", "ONCUE_KEY_FILE", "RUST_LOG"] {
        command.env_remove(name);
    }
    command
}

#[test]
fn a_worker_delivers_what_its_file_says() {
    let receiver = Receiver::start(|_| Reply::of(200, "", b"[1]"));
    let home = home(&format!(
        "[handler.send]\nwebhook = \"{}\"\nsecret_file = \"secret\"\nheaders = {{ x-tenant = \"a\" }}\nqueue = \"q\"",
        receiver.url("/in?token=s3cret")
    ));
    let broker = format!("sqlite:{}", home.path().join("work.db").display());
    let client = oncue::block_on(oncue::connect(&broker)).expect("a database");
    let mut work = oncue(&home, &["work", "--verbose", "--broker", &broker]);
    let mut work = work.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs");
    let lines = BufReader::new(work.stderr.take().expect("piped")).lines().map_while(Result::ok);
    let (up, at_work) = std::sync::mpsc::channel();
    let heard = std::thread::spawn(move || {
        lines
            .inspect(|line| {
                if line.contains("at work") {
                    let _ = up.send(());
                }
            })
            .collect::<Vec<_>>()
    });
    at_work.recv_timeout(PATIENCE).expect("it is at work");
    let draft = RawTask::json("send", "{\"to\": \"Ada\"}").expect("JSON").draft();
    let draft = draft.queue("q").retention(PATIENCE);
    let task = oncue::block_on(client.enqueue_raw(draft)).expect("enqueued");
    let result = async { task.result::<serde_json::Value>().timeout(PATIENCE).await };
    assert_eq!(oncue::block_on(result).expect("a result"), serde_json::json!([1]));
    let request = receiver.request();
    assert_eq!(request.body, b"{\"to\": \"Ada\"}");
    assert_eq!((request.header("x-tenant"), request.header("oncue-kind")), ("a", "send"));
    assert!(request.header("webhook-signature").starts_with("v1,"));
    kill_process(Pid::from_child(&work), Signal::TERM).expect("asked to end");
    assert!(work.wait().expect("ended").success());
    let heard = heard.join().expect("heard").join("\n");
    assert!(!heard.contains("s3cret") && !heard.contains(SECRET), "{heard}");
}

#[test]
fn a_file_is_checked_and_shown_without_what_is_secret() {
    let file = "[handler.send]\nwebhook = \"https://a.example/in?token=s3cret\"\n\
                headers = { authorization = \"Bearer s3cret\" }\n";
    for (end, code, words) in [
        ("secret_file = \"secret\"", 0, "is fine: send"),
        ("secret_file = \"missing\"", 2, "there is no signing secret file"),
        ("", 2, "no secret"),
        ("secret = \"s3cret\"", 2, "write secret_file ="),
        ("secret_file = \"secret\"\nexec = [\"env\"]", 2, "a kind has one handler"),
        ("secret_fiel = \"secret\"", 2, "did you mean \"secret_file\"?"),
    ] {
        let home = home(&format!("{file}{end}"));
        let output = oncue(&home, &["config", "check"]).output().expect("runs");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(words) && !said.contains("s3cret"), "{said}");
    }
    for json in [&["config", "show"][..], &["config", "show", "--json"]] {
        let home = home(&format!("{file}secret_file = \"secret\""));
        let output = oncue(&home, json).output().expect("runs");
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(shown.contains("https://a.example/in?***") && shown.contains("30s"), "{shown}");
        assert!(!shown.contains("s3cret") && !shown.contains("MfKQ"), "{shown}");
    }
}
