//! A slot moves with its keys, and is seen to be between two nodes meanwhile.

use std::time::Instant;

use redis::cluster::ClusterClient;

use super::{ask, connect};
use crate::redis_servers::cluster::Cluster;

fn client(cluster: &Cluster) -> redis::cluster::ClusterConnection {
    let url = cluster.url();
    let nodes = url.strip_prefix("redis+cluster://").expect("the scheme").split(',');
    let nodes: Vec<String> = nodes.map(|node| format!("redis://{node}")).collect();
    ClusterClient::new(nodes).expect("a client").get_connection().expect("connected")
}

#[test]
fn a_slot_moves_with_its_keys_while_it_is_used() {
    let begun = Instant::now();
    let cluster = Cluster::start();
    println!("started: {:?}", begun.elapsed());
    let slot = cluster.slot("{q}");
    let from = cluster.owner(slot).expect("one owner");
    let to = (from + 1) % 3;
    let mut client = client(&cluster);
    for key in 0..250 {
        redis::cmd("SET").arg(format!("{{q}}{key}")).arg(key).exec(&mut client).expect("set");
    }
    assert_eq!(cluster.nodes[from].ask::<usize>(&["DBSIZE"]), 250);
    let begun = Instant::now();
    assert_eq!(cluster.move_slot_of("{q}", to), 250);
    println!("moved: {:?}", begun.elapsed());
    assert_eq!(cluster.owner(slot), Some(to));
    for (node, keys) in [(from, 0), (to, 250), (3 - from - to, 0)] {
        assert_eq!(cluster.nodes[node].ask::<usize>(&["DBSIZE"]), keys);
    }
    for key in 0..250 {
        let found = redis::cmd("GET").arg(format!("{{q}}{key}")).query(&mut client);
        assert_eq!(found, Ok(key));
    }
}

#[test]
fn half_way_both_nodes_redirect() {
    let cluster = Cluster::start();
    let slot = cluster.slot("{q}");
    let from = cluster.owner(slot).expect("one owner");
    let to = (from + 1) % 3;
    let mut at = [from, to].map(|node| connect(&cluster.nodes[node].url()).expect("connected"));
    for key in ["{q}1", "{q}2", "{q}3"] {
        ask(&mut at[0], &["SET", key, "1"]).expect("set");
    }
    let mut moving = cluster.begin_move(slot, to);
    assert_eq!(moving.step(2), 2);
    let codes = ["{q}1", "{q}2", "{q}3", "{q}new"].map(|key| {
        let answer = ask(&mut at[0], &["GET", key]);
        answer.err().and_then(|error| error.code().map(str::to_owned)).unwrap_or_default()
    });
    let asks = codes.iter().filter(|code| *code == "ASK").count();
    assert_eq!((asks, &codes[3][..]), (3, "ASK"), "{codes:?}");
    let moved = ask(&mut at[1], &["GET", "{q}3"]).expect_err("not yet");
    assert_eq!(moved.code(), Some("MOVED"));
    let both = ask(&mut at[0], &["MGET", "{q}1", "{q}2", "{q}3"]).expect_err("on two nodes");
    assert_eq!(both.code(), Some("TRYAGAIN"));
    moving.finish();
    let moved = ask(&mut at[0], &["GET", "{q}3"]).expect_err("gone");
    assert_eq!(moved.code(), Some("MOVED"));
    ask(&mut at[1], &["GET", "{q}3"]).expect("here");
}
