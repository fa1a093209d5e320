//! What Redis really keeps: replicas that are waited for, and servers that throw tasks away.

use oncue::broker::redis::{Options, RedisBroker};
use oncue::broker::{Batch, Broker, Enqueued, Inspect};
use oncue::state::State;

use crate::fixture::{KINDS, START, queue, run, task};
use crate::redis_servers::sentinel::Sentinels;
use crate::redis_servers::server::Server;
use crate::redis_servers::setup::Setup;
use crate::redis_servers::until;

fn broker(url: &str) -> RedisBroker {
    RedisBroker::open(Options::parse(url).expect("a URL")).expect("a broker")
}

fn batch(replicas: u8) -> Batch {
    let tasks = [task(KINDS[0]).seal(&queue("default"), START)];
    Batch { replicas, ..Batch::new(queue("default"), tasks) }
}

fn pending(broker: &RedisBroker) -> u64 {
    let stats = run(broker.stats()).expect("stats");
    stats.iter().map(|stats| stats.count(State::Pending)).sum()
}

#[test]
fn an_enqueue_may_wait_for_replicas_and_says_if_they_do_not_confirm() {
    let all = Sentinels::start();
    let primary = all.primary();
    let broker = broker(&format!("{}?replica-timeout=300ms", all.servers[primary].url()));
    let first = batch(1);
    until("a replica in step", || run(broker.enqueue(first.clone())).ok());
    assert_eq!(run(broker.enqueue(batch(1))).expect("confirmed"), [Enqueued::Created]);
    let replica = &all.servers[1 - primary];
    let key = "oncue:{default/default}:t";
    assert_eq!(replica.ask::<u64>(&["HLEN", key]), 2, "it is on the replica when we are told");

    let two = batch(2);
    let error = run(broker.enqueue(two.clone())).expect_err("there is but one");
    assert!(error.is_not_durable() && error.to_string().contains("1 of 2"), "{error}");
    assert_eq!(pending(&broker), 3, "stored all the same");
    replica.stop();
    let error = run(broker.enqueue(batch(1))).expect_err("it does not answer");
    assert!(error.is_not_durable(), "{error:?}");
    assert_eq!(run(broker.enqueue(batch(0))).expect("needs none"), [Enqueued::Created]);
    replica.cont();
    let again = Batch { replicas: 1, ..two };
    let confirmed = until("the replica to catch up", || run(broker.enqueue(again.clone())).ok());
    assert_eq!(confirmed, [Enqueued::Existing], "the same batch asks again and stores nothing");
    assert_eq!(pending(&broker), 5);
}

#[test]
fn a_server_that_evicts_is_refused_unless_allowed_in_words() {
    let server = Setup::default().max_memory("64mb", "allkeys-lru").start();
    let error = run(broker(&server.url()).stats()).expect_err("it throws tasks away");
    assert!(error.is_refused() && error.to_string().contains("noeviction"), "{error}");
    let allowed = broker(&format!("{}?insecure=eviction", server.url()));
    assert_eq!(run(allowed.stats()).expect("allowed"), []);
    let bounded = Setup::default().max_memory("64mb", "noeviction").start();
    assert_eq!(run(broker(&bounded.url()).stats()).expect("fine"), []);
    assert_eq!(run(broker(&Server::start().url()).stats()).expect("fine"), []);
}

#[test]
fn what_replicas_confirmed_outlives_the_primary() {
    let mut all = Sentinels::start();
    let url = all.url();
    let broker = broker(url.strip_suffix("/0").unwrap_or(&url));
    let first = batch(1);
    until("a replica in step", || run(broker.enqueue(first.clone())).ok());
    for _ in 0..20 {
        run(broker.enqueue(batch(1))).expect("confirmed");
    }
    all.kill_primary();
    let found = until("the new primary", || run(broker.stats()).ok());
    assert_eq!(found.iter().map(|stats| stats.count(State::Pending)).sum::<u64>(), 21);
}
