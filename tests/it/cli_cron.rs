//! `oncue cron preview` from outside: its answers, its exit codes, and that it leaves nothing behind.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

fn preview(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oncue"));
    for name in ["ONCUE_KEY", "ONCUE_KEY_FILE", "RUST_LOG"] {
        command.env_remove(name);
    }
    // Nobody listens there, and nobody is asked.
    command.env("ONCUE_BROKER", "redis://127.0.0.1:1").current_dir(folder);
    command.args(["cron", "preview"]).args(args).output().expect("runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[track_caller]
fn times(args: &[&str]) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let output = preview(folder.path(), &[args, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "", "{args:?}");
    assert_eq!(fs::read_dir(folder.path()).expect("reads").count(), 0, "{args:?} left a file");
    serde_json::from_slice(&output.stdout).expect("one JSON value")
}

/// Refused with exit code 2 and these words, for people and as JSON; nothing is left behind.
#[track_caller]
fn refused(args: &[&str], word: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    for json in [false, true] {
        let more: &[&str] = if json { &["--json"] } else { &[] };
        let output = preview(folder.path(), &[args, more].concat());
        let told = text(&output.stderr);
        assert_eq!(
            (output.status.code(), &*output.stdout),
            (Some(2), &b""[..]),
            "{args:?}: {told}"
        );
        assert!(told.contains(word) && !told.contains("panicked"), "{word:?} is not in {told}");
        if json {
            let told: Value = serde_json::from_str(told.trim()).expect("JSON");
            assert!(told["error"]["message"].is_string(), "{told}");
        }
    }
    assert_eq!(fs::read_dir(folder.path()).expect("reads").count(), 0, "{args:?} left a file");
}

#[test]
fn json_is_one_array_of_times_with_the_offset_of_the_zone() {
    let night = ["30 2 * * *", "--zone", "Europe/Berlin", "--count", "3", "--from"];
    let spring = [&night[..], &["2026-03-28T02:30:00+01:00"]].concat();
    let after = ["2026-03-30T02:30:00+02:00", "2026-03-31T02:30:00+02:00"];
    assert_eq!(times(&spring), json!(["2026-03-29T03:00:00+02:00", after[0], after[1]]));
    let skipped = times(&[&spring[..], &["--gap", "skip"]].concat());
    assert_eq!(skipped, json!([after[0], after[1], "2026-04-01T02:30:00+02:00"]));

    let autumn = [&night[..], &["2026-10-24T12:00:00Z"]].concat();
    let (first, second) = ("2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00");
    let later = ["2026-10-26T02:30:00+01:00", "2026-10-27T02:30:00+01:00"];
    assert_eq!(times(&autumn), json!([first, later[0], later[1]]));
    let both = times(&[&autumn[..], &["--overlap", "both"]].concat());
    assert_eq!(both, json!([first, second, later[0]]));

    let half = ["@every 1500ms", "--from", "1970-01-01T00:00:00Z", "--count", "2"];
    assert_eq!(times(&half), json!(["1970-01-01T00:00:01.500+00:00", "1970-01-01T00:00:03+00:00"]));
    assert_eq!(times(&["@daily"]).as_array().expect("an array").len(), 10);
    assert_eq!(times(&["@daily", "--count", "1000"]).as_array().expect("an array").len(), 1_000);
    assert_eq!(times(&["@daily", "--from", "9999-12-31T23:59:59Z"]), json!([]));
}

#[test]
fn people_are_told_what_clocks_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let from = "2026-03-28T12:00:00Z";
    let output = preview(folder.path(), &["TZ=Europe/Berlin 30 2 * * *", "--from", from]);
    let told = text(&output.stdout);
    let line = told.lines().find(|line| line.contains("2026-03-29")).expect("the day");
    for word in ["03:00:00", "+02:00", "Sun", "moved: 2026-03-29 02:30:00 does not exist"] {
        assert!(line.contains(word), "{word:?} is not in {told}");
    }
    assert!(told.contains("fixed times in Europe/Berlin"), "{told}");
    let output = preview(folder.path(), &["@daily", "--from", "9999-01-01T00:00:00Z"]);
    assert!(text(&output.stdout).contains("no further tick"), "{output:?}");
}

#[test]
fn without_the_zones_of_the_system_there_are_those_built_in() {
    let folder = tempfile::tempdir().expect("a folder");
    // Enough of a database to be taken for one, without the zone that is asked for.
    fs::write(folder.path().join("Nowhere"), b"TZif").expect("writes");
    let run = Command::new(env!("CARGO_BIN_EXE_oncue"))
        .env("TZDIR", folder.path())
        .args(["cron", "preview", "0 12 * * *", "--zone", "Australia/Lord_Howe", "--json"])
        .args(["--from", "2026-01-01T00:00:00Z", "--count", "1"])
        .output();
    let told: Value = serde_json::from_slice(&run.expect("runs").stdout).expect("JSON");
    assert_eq!(told, json!(["2026-01-01T12:00:00+11:00"]));
}

#[test]
fn what_is_wrong_is_wrong_usage() {
    let list = format!("{} * * * *", vec!["1"; 10_000].join(","));
    for (args, word) in [
        (&["0 0 1--100000000 * *"][..], "day of month"),
        (&["*/0 * * * *"], "step"),
        (&[&list], "256"),
        (&["0 0 30 2 *"], "never"),
        (&["@reboot"], "where your program starts"),
        (&["\u{1b}[2J * * * *"], "printable ASCII"),
        (&["٣ * * * *"], "printable ASCII"),
        (&["*", "*", "*", "*", "*"], "unexpected argument"),
        (&["@daily", "--zone", "Europe/Berln"], "Europe/Berlin"),
        (&["@daily", "--zone", "../../etc/passwd"], "is not a name"),
        (&["TZ=Asia/Kolkata @daily", "--zone", "UTC"], "Asia/Kolkata"),
        (&["@daily", "--from", "1969-12-31T23:59:59Z"], "1970"),
        (&["@daily", "--from", "yesterday"], "RFC 3339"),
        (&["@daily", "--count", "0"], "1..=1000"),
        (&["@daily", "--count", "1001"], "1..=1000"),
        (&["@daily", "--gap", "both"], "skip"),
        (&["@daily", "--overlap", "skip"], "both"),
        (&[], "SPEC"),
    ] {
        refused(args, word);
    }
}
