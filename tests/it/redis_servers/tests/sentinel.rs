//! Sentinels move the primary, asked to or not.

use std::time::Instant;

use redis::sentinel::{SentinelClient, SentinelServerType};

use super::connect;
use crate::redis_servers::sentinel::{NAME, Sentinels};

#[test]
fn a_failover_moves_the_primary_and_what_is_in_step() {
    let begun = Instant::now();
    let deployment = Sentinels::start();
    println!("started: {:?}", begun.elapsed());
    assert_eq!(deployment.primary(), 0);
    deployment.servers[0].cli(&["SET", "a", "1"]);
    deployment.servers[0].cli(&["WAIT", "1", "5000"]);
    let begun = Instant::now();
    assert_eq!(deployment.fail_over(), 1);
    println!("failed over: {:?}", begun.elapsed());
    assert_eq!(deployment.servers[1].ask::<i64>(&["GET", "a"]), 1);
    let refused = deployment.servers[0].try_cli(&["SET", "a", "2"]).expect_err("no primary");
    assert_eq!(refused.code(), Some("READONLY"));
}

#[test]
fn a_dead_primary_is_replaced_and_comes_back_as_a_replica() {
    let mut deployment = Sentinels::start();
    let begun = Instant::now();
    assert_eq!(deployment.kill_primary(), 1);
    println!("replaced: {:?}", begun.elapsed());
    deployment.servers[1].cli(&["SET", "a", "1"]);
    deployment.servers[0].restart();
    deployment.settle();
    println!("back: {:?}", begun.elapsed());
    assert_eq!(deployment.primary(), 1);
    assert_eq!(deployment.servers[0].info("role").as_deref(), Some("slave"));
}

#[test]
fn a_client_finds_the_primary_by_the_url() {
    let deployment = Sentinels::start();
    let url = deployment.url();
    let rest = url.strip_prefix("redis+sentinel://").expect("the scheme");
    let (hosts, rest) = rest.split_once('/').expect("a path");
    assert_eq!(rest, format!("{NAME}/0"));
    let hosts = hosts.split(',').map(|host| format!("redis://{host}")).collect();
    let mut client =
        SentinelClient::build(hosts, NAME, None, SentinelServerType::Master).expect("a client");
    let mut connection = client.get_connection().expect("connected");
    redis::cmd("SET").arg("a").arg(1).exec(&mut connection).expect("set");
    let mut primary = connect(&deployment.servers[0].url()).expect("connected");
    assert_eq!(redis::cmd("GET").arg("a").query(&mut primary), Ok(1));
}
