//! A worker process without a file descriptor left: it says why it cannot connect, does not hang, and goes on once
//! there is one. It needs few of them.

use rustix::process::Signal;

use super::player::Player;
use super::stage::Home;
use crate::runtime::company::Number;

/// Most connections of one worker process.
const CONNECTIONS_MAX: usize = 4;

fn admin(connection: &mut redis::Connection, words: &[&str]) {
    redis::cmd(words[0]).arg(&words[1..]).exec(connection).expect("done");
}

#[test]
fn a_worker_without_files_says_so_and_goes_on_once_it_has_some() {
    let home = Home::on_redis();
    let (client, server) = (home.client(), home.server());
    let put = |number| drop(oncue::block_on(client.enqueue(Number(number))).expect("enqueued"));
    let mut worker = Player::start(&home, "crammed", &[]);
    put(0);
    worker.until("settled");
    let name = format!(" name=oncue:{} ", worker.id());
    let connections = || {
        let clients: String = server.ask(&["CLIENT", "LIST"]);
        let its = clients.lines().filter(|line| line.contains(&name));
        its.filter_map(|line| line.strip_prefix("id=")?.split(' ').next().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    let open = connections();
    assert!((1..=CONNECTIONS_MAX).contains(&open.len()), "{} connections", open.len());

    worker.tell("fill");
    let holds = |worker: &Player| worker.until("holds").parse::<usize>().expect("a number");
    let held = holds(&worker);
    // Nobody new is let in until those that it gives up are taken, too.
    let mut keeper = server.admin().expect("a connection");
    admin(&mut keeper, &["CONFIG", "SET", "maxclients", "1"]);
    let many = open.len();
    for id in open {
        admin(&mut keeper, &["CLIENT", "KILL", "ID", &id]);
    }
    while holds(&worker) < held + many {}
    admin(&mut keeper, &["CONFIG", "SET", "maxclients", "1000"]);
    while !worker.until("failed").contains("Too many open files") {}
    put(1);
    worker.tell("free");
    worker.until("settled");
    assert!((1..=CONNECTIONS_MAX).contains(&connections().len()), "none is left over");
    worker.catches(Signal::TERM);
    worker.signal(Signal::TERM);
    assert!(worker.end().success());
}
