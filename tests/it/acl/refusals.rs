//! What a user tries who was taken over: refused, told in the ACL log, and nothing changed.

use std::sync::Arc;

use oncue::broker::redis::RedisBroker;
use oncue::broker::redis::acl::Role;
use oncue::broker::{Broker, Inspect};
use oncue::clock::ManualClock;
use oncue::state::State;
use redis::RedisResult;

use super::users::Users;
use crate::fixture::*;

/// What nobody may who is not the administrator.
const NOBODY: [&str; 30] = [
    "FLUSHALL",
    "FLUSHDB",
    "KEYS *",
    "SCAN 0",
    "RANDOMKEY",
    "DBSIZE",
    "SELECT 1",
    "SWAPDB 0 1",
    "CONFIG GET *",
    "CONFIG SET dir /tmp",
    "CONFIG REWRITE",
    "EVAL return(1) 0",
    "EVAL_RO return(1) 0",
    "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0",
    "SCRIPT LOAD return(1)",
    "SCRIPT FLUSH",
    "FUNCTION DELETE oncue_1",
    "FUNCTION FLUSH",
    "FUNCTION DUMP",
    "FUNCTION RESTORE x",
    "ACL LIST",
    "ACL SETUSER x on nopass ~* +@all",
    "ACL WHOAMI",
    "DEBUG DIGEST",
    "REPLICAOF localhost 1",
    "SHUTDOWN NOSAVE",
    "SAVE",
    "MONITOR",
    "CLIENT KILL TYPE normal",
    "PSUBSCRIBE *",
];

fn tries(users: &Users, role: Role, words: &str) -> RedisResult<redis::Value> {
    let mut words = words.split(' ');
    let mut command = redis::cmd(words.next().expect("a command"));
    command.arg(words.collect::<Vec<_>>()).query(&mut users.connection(role))
}

#[track_caller]
fn refused(users: &Users, role: Role, words: &str) {
    let error = tries(users, role, words).expect_err(words);
    assert_eq!(error.code(), Some("NOPERM"), "{role}: {words}: {error}");
    assert_eq!(users.refused().len(), 1, "{role}: {words}: one line in the log");
}

#[test]
fn no_role_rules_the_server() {
    let users = Users::of(&["*"]);
    for role in Role::ALL {
        for words in NOBODY {
            refused(&users, role, words);
        }
        if role != Role::Deployer {
            refused(&users, role, "FUNCTION LOAD x");
        }
    }
}

#[test]
fn who_does_not_log_in_is_nobody() {
    let users = Users::of(&["*"]);
    let url = format!("redis+unix://{}", users.server.socket().display());
    let mut anybody = redis::Client::open(url).expect("a URL").get_connection().expect("connected");
    let error = redis::cmd("PING").query::<String>(&mut anybody).expect_err("refused");
    assert_eq!(error.code(), Some("NOAUTH"), "{error}");
}

#[test]
fn no_role_does_the_work_of_another() {
    let clock = Arc::new(ManualClock::at(START));
    let users = Arc::new(Users::of(&["default"]));
    users.deploy(&clock);
    let open = |role| users.broker(role, &clock);
    let roles = [Role::Producer, Role::Worker, Role::Scheduler, Role::Viewer].map(open);
    let [producer, worker, scheduler, viewer] = &roles;
    let bench = Bench::new(&|_| Opened { broker: Arc::new(producer.clone()), guard: None });
    bench.put(tasks(2));
    let (session, sweeper) = (bench.session(), bench.session());
    let claims = run(worker.dequeue(bench.ask(&session, 1))).expect("claimed");
    let digest = || users.server.ask::<String>(&["DEBUG", "DIGEST"]);
    let before = digest();
    let denied = |what: &str, refusal: oncue::Error| {
        assert!(refusal.is_denied(), "{what}: {refusal}");
        assert!(!users.refused().is_empty(), "{what}: not in the log");
        assert_eq!(digest(), before, "{what} changed something");
    };
    let settlement = || vec![oncue::broker::Settlement::new(claims[0].ticket, complete())];
    let beat =
        oncue::broker::Beat { sessions: vec![session.clone()], lease: LEASE, presence: None };
    for (who, broker) in [("producer", producer), ("viewer", viewer)] {
        denied(
            &format!("settle by a {who}"),
            refusal(broker.settle(session.clone(), settlement())),
        );
        denied(&format!("retire by a {who}"), refusal(broker.retire(session.clone(), vec![])));
        denied(&format!("advance by a {who}"), refusal(broker.advance(bench.queue.clone(), 1)));
        denied(&format!("reclaim by a {who}"), refusal(broker.reclaim(bench.sweep(&sweeper))));
        denied(&format!("beat by a {who}"), refusal(broker.beat(beat.clone())));
    }
    for (who, broker) in [("producer", producer), ("viewer", viewer)] {
        denied(&format!("dequeue by a {who}"), refusal(broker.dequeue(bench.ask(&sweeper, 1))));
    }
    for (who, broker) in [("producer", producer), ("worker", worker), ("scheduler", scheduler)] {
        denied(&format!("stats by a {who}"), refusal(broker.stats()));
    }
    for (who, broker) in [("worker", worker), ("viewer", viewer)] {
        denied(&format!("enqueue by a {who}"), refusal(broker.enqueue(bench.batch(tasks(1)))));
    }
    // It may open sessions, for it sweeps: one without claims is left, and ends with its lease.
    let counts = || run(viewer.stats()).expect("counted");
    let before = counts();
    assert!(refusal(scheduler.dequeue(bench.ask(&bench.session(), 1))).is_denied());
    assert_eq!(counts(), before, "a dequeue by a scheduler moved something");
    let _ = users.refused();
}

/// A producer waits for ends; what runs would tell it the ids of others.
#[test]
fn a_producer_learns_that_a_task_ended_and_not_what_runs() {
    let users = Users::of(&["*"]);
    let clock = Arc::new(ManualClock::at(START));
    users.deploy(&clock);
    let open = |role| users.broker(role, &clock);
    let [producer, worker, viewer] = [Role::Producer, Role::Worker, Role::Viewer].map(open);
    let opened = Opened { broker: Arc::new(worker), guard: None };
    let bench = Bench::at(clock.clone(), opened);
    let batch = bench.batch(tasks(1));
    let id = batch.tasks[0].envelope.id();
    run(producer.enqueue(batch)).expect("stored");
    let state = |broker: &RedisBroker| {
        run(broker.show(bench.queue.clone(), id)).expect("shown").map(|view| view.state)
    };
    let seen = || [state(&producer), state(&viewer)];
    assert_eq!(seen(), [Some(State::Pending); 2]);
    let (session, claims) = bench.take_all();
    assert_eq!(seen(), [Some(State::Pending), Some(State::Active)]);
    bench.end(&session, &claims[0], keep(HOUR));
    assert_eq!(seen(), [Some(State::Completed); 2]);
    for words in ["HGETALL {}a:x", "HVALS {}a:x", "LRANGE {}dd 0 -1", "ZRANGE {}l 0 -1"] {
        refused(&users, Role::Producer, &words.replace("{}", "oncue:{test/default}:"));
    }
}

#[test]
fn a_queue_and_a_namespace_are_walls() {
    let users = Users::of(&["mail"]);
    let own = |key: &str| format!("oncue:{{test/mail}}:{key}");
    for role in [Role::Producer, Role::Worker, Role::Scheduler] {
        for tag in ["test/mail2", "test/mai", "other/mail", "test"] {
            refused(&users, role, &format!("FCALL oncue_1_beat 1 oncue:{{{tag}}}:t 1"));
            refused(&users, role, &format!("HSET oncue:{{{tag}}}:t a b"));
            refused(&users, role, &format!("HMGET oncue:{{{tag}}}:t a"));
            refused(&users, role, &format!("SUBSCRIBE oncue:{{{tag}}}:due"));
        }
    }
    for words in ["HGETALL", "HKEYS", "HVALS", "HSCAN", "HRANDFIELD", "DEL", "DUMP", "RESTORE"] {
        let more = match words {
            "HSCAN" => " 0",
            "RESTORE" => " 0 x",
            _ => "",
        };
        for role in Role::ALL {
            // Records are looked up by id; nobody can ask which there are.
            refused(&users, role, &format!("{words} {}{more}", own("t")));
        }
    }
    for words in ["HSET {} a b", "HSETNX {} 1 x", "SADD {} x", "DEL {}", "PUBLISH {} x"] {
        refused(&users, Role::Viewer, &words.replace("{}", &own("t")));
    }
    refused(&users, Role::Producer, &format!("PUBLISH {} x", own("ordered")));
    refused(&users, Role::Producer, &format!("SUBSCRIBE {}", own("ready")));
    refused(&users, Role::Viewer, &format!("SUBSCRIBE {}", own("settled")));
    refused(&users, Role::Viewer, &format!("FCALL oncue_1_stats 1 {}", own("t")));
}
