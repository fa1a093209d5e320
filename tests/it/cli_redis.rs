//! The binary beside a Redis: users made by it, functions deployed by it, and every command as the user whose
//! it is.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::redis_servers::server::Server;
use crate::redis_servers::setup::Setup;

fn oncue(folder: &Path, broker: Option<&str>, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oncue"));
    command.current_dir(folder).stdin(Stdio::null()).args(args);
    for name in ["ONCUE_BROKER", "ONCUE_KEY", "ONCUE_KEY_FILE", "RUST_LOG"] {
        command.env_remove(name);
    }
    if let Some(url) = broker {
        command.env("ONCUE_BROKER", url);
    }
    if folder.join("keys").exists() {
        command.env("ONCUE_KEY_FILE", "keys");
    }
    command.output().expect("runs")
}

/// The answer of a run that exited with 0.
#[track_caller]
fn answer(output: &Output) -> Value {
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{stdout}{stderr}");
    serde_json::from_str(stdout.lines().last().expect("a line")).expect("JSON")
}

#[track_caller]
fn refused(output: &Output, exit: i32, words: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(exit), "{stderr}");
    assert!(stderr.contains(words), "{words:?} is not in {stderr}");
}

/// The users of these roles, as the binary makes them, on a server.
fn server(folder: &Path, roles: &[&str]) -> (Server, impl Fn(&str) -> String) {
    let roles: Vec<&str> = roles.iter().flat_map(|role| ["--role", role]).collect();
    let made = answer(&oncue(folder, None, &[&["acl", "generate", "--json"][..], &roles].concat()));
    let lines: Vec<_> =
        made["lines"].as_array().expect("lines").iter().filter_map(Value::as_str).collect();
    let server = Setup::default().acl(&lines.join("\n")).start();
    let socket = server.socket();
    let url = move |user: &str| {
        let found = made["users"].as_array().expect("users").iter().find(|one| one["name"] == user);
        let password =
            found.expect("the user")["password"].as_str().expect("a password").to_owned();
        format!("unix://{}?user={user}&password={password}", socket.display())
    };
    (server, url)
}

#[test]
fn users_and_functions_and_then_work() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    answer(&oncue(folder, None, &["key", "generate", "--out", "keys", "--json"]));
    let (server, url) = server(folder, &["deployer", "producer+worker", "producer", "viewer"]);
    let producer = url("oncue-producer");
    refused(
        &oncue(folder, Some(&producer), &["task", "enqueue", "--kind", "a", "--payload", "1"]),
        1,
        "oncue deploy",
    );
    server.cli(&["ACL", "LOG", "RESET"]);

    let deploy = |url: &str| oncue(folder, None, &["deploy", "--broker", url, "--json"]);
    let told = answer(&deploy(&url("oncue-deployer")));
    assert_eq!(
        (&told["library"], &told["found"]),
        (&"oncue_1".into(), &"nothing".into()),
        "{told}"
    );
    assert_eq!(answer(&deploy(&url("oncue-deployer")))["found"], "same");

    let enqueue =
        ["task", "enqueue", "--kind", "mail:send", "--payload", "{\"to\":\"ada\"}", "--json"];
    let id =
        answer(&oncue(folder, Some(&producer), &enqueue))["id"].as_str().expect("an id").to_owned();
    let checked = answer(&oncue(folder, Some(&producer), &["key", "check", "--json"]));
    let place = checked["broker"].as_str().expect("a URL");
    assert!(place.ends_with("user=oncue-producer&password=***"), "{place}");
    let viewer = url("oncue-viewer");
    let queues = answer(&oncue(folder, Some(&viewer), &["queue", "list", "--json"]));
    assert_eq!(queues["queues"][0]["pending"], 1, "{queues}");
    let list = ["task", "list", "--queue", "default", "--state", "pending", "--json"];
    assert_eq!(answer(&oncue(folder, Some(&viewer), &list))["tasks"][0]["id"], id.as_str());
    let shown = answer(&oncue(
        folder,
        Some(&viewer),
        &["task", "show", &id, "--queue", "default", "--json"],
    ));
    assert_eq!(shown["kind"], "mail:send", "{shown}");
    let log: Vec<redis::Value> = server.ask(&["ACL", "LOG"]);
    assert_eq!(log.len(), 0, "{log:?}");

    refused(&deploy(&producer), 1, "may not do that");
    refused(&oncue(folder, Some(&viewer), &enqueue), 1, "may not do that");
}

#[test]
fn another_build_of_the_functions_is_replaced_and_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, url) = server(folder.path(), &["deployer"]);
    let deploy = || oncue(folder.path(), Some(&url("oncue-deployer")), &["deploy"]);
    assert_eq!(deploy().status.code(), Some(0));
    let other = "#!lua name=oncue_1\nlocal DIGEST = 'feed'\nredis.register_function('oncue_1_x', function() end)";
    server.cli(&["FUNCTION", "LOAD", "REPLACE", other]);
    let told = String::from_utf8(deploy().stdout).expect("UTF-8");
    assert!(told.contains("replaced feed, another build"), "{told}");
}

#[test]
fn every_primary_of_a_cluster_is_given_the_functions() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = crate::redis_servers::cluster::Cluster::start();
    let told = answer(&oncue(folder.path(), Some(&cluster.url()), &["deploy", "--json"]));
    assert_eq!(told["found"], "nothing", "{told}");
    for node in &cluster.nodes {
        let libraries: Vec<redis::Value> = node.ask(&["FUNCTION", "LIST"]);
        assert_eq!(libraries.len(), 1, "{libraries:?}");
    }
}

#[test]
fn an_acl_file_holds_no_password_and_says_what_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let run = |args: &[&str]| oncue(folder, None, &[&["acl", "generate"], args].concat());
    let output = run(&["--all", "--queue", "mail,files"]);
    let (file, told) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!((file.lines().count(), told.lines().count()), (7, 6), "{told}");
    assert!(file.starts_with("user default off ") && !file.contains("nopass"), "{file}");
    for line in told.lines() {
        let password = line.rsplit(' ').next().expect("a password");
        assert!(password.len() == 64 && !file.contains(password), "{line}");
    }
    // As JSON there is one answer, passwords and all, and the help says so.
    let output = run(&["--role", "viewer", "--json"]);
    let told = answer(&output);
    let password = told["users"][0]["password"].as_str().expect("a password");
    assert!(password.len() == 64 && !told["lines"].to_string().contains(password), "{told}");
    assert!(output.stderr.is_empty());
    let help = String::from_utf8(run(&["--help"]).stdout).expect("UTF-8");
    assert!(help.contains("with --json in the answer on standard output"), "{help}");
    for (name, text) in
        [("old", "long-enough-to-stay\n"), ("new", "another-long-password"), ("weak", "12345")]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(folder.join(name), text).expect("written");
        std::fs::set_permissions(folder.join(name), PermissionsExt::from_mode(0o600)).expect("set");
    }
    let both = run(&["--role", "viewer", "--password-file", "old", "--password-file", "new"]);
    assert_eq!(String::from_utf8_lossy(&both.stdout).matches(" #").count(), 2);
    assert!(both.stderr.is_empty());
    for (args, exit, words) in [
        (&["--role", "wroker"][..], 2, "did you mean \"worker\"?"),
        (&["--role", "viewer", "--password-file", "weak"], 5, "can be guessed"),
        (&["--all", "--password-file", "old"], 2, "for one user"),
        (&["--role", "viewer", "--namespace", "a/b"], 2, "cannot stand in an ACL"),
        (&["--role", "viewer", "--queue", "Mail"], 2, "queue name"),
        (&["--role", "viewer", "--user-prefix", "a b"], 2, "user \"a bviewer\""),
        (&["--role", "viewer", "--role", "viewer"], 2, "twice"),
        (&[], 2, "--role"),
    ] {
        refused(&run(args), exit, words);
    }
    refused(&oncue(folder, None, &["deploy"]), 2, "--broker redis://HOST");
    refused(&oncue(folder, Some("sqlite:x.db"), &["deploy"]), 2, "SQLite needs nothing");
}

#[test]
fn the_settings_that_are_told_start_a_server() {
    let document = include_str!("../../docs/redis.md");
    let told = document.split("```conf\n").nth(1).and_then(|rest| rest.split("```").next());
    let mut setup = Setup::default();
    for line in told.expect("a sample").lines() {
        setup = setup.line(line);
    }
    let server = setup.start();
    let policy: Vec<String> = server.ask(&["CONFIG", "GET", "maxmemory-policy"]);
    assert_eq!(policy[1], "noeviction");
}
