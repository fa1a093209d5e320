//! A server lives and dies as it is told to.

use std::time::{Duration, Instant};

use redis::Value;

use super::{ask, connect};
use crate::redis_servers::process::Process;
use crate::redis_servers::server::Server;
use crate::redis_servers::setup::Setup;

fn is_alive(server: &Server) -> bool {
    server.try_cli(&["PING"]).is_ok()
}

#[test]
fn a_server_answers_on_its_socket_and_on_its_port() {
    let begun = Instant::now();
    let (on_socket, on_tcp) = (Server::start(), Server::on_tcp());
    println!("two servers: {:?}", begun.elapsed());
    for server in [&on_socket, &on_tcp] {
        let mut connection = connect(&server.url()).expect("connected");
        ask(&mut connection, &["SET", "a", "1"]).expect("set");
        assert_eq!(server.ask::<i64>(&["GET", "a"]), 1);
    }
    assert_eq!(on_socket.ask::<usize>(&["DBSIZE"]), 1);
    assert!(on_tcp.url().starts_with("redis://127.0.0.1:"), "{}", on_tcp.url());
    assert_eq!(on_socket.info("role").as_deref(), Some("master"));
}

#[test]
fn what_was_answered_survives_a_kill_if_it_is_appended() {
    let mut kept = Setup::default().tcp().aof().start();
    let mut lost = Server::on_tcp();
    for server in [&mut kept, &mut lost] {
        server.cli(&["SET", "a", "1"]);
        let (url, id) = (server.url(), server.info("run_id"));
        server.kill9();
        assert!(!is_alive(server));
        server.restart();
        assert_eq!(server.url(), url);
        assert_ne!(server.info("run_id"), id);
    }
    assert_eq!(kept.cli(&["GET", "a"]), Value::BulkString(b"1".to_vec()));
    assert_eq!(lost.cli(&["GET", "a"]), Value::Nil);
    kept.terminate();
    assert!(!is_alive(&kept));
    assert!(kept.log().contains("SIGTERM"), "{}", kept.log());
}

#[test]
fn a_stopped_server_answers_once_it_goes_on() {
    let server = Server::start();
    let mut connection = connect(&server.url()).expect("connected");
    server.stop();
    connection.set_read_timeout(Some(Duration::from_millis(50))).expect("set");
    let refused = ask(&mut connection, &["PING"]).expect_err("nobody answers");
    assert!(refused.is_timeout(), "{refused}");
    server.cont();
    assert!(is_alive(&server));
}

#[test]
fn a_server_ends_with_its_value() {
    let server = Server::start();
    let id: u32 = server.info("process_id").expect("told").parse().expect("a number");
    let process = format!("/proc/{id}");
    assert!(std::fs::exists(&process).expect("asked"));
    drop(server);
    assert!(!std::fs::exists(&process).expect("asked"));
}

#[test]
fn passwords_and_users_are_asked_for() {
    let server = Setup::default().tcp().password("secret").start();
    let open = server.url().replace(":secret@", "");
    let mut stranger = connect(&open).expect("connected");
    let refused = ask(&mut stranger, &["GET", "a"]).expect_err("refused");
    assert_eq!(refused.code(), Some("NOAUTH"));
    ask(&mut connect(&server.url()).expect("connected"), &["GET", "a"]).expect("let in");

    let acl = "user default off\nuser worker on >pass ~a* +get";
    let server = Setup::default().acl(acl).start();
    // The library says `pass` where we say `password`.
    let url = server.url_as("worker", "pass").replace("password=", "pass=");
    let mut worker = connect(&url).expect("connected");
    ask(&mut worker, &["GET", "a1"]).expect("allowed");
    for forbidden in [["GET", "b"], ["DEL", "a"]] {
        let refused = ask(&mut worker, &forbidden).expect_err("refused");
        assert_eq!(refused.code(), Some("NOPERM"));
    }
    server.cli(&["ACL", "SETUSER", "worker", "-get"]);
    ask(&mut worker, &["GET", "a1"]).expect_err("no longer allowed");
}

#[test]
fn memory_is_limited() {
    let server = Setup::default().max_memory("4mb", "noeviction").start();
    assert_eq!(server.ask::<Vec<String>>(&["CONFIG", "GET", "maxmemory-policy"])[1], "noeviction");
    let big = "x".repeat(1 << 20);
    let refused = (0..8).find_map(|at| server.try_cli(&["SET", &at.to_string(), &big]).err());
    assert_eq!(refused.expect("it is full").code(), Some("OOM"));
}

#[test]
#[should_panic(expected = "the server ended")]
fn a_server_that_cannot_start_says_so() {
    Setup::default().line("no-such-directive 1").start();
}

#[test]
fn a_directory_goes_with_its_server() {
    let server = Server::start();
    let socket = server.socket();
    drop(server);
    assert!(!socket.parent().expect("a directory").exists());
}

#[test]
#[should_panic(expected = "apt-get install -y redis-server")]
fn a_missing_binary_is_no_reason_to_skip() {
    let directory = tempfile::tempdir().expect("a directory");
    Process::spawn_binary("no-such-redis-server", directory.path(), &[], &[]);
}
