//! Each fault of the way is one, and only where it was planned.

use std::thread;
use std::time::{Duration, Instant};

use redis::{Connection, RedisResult, Value};

use super::{ask, connect};
use crate::redis_servers::proxy::{Proxy, Way};
use crate::redis_servers::server::Server;

fn way() -> (Server, Proxy, Connection) {
    let server = Server::start();
    let proxy = Proxy::to(&server);
    let client = connect(&proxy.url()).expect("connected");
    (server, proxy, client)
}

fn add(client: &mut Connection) -> RedisResult<Value> {
    ask(client, &["INCR", "n"])
}

fn count(server: &Server) -> i64 {
    server.ask::<Option<i64>>(&["GET", "n"]).unwrap_or(0)
}

/// Not answered in 100 ms.
fn is_deaf(client: &mut Connection) -> bool {
    client.set_read_timeout(Some(Duration::from_millis(100))).expect("set");
    add(client).is_err_and(|error| error.is_timeout())
}

#[test]
fn nothing_happens_unless_it_was_planned() {
    let (server, proxy, mut client) = way();
    let before = proxy.counts();
    let big = "x".repeat(1 << 20);
    for _ in 0..3 {
        ask(&mut client, &["SET", "big", &big]).expect("set");
        assert_eq!(
            ask(&mut client, &["GET", "big"]).expect("got"),
            Value::BulkString(big.clone().into())
        );
    }
    let after = proxy.counts();
    assert_eq!((after.requests - before.requests, after.replies - before.replies), (6, 6));
    assert!(after.request_bytes > 3 << 20 && after.reply_bytes > 3 << 20);
    drop(client);
    proxy.until("the end to be passed on", |counts| counts.open == 0);
    let on_tcp = Server::on_tcp();
    add(&mut connect(&Proxy::to(&on_tcp).url()).expect("connected")).expect("added");
    assert_eq!((count(&on_tcp), count(&server)), (1, 0));
}

#[test]
fn the_third_reply_is_dropped_and_its_request_done() {
    let (server, proxy, mut client) = way();
    proxy.drop_reply(3);
    add(&mut client).expect("the first");
    add(&mut client).expect("the second");
    let lost = add(&mut client).expect_err("the third");
    assert!(lost.is_io_error() && !lost.is_timeout(), "{lost}");
    assert_eq!(count(&server), 3);
    let mut client = connect(&proxy.url()).expect("connected again");
    for _ in 0..4 {
        add(&mut client).expect("once is enough");
    }
    assert_eq!(proxy.counts().dropped, 1);
}

#[test]
fn replies_are_told_apart_by_their_command() {
    let (server, proxy, mut client) = way();
    proxy.drop_reply_to("exec", 2);
    let mut pipe = redis::pipe();
    pipe.atomic().incr("n", 1).incr("n", 1);
    pipe.query::<(i64, i64)>(&mut client).expect("the first");
    add(&mut client).expect("no EXEC");
    pipe.query::<(i64, i64)>(&mut client).expect_err("the second");
    assert_eq!(count(&server), 5);
}

#[test]
fn a_held_request_lands_late() {
    let (server, proxy, mut client) = way();
    proxy.hold_request("INCR", 2);
    add(&mut client).expect("the first");
    let lost = add(&mut client).expect_err("held");
    assert!(!lost.is_timeout(), "{lost}");
    drop(client);
    let mut client = connect(&proxy.url()).expect("connected again");
    ask(&mut client, &["SET", "n", "100"]).expect("set");
    assert_eq!(proxy.counts().held, 1);
    assert_eq!(proxy.land(), 1);
    assert_eq!(count(&server), 101);
    assert_eq!((proxy.counts().held, proxy.land()), (0, 0));
}

#[test]
fn a_transaction_lands_whole() {
    let (server, proxy, mut client) = way();
    proxy.hold_request("EXEC", 1);
    let mut pipe = redis::pipe();
    pipe.atomic().set("n", 1).incr("n", 1);
    pipe.query::<((), i64)>(&mut client).expect_err("held");
    assert_eq!(count(&server), 0);
    proxy.land();
    assert_eq!(count(&server), 2);
}

#[test]
fn a_request_held_in_silence_is_answered_late() {
    let (server, proxy, mut client) = way();
    proxy.hold_request_in_silence("INCR", 1);
    let waits = thread::spawn(move || add(&mut client));
    proxy.until("the request", |counts| counts.held == 1);
    assert_eq!(count(&server), 0);
    proxy.land();
    assert_eq!(waits.join().expect("joined").expect("answered"), Value::Int(1));
}

#[test]
fn a_landing_that_cannot_be_is_told() {
    let (_server, proxy, mut client) = way();
    proxy.hold_request("INCR", 1);
    add(&mut client).expect_err("held");
    proxy.reset();
    proxy.until("the reset", |counts| counts.open == 0);
    let landing = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| proxy.land()));
    landing.expect_err("it is lost");
}

#[test]
fn replies_are_cut_after_every_number_of_bytes() {
    let (server, proxy, mut client) = way();
    let before = proxy.counts().reply_bytes;
    ask(&mut client, &["ECHO", "hello"]).expect("echoed");
    let whole = proxy.counts().reply_bytes - before;
    assert_eq!(whole, "$5\r\nhello\r\n".len());
    for bytes in 0..whole {
        proxy.cut_after(Way::Replies, bytes);
        let cut = ask(&mut client, &["ECHO", "hello"]).expect_err("cut");
        assert!(!cut.is_timeout(), "{cut}");
        assert_eq!(proxy.counts().cut, bytes + 1);
        client = connect(&proxy.url()).expect("connected again");
    }
    proxy.cut_after(Way::Replies, whole);
    ask(&mut client, &["ECHO", "hello"]).expect("all of it came");
    // Of a request that is cut the server hears nothing.
    client = connect(&proxy.url()).expect("connected again");
    proxy.cut_after(Way::Requests, 10);
    add(&mut client).expect_err("cut");
    assert_eq!(count(&server), 0);
}

#[test]
fn a_stall_holds_until_it_is_released() {
    let (server, proxy, mut client) = way();
    proxy.stall(Way::Requests);
    assert!(is_deaf(&mut client));
    drop(client);
    assert_eq!(count(&server), 0);
    proxy.release(Way::Requests);
    proxy.until("the end to arrive", |counts| counts.open == 0);
    assert_eq!(count(&server), 1, "what was sent arrives though its sender is gone");

    let mut client = connect(&proxy.url()).expect("connected");
    proxy.stall(Way::Replies);
    assert!(is_deaf(&mut client));
    assert_eq!(count(&server), 2, "it was executed");
    let url = proxy.url();
    let newcomer = thread::spawn(move || connect(&url).and_then(|mut client| add(&mut client)));
    proxy.until("a newcomer", |counts| counts.open == 2);
    proxy.release(Way::Replies);
    assert_eq!(newcomer.join().expect("joined").expect("answered"), Value::Int(3));
}

#[test]
fn half_a_connection_is_deaf_and_stays_open() {
    let (server, proxy, mut client) = way();
    proxy.swallow(Way::Replies);
    assert!(is_deaf(&mut client));
    assert_eq!(count(&server), 1);
    server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    assert!(is_deaf(&mut client), "the end is not told");
    proxy.reset();
    proxy.hear(Way::Replies);
    let mut client = connect(&proxy.url()).expect("connected again");
    proxy.swallow(Way::Requests);
    assert!(is_deaf(&mut client));
    assert_eq!(count(&server), 1);
}

#[test]
fn connections_are_reset_and_refused() {
    let (_server, proxy, mut client) = way();
    proxy.reset();
    proxy.until("the reset", |counts| counts.open == 0);
    let reset = add(&mut client).expect_err("reset");
    assert!(reset.is_connection_dropped(), "{reset}");
    proxy.refuse(true);
    connect(&proxy.url()).map(drop).expect_err("refused");
    proxy.refuse(false);
    add(&mut connect(&proxy.url()).expect("accepted")).expect("added");
}

#[test]
fn a_delay_delays() {
    let (_server, proxy, mut client) = way();
    let time = Duration::from_millis(40);
    for way in [Way::Requests, Way::Replies] {
        proxy.delay(way, time);
        let begun = Instant::now();
        add(&mut client).expect("added");
        assert!(begun.elapsed() >= time, "{:?}", begun.elapsed());
        proxy.delay(way, Duration::ZERO);
    }
}

#[test]
fn a_proxy_to_nowhere_refuses() {
    let (mut server, proxy, mut client) = way();
    server.kill9();
    add(&mut client).expect_err("the server is gone");
    connect(&proxy.url()).map(drop).expect_err("nobody there");
    server.restart();
    add(&mut connect(&proxy.url()).expect("connected")).expect("added");
}
