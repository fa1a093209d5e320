//! Nothing more: every command of the server, on every key and channel there is and on those of others, is allowed
//! if and only if the table says so. Asked by `ACL DRYRUN`, which runs nothing.

use oncue::broker::redis::acl::{Role, grants, places};
use redis::Value;

use super::users::{NAMESPACE, Users};
use crate::fixture::queue;

/// What Redis lets anybody say who is connected.
const ANYBODY: [&str; 4] = ["auth", "hello", "quit", "reset"];

/// A command of the server, how many words it has at least, and whether it may have more.
struct Known {
    name: String,
    words: usize,
    open: bool,
}

fn commands(users: &Users) -> Vec<Known> {
    let names: Vec<String> = users.server.ask(&["COMMAND", "LIST"]);
    let mut ask = vec!["COMMAND", "INFO"];
    ask.extend(names.iter().map(String::as_str));
    let told: Vec<Vec<Value>> = users.server.ask(&ask);
    let known = |(name, info): (&String, &Vec<Value>)| {
        let Some(Value::Int(arity)) = info.get(1) else { panic!("{name}: {info:?}") };
        let words = usize::try_from(arity.abs()).expect("few");
        Known { name: name.clone(), words, open: *arity < 0 }
    };
    // What only stands before a second word cannot be called.
    let alone = |known: &Known| {
        let family = format!("{}|", known.name);
        !names.iter().any(|name| name.starts_with(&family))
    };
    names.iter().zip(&told).map(known).filter(alone).collect()
}

/// The words of a call of this command that has this key wherever it may have one.
fn call(command: &Known, key: &str) -> Vec<String> {
    let mut words: Vec<String> = command.name.split('|').map(str::to_owned).collect();
    if command.name.starts_with("fcall") {
        words.extend(["function", "1"].map(str::to_owned));
        words.push(key.to_owned());
    }
    while words.len() < command.words + usize::from(command.open && command.words < 2) {
        words.push(key.to_owned());
    }
    words
}

/// Whether the table allows a command on the key of this name; none: of somebody else.
fn allowed(grants: &[(&str, Vec<&str>)], command: &str, place: Option<&str>) -> bool {
    let found = grants.iter().find(|(name, _)| name.eq_ignore_ascii_case(command));
    let Some((_, keys)) = found else { return ANYBODY.contains(&command) };
    let covers = |granted: &str, name: &str| match granted.strip_suffix('*') {
        Some(family) => name.starts_with(family),
        None => granted == name,
    };
    keys.is_empty() || place.is_some_and(|name| keys.iter().any(|granted| covers(granted, name)))
}

#[test]
fn roles_may_what_the_table_says_and_nothing_else() {
    let users = Users::of(&["mail"]);
    let commands = commands(&users);
    assert!(commands.len() > 300, "{} commands", commands.len());
    let own = places(NAMESPACE, &queue("mail"));
    let mut places_asked: Vec<_> =
        own.iter().map(|(name, key)| (Some(*name), key.clone())).collect();
    let other_queue = places(NAMESPACE, &queue("mail2"))
        .into_iter()
        .filter(|(name, _)| *name == "t" || *name == "settled");
    let elsewhere = places("other", &queue("mail")).into_iter();
    let elsewhere = elsewhere.filter(|(name, _)| ["t", "ready", "queues", "keys"].contains(name));
    places_asked.extend(other_queue.chain(elsewhere).map(|(_, key)| (None, key)));
    places_asked.push((None, "x".to_owned()));
    let mut admin = users.server.admin().expect("a connection");
    let (mut wrong, mut asked) = (Vec::new(), 0);
    for role in Role::ALL {
        let grants = grants(role);
        for command in &commands {
            let mut pipe = redis::pipe();
            for (_, key) in &places_asked {
                pipe.cmd("ACL").arg("DRYRUN").arg(role.as_str()).arg(call(command, key));
            }
            let answers: Vec<Value> = pipe.query(&mut admin).unwrap_or_else(|error| {
                panic!("{}: {error}", command.name);
            });
            for ((name, key), answer) in places_asked.iter().zip(answers) {
                let may = answer == Value::Okay || answer == Value::SimpleString("OK".into());
                if may != allowed(&grants, &command.name, *name) {
                    wrong.push(format!("{role}: {} {key:?}: {answer:?}", command.name));
                }
                asked += 1;
            }
        }
    }
    assert!(asked > 50_000, "{asked}");
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn a_right_too_many_or_too_few_is_seen() {
    let table = [("HSET", vec!["t", "a:*"]), ("PING", vec![])];
    for (command, place, may) in [
        ("hset", Some("t"), true),
        ("hset", Some("a:*"), true),
        ("hset", Some("tr"), false),
        ("hset", None, false),
        ("ping", None, true),
        ("hget", Some("t"), false),
        ("auth", None, true),
    ] {
        assert_eq!(allowed(&table, command, place), may, "{command} {place:?}");
    }
}
