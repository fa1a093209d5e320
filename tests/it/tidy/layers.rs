//! Who may import whom: a room knows only groups below its own, and each driver has one home.

use super::{Source, assert_clean, assert_refused, sources, words};

/// Every room and its group: 0 vocabulary, 1 record, 2 contract, 3 brokers, 4 composition, 5 runtime, 6 faces.
const ROOMS: &[(&str, u8)] = &[
    ("clock", 0),
    ("codec", 0),
    ("cron", 0),
    ("error", 0),
    ("failpoint", 0),
    ("outcome", 0),
    ("panic", 0),
    ("queue", 0),
    ("restart", 0),
    ("retry", 0),
    ("secret", 0),
    ("state", 0),
    ("task", 0),
    ("envelope", 1),
    ("seal", 1),
    ("broker", 2),
    ("broker/redis", 3),
    ("broker/sqlite", 3),
    ("connect", 4),
    ("client", 5),
    ("event", 5),
    ("handler", 5),
    ("isolate", 5),
    ("outbox", 5),
    ("timetable", 5),
    ("worker", 5),
    ("cli", 6),
    ("lib", 6),
    ("main", 6),
    ("testing", 6),
];

/// What a group may import beside itself, by group. Brokers and composition are named room by room.
const MAY: [&[u8]; 7] = [&[], &[0], &[0, 1], &[0, 1, 2], &[0, 2, 3], &[0, 1, 2], &[0, 1, 2, 4, 5]];

/// Pairs within a group, or to a higher right, that are refused all the same.
const NEVER: &[(&str, &str)] = &[
    ("broker/redis", "broker/sqlite"),
    ("broker/sqlite", "broker/redis"),
    ("broker/redis", "seal"),
    ("broker/sqlite", "seal"),
    ("handler", "worker"),
    ("handler", "client"),
    ("worker", "client"),
    // Who enqueues knows nothing of what carries parcels.
    ("client", "outbox"),
    ("worker", "outbox"),
    // Processes know nothing of tasks' ends, actors or workers.
    ("isolate", "client"),
    ("isolate", "event"),
    ("isolate", "handler"),
    ("isolate", "worker"),
];

/// Exceptions: `connect` makes the sealer; the test kit its broker, with a clock of its own; brokers carry sealed bytes, which they cannot open.
const ALSO: &[(&str, &str)] = &[
    ("connect", "seal"),
    ("testing", "broker::sqlite"),
    ("broker/sqlite", "seal::Sealed"),
    ("broker/redis", "seal::Sealed"),
];

/// Foreign crates and modules, and the only rooms that may name them.
const HOMES: &[(&str, &[&str])] = &[
    ("actix", &["worker", "handler", "lib", "cli", "main"]),
    ("actix_rt", &["worker", "handler", "lib", "cli", "main"]),
    ("bincode", &["codec"]),
    ("clap", &["cli", "main"]),
    ("comfy_table", &["cli", "main"]),
    ("croner", &["cron"]),
    ("httpdate", &["handler"]),
    ("hyper", &["handler"]),
    ("hyper_util", &["handler"]),
    ("indicatif", &["cli", "main"]),
    ("jiff", &["cron"]),
    ("landlock", &["isolate"]),
    ("nix", &["isolate"]),
    ("percent_encoding", &["broker/redis"]),
    ("redis", &["broker/redis"]),
    // Random passwords, and digests of what is no secret; signatures of webhooks.
    ("ring", &["broker/redis", "handler", "seal", "cli"]),
    // The broker's file, and the outbox in an application's.
    ("rusqlite", &["broker/sqlite", "outbox"]),
    ("rustls", &["broker/redis", "handler"]),
    ("rustls_native_certs", &["handler"]),
    ("seccompiler", &["isolate"]),
    ("tokio_rustls", &["handler"]),
    ("toml", &["cli"]),
    ("tracing_subscriber", &["cli", "main"]),
];

/// A room in a layer that is called: the modules of a path and the room it leads to.
fn room_of(path: &[String]) -> Option<&'static (&'static str, u8)> {
    let two = path.get(..2).map(|two| two.join("/"));
    let named = |name: &str| ROOMS.iter().find(|(room, _)| *room == name);
    two.and_then(|two| named(&two)).or_else(|| named(path.first()?))
}

/// The module path of a file in `src`.
fn module_of(path: &str) -> Vec<String> {
    let path = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').map(str::to_owned).collect()
}

/// Everything a `::` tree names, as paths: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn tree(code: &str, prefix: &[String], found: &mut Vec<Vec<String>>) {
    let code = code.trim_start();
    if let Some(list) = code.strip_prefix('{') {
        let (mut depth, mut from) = (0, 0);
        for (at, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                ',' if depth == 0 => {
                    tree(&list[from..at], prefix, found);
                    from = at + 1;
                }
                '}' if depth == 0 => return tree(&list[from..at], prefix, found),
                '}' => depth -= 1,
                _ => {}
            }
        }
        return;
    }
    let end = code.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(code.len());
    if end == 0 {
        return;
    }
    let path = [prefix, &[code[..end].to_owned()]].concat();
    match code[end..].trim_start().strip_prefix("::") {
        Some(rest) if !rest.trim_start().starts_with('<') => tree(rest, &path, found),
        _ => found.push(path),
    }
}

/// Every path of this crate that a file names, from the root of the crate.
fn paths(source: &Source) -> Vec<Vec<String>> {
    let code = source.code();
    // What tests import is their own business.
    let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let (module, mut found) = (module_of(&source.path), Vec::new());
    let is_root = matches!(&source.path[..], "src/lib.rs" | "src/main.rs");
    for start in ["crate", "super", "self"] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back();
            let Some(mut rest) = code[at + start.len()..].trim_start().strip_prefix("::") else {
                continue;
            };
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let mut base = match start {
                "crate" => Vec::new(),
                "self" if is_root => Vec::new(),
                "self" => module.clone(),
                _ => module[..module.len() - 1].to_vec(),
            };
            while let Some(higher) = rest.trim_start().strip_prefix("super::") {
                base.pop();
                rest = higher;
            }
            tree(rest, &base, &mut found);
        }
    }
    found
}

/// What the root exports, as paths into rooms: `crate::Error` is `error::Error`.
fn exports(root: &Source) -> Vec<Vec<String>> {
    let (code, mut found) = (root.code(), Vec::new());
    for (at, start) in code.match_indices("pub use ") {
        tree(&code[at + start.len()..], &[], &mut found);
    }
    found
}

/// A path by way of an export of the root: `crate::Error::invalid` is `error::Error::invalid`.
fn resolve(path: Vec<String>, exports: &[Vec<String>]) -> Vec<String> {
    match exports.iter().find(|export| export.last() == path.first()) {
        Some(export) if room_of(&path).is_none() => [&export[..], &path[1..]].concat(),
        _ => path,
    }
}

fn check_layers(source: &Source, exports: &[Vec<String>]) -> Vec<String> {
    let module = module_of(&source.path);
    let Some((room, group)) = room_of(&module) else {
        return vec![source.complain("is in no room; name the room in tests/it/tidy/layers.rs")];
    };
    let mut complaints = Vec::new();
    for path in paths(source) {
        let path = &resolve(path, exports);
        let Some((other, other_group)) = room_of(path) else {
            if *group < 6 {
                complaints.push(source.complain(format!("{} is in no room", path.join("::"))));
            }
            continue;
        };
        let also = ALSO.iter().any(|(from, to)| {
            let named = path.join("::");
            from == room && (named == *to || named.starts_with(&format!("{to}::")))
        });
        let may =
            other == room || group == other_group || MAY[usize::from(*group)].contains(other_group);
        if !also && (!may || NEVER.contains(&(room, other))) {
            complaints.push(source.complain(format!(
                "{room} (group {group}) imports {} of {other} (group {other_group})",
                path.join("::")
            )));
        }
    }
    // The binary sees the library by its name.
    if source.code().contains("oncue::broker::sqlite")
        || source.code().contains("oncue::broker::redis")
    {
        complaints.push(source.complain("names the inside of a broker; use a URL"));
    }
    complaints
}

fn check_homes(source: &Source) -> Vec<String> {
    let Some((room, group)) = room_of(&module_of(&source.path)) else { return Vec::new() };
    let code = source.code();
    let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut complaints = Vec::new();
    for (number, word) in words(code) {
        for (name, homes) in HOMES {
            if word == *name && !homes.contains(room) && is_path(code, number, name) {
                complaints.push(source.complain(format!("line {number}: {name} in {room}")));
            }
        }
        // The Redis broker's driver is asynchronous and lives on a runtime; SQLite's is not. Both share marks,
        // on which any runtime may wait.
        let on_runtime = *group > 3
            || *room == "broker/redis"
            || source.path == "src/broker/marks.rs" && is_sync(code, number);
        if word == "tokio" && !on_runtime && (*group < 3 || !is_sync(code, number)) {
            complaints.push(source.complain(format!("line {number}: tokio in {room}")));
        }
    }
    complaints
}

/// Whether the word stands for a crate there: followed by `::`, or used whole.
fn is_path(code: &str, number: usize, name: &str) -> bool {
    let line = code.lines().nth(number - 1).unwrap_or_default();
    let own = line.contains(&format!("::{name}"));
    !own && (line.contains(&format!("{name}::")) || line.contains(&format!("use {name}")))
}

fn is_sync(code: &str, number: usize) -> bool {
    let line = code.lines().nth(number - 1).unwrap_or_default();
    line.contains("tokio::sync")
}

fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

#[test]
fn every_room_imports_only_what_lies_below() {
    let sources = sources(&["src"]);
    let root = sources.iter().find(|source| source.path == "src/lib.rs").expect("lib.rs");
    let exports = exports(root);
    assert!(exports.len() > 15, "{exports:?}");
    let own = sources.iter().filter(|source| !is_test(&source.path));
    assert_clean(own.flat_map(|source| check_layers(source, &exports)).collect());
}

#[test]
fn an_upward_import_is_refused() {
    let exports = exports(&Source::new("src/lib.rs", "pub use client::{Client, Handle};"));
    for (path, text, words) in [
        ("src/task/mod.rs", "use crate::{clock::Clock, seal::Sealer};", "seal::Sealer of seal"),
        ("src/state.rs", "fn f(c: crate::Client) {}", "client::Client of client"),
        ("src/queue.rs", "use super::connect::Connect;", "connect::Connect of connect"),
        ("src/broker/sqlite/mod.rs", "use crate::seal::{Sealed, Sealer};", "seal::Sealer"),
        ("src/broker/sqlite/mod.rs", "use super::redis::X;", "of broker/redis"),
        ("src/broker/mod.rs", "use self::sqlite::X;", "of broker/sqlite"),
        ("src/worker/mod.rs", "use crate::broker::sqlite::X;", "of broker/sqlite"),
        ("src/worker/turn.rs", "use super::super::client::X;", "of client"),
        ("src/client/parcel.rs", "use crate::outbox::Relay;", "of outbox"),
        ("src/isolate/pool.rs", "use crate::handler::Runner;", "of handler"),
        ("src/cli/task.rs", "use oncue::broker::sqlite::X;", "inside of a broker"),
        ("src/attic.rs", "", "is in no room"),
        ("src/clock.rs", "use crate::attic::Box;", "is in no room"),
    ] {
        assert_refused(&check_layers(&Source::new(path, text), &exports), words);
    }
    let fine = "//! See crate::worker.\nuse crate::seal::Sealed;\nuse crate::broker::Broker;";
    assert_clean(check_layers(&Source::new("src/broker/sqlite/mod.rs", fine), &exports));
}

#[test]
fn every_driver_has_one_home() {
    let sources = sources(&["src"]);
    let own = sources.iter().filter(|source| !is_test(&source.path));
    assert_clean(own.flat_map(check_homes).collect());
}

#[test]
fn a_driver_elsewhere_is_refused() {
    for (path, text, words) in [
        ("src/client.rs", "use actix::Addr;", "actix in client"),
        ("src/broker/mod.rs", "use tokio::sync::Notify;", "tokio in broker"),
        ("src/broker/sqlite/wake.rs", "tokio::spawn(f);", "tokio in broker/sqlite"),
        ("src/seal/mod.rs", "let x = bincode::decode();", "bincode in seal"),
        ("src/codec.rs", "use ring::digest;", "ring in codec"),
        ("src/cli/cron/preview.rs", "jiff::Timestamp::now()", "jiff in cli"),
    ] {
        assert_refused(&check_homes(&Source::new(path, text)), words);
    }
    let fine = "use tokio::sync::oneshot; // actix::x";
    assert_clean(check_homes(&Source::new("src/broker/sqlite/wake.rs", fine)));
}
