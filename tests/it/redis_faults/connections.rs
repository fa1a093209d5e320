//! Too many connections: whoever gets none is told why, nobody hangs, and who has one goes on; a worker needs few.

use std::time::Duration;

use super::company::{Shop, completed};
use super::site::eventually;
use crate::fixture::run;
use crate::redis_servers::setup::Setup;
use oncue::broker::Inspect;
use oncue::broker::redis::{Options, RedisBroker};

const WORK: Duration = Duration::from_millis(5);
const PAUSE: Duration = Duration::from_millis(2);
const CLIENTS: usize = 20;
/// Most connections of one worker.
const OWN_MAX: usize = 4;

#[test]
fn a_redis_that_takes_no_more_connections_is_named_and_waited_for() {
    let server = Setup::default().line(&format!("maxclients {CLIENTS}")).start();
    let mut admin = server.admin().expect("before it is full");
    let mut ask = |words: &[&str]| -> String {
        let answer = redis::cmd(words[0]).arg(&words[1..]).query::<redis::Value>(&mut admin);
        redis::from_redis_value(answer.expect("an answer")).expect("text")
    };
    let shop = Shop::at(&server.url());
    let worker = shop.worker(WORK);
    let client = shop.client();
    let producer = shop.producer(PAUSE);
    let traffic = || {
        let settled = shop.told.settled();
        eventually("traffic", || shop.told.settled() > settled + 50);
    };
    traffic();
    let clients = ask(&["CLIENT", "LIST"]);
    let ours = clients.lines().filter(|line| line.contains("name=oncue:")).count();
    // Three brokers: the worker's, a client's, the producer's.
    assert!(ours > 0 && ours <= 3 * OWN_MAX, "{ours} connections of a worker and two clients");

    // More brokers than there is room for: some of them are refused, by name, and the rest goes on.
    let open = || RedisBroker::open(Options::parse(&url(&server.url())).expect("a URL"));
    let brokers: Vec<RedisBroker> = (0..CLIENTS).map(|_| open().expect("a broker")).collect();
    let calls: Vec<_> = brokers.iter().map(|broker| broker.stats()).collect();
    let answers = run(futures::future::join_all(calls));
    let refused: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
    assert!(!refused.is_empty() && refused.len() < CLIENTS, "{} refused", refused.len());
    for error in &refused {
        assert!(error.is_unreachable(), "{error:?}");
        assert!(error.to_string().contains("`maxclients`"), "{error}");
    }
    traffic();
    drop(brokers);

    // A worker that loses its connections while there is room for nobody new.
    ask(&["CONFIG", "SET", "maxclients", "1"]);
    for line in ask(&["CLIENT", "LIST"]).lines().filter(|line| line.contains("name=oncue:")) {
        let id = line.strip_prefix("id=").and_then(|rest| rest.split(' ').next()).expect("an id");
        ask(&["CLIENT", "KILL", "ID", id]);
    }
    shop.told.until_failed("`maxclients`");
    ask(&["CONFIG", "SET", "maxclients", &CLIENTS.to_string()]);
    traffic();
    let acked = producer.end();
    shop.drained(&client);
    let done = completed(&client);
    assert!(done == acked || done == acked + 1, "{acked} acknowledged, {done} completed");
    println!("{acked} acknowledged, 0 lost; {:?}", shop.told);
    worker.end();
}

/// The URL with the patience of a test.
fn url(url: &str) -> String {
    format!("{url}?timeout=1s")
}
