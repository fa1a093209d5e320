//! The table against the code: it cannot lack what a file of Lua or Rust says.

use std::collections::BTreeSet;
use std::path::Path;

use super::duty::{CONNECT, duty};
use super::shared::SHARED;
use super::table::{Call, FUNCTIONS, Piece, calls_of};
use super::*;

/// Commands that go to a Sentinel, which has users of its own.
const TO_SENTINELS: [&str; 2] = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME"];
/// Files of Lua that are no function, but hold what functions share.
const SHARES: [&str; 5] = ["prelude", "group", "lock", "task", "tick"];
/// Words that are parts of commands, not commands.
const PARAMETERS: [&str; 4] = ["REPLACE", "LIBRARYNAME", "WITHCODE", "PX"];

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/broker/redis").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn files(folder: &str, ends: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/broker/redis").join(folder);
    let entries = std::fs::read_dir(path).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string());
    names.map(|name| name.expect("UTF-8")).filter(|name| name.ends_with(ends)).collect()
}

/// The code without its comments.
fn code(lua: &str) -> String {
    lua.lines()
        .map(|line| line.split("--").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// What stands between quotes.
fn quoted(text: &str) -> Option<(&str, &str)> {
    text.trim_start().strip_prefix('\'')?.split_once('\'')
}

/// Every command of a piece of Lua, with its key where that is written out; of several alternatives the first.
fn said(lua: &str) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    for start in ["call(", "each(", "line_up(b,", "join(b,"] {
        for (at, _) in lua.match_indices(start) {
            let before = lua[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let Some((command, rest)) = quoted(&lua[at + start.len()..]) else { continue };
            let key = rest.trim_start().strip_prefix(',').map(str::trim_start);
            let key = key.and_then(|rest| rest.strip_prefix("b .. ")).and_then(quoted);
            // `'a:' .. session` is one of the family `a:*`.
            let key = key.map(|(name, rest)| match rest.trim_start().starts_with("..") {
                true => format!("{name}*"),
                false => name.to_owned(),
            });
            found.push((command.to_owned(), key));
        }
    }
    found
}

/// What a file says and the table does not.
fn missing(lua: &str, calls: &[Call]) -> Vec<String> {
    let lacks = |(command, key): &(String, Option<String>)| {
        let mut of_command = calls.iter().filter(|call| call.0 == command);
        !of_command.any(|call| key.as_deref().is_none_or(|key| call.1.contains(&key)))
    };
    let said = said(&code(lua)).into_iter().filter(lacks);
    said.map(|(command, key)| format!("{command} {}", key.unwrap_or_default())).collect()
}

#[test]
fn the_table_has_what_each_function_does() {
    let mut named = BTreeSet::new();
    for file in files("lua", ".lua") {
        let (name, text) = (file.trim_end_matches(".lua").to_owned(), read(&format!("lua/{file}")));
        let shared: Vec<Call> =
            SHARED.iter().flat_map(|piece| piece.calls.iter().copied()).collect();
        match &name[..] {
            "arm" | "probe" | "clock_given" => assert_eq!(said(&code(&text)), [], "{file}"),
            "clock" => assert_eq!(missing(&text, &shared), [""; 0], "{file}"),
            shares if SHARES.contains(&shares) => {
                assert_eq!(missing(&text, &shared), [""; 0], "{file}")
            }
            function => {
                let own = calls_of(function, &[]);
                assert_eq!(missing(&text, &own), [""; 0], "{file}");
                named.insert(name);
            }
        }
    }
    let told: BTreeSet<_> = FUNCTIONS.iter().map(|piece| piece.name.to_owned()).collect();
    assert_eq!(told, named, "functions in the table and files of Lua");
}

#[test]
fn the_table_has_nothing_that_is_not_done() {
    let all = files("lua", ".lua")
        .iter()
        .map(|file| code(&read(&format!("lua/{file}"))))
        .collect::<String>();
    for piece in FUNCTIONS.iter().chain(SHARED) {
        let own = match SHARED.iter().any(|shared| shared.name == piece.name) {
            true => all.clone(),
            false => code(&read(&format!("lua/{}.lua", piece.name))),
        };
        for (command, _) in piece.calls {
            assert!(own.contains(&format!("'{command}'")), "{} does no {command}", piece.name);
        }
    }
}

#[test]
fn what_functions_share_is_told() {
    let body = |name: &str| {
        let all: String = SHARES.map(|name| code(&read(&format!("lua/{name}.lua")))).concat();
        let from = all.find(&format!("local function {name}(")).unwrap_or(all.len());
        all[from..].split("\nend").next().unwrap_or_default().to_owned()
    };
    let check = |piece: &Piece, lua: &str| {
        for shared in SHARED.iter().filter(|shared| shared.name != piece.name) {
            let used = lua.match_indices(&format!("{}(", shared.name)).any(|(at, _)| {
                let before = &lua[..at];
                !before.ends_with("function ")
                    && !before.ends_with(|c: char| c.is_alphanumeric() || c == '_')
            });
            let told = piece.shares.contains(&shared.name);
            assert_eq!(used, told, "{} and {}", piece.name, shared.name);
        }
    };
    for piece in FUNCTIONS {
        check(piece, &code(&read(&format!("lua/{}.lua", piece.name))));
    }
    for piece in SHARED {
        check(piece, &body(piece.name));
    }
}

#[test]
fn a_table_that_lacks_something_is_refused() {
    let lua = "call('HSET', b .. 'k', id, c) -- call('GET', b .. 'x')\neach('SREM', b .. 'a:' .. s, l)\ncall('TIME')";
    let whole: &[Call] = &[("HSET", &["k"]), ("SREM", &["a:*"]), ("TIME", &[])];
    assert_eq!(missing(lua, whole), [""; 0]);
    assert_eq!(missing(lua, &whole[1..]), ["HSET k"]);
    assert_eq!(missing(lua, &[("HSET", &["t"]), whole[1], whole[2]]), ["HSET k"]);
    assert_eq!(missing(lua, &whole[..2]), ["TIME "]);
}

/// Commands the broker sends, by the words of its code.
fn sent(rust: &str) -> BTreeSet<String> {
    let own = rust.split("#[cfg(test)]").next().unwrap_or_default();
    let mut found = BTreeSet::new();
    for start in ["arg(\"", "cmd(\""] {
        for (at, _) in own.match_indices(start) {
            let word = own[at + start.len()..].split('"').next().unwrap_or_default();
            let capital = |c: char| c.is_ascii_uppercase() || c == '_' || c == '-';
            if word.len() > 2 && word.chars().all(capital) {
                found.insert(word.to_owned());
            }
        }
    }
    found
}

#[test]
fn the_table_has_what_the_broker_sends() {
    let duties = Role::ALL.iter().flat_map(|role| duty(*role).native);
    let told: BTreeSet<&str> =
        CONNECT.iter().chain(duties).flat_map(|(command, _)| command.split('|')).collect();
    let mut sent_by_us = BTreeSet::new();
    for file in files("", ".rs") {
        sent_by_us.extend(sent(&read(&file)));
    }
    assert!(sent_by_us.len() > 15, "{sent_by_us:?}");
    for word in &sent_by_us {
        let known = told.contains(&word[..])
            || TO_SENTINELS.contains(&&word[..])
            || PARAMETERS.contains(&&word[..]);
        assert!(known, "the broker sends {word}, and no role of the table may");
    }
    assert_eq!(sent("x.arg(\"GETDEL\").arg(\"x\"); redis::cmd(\"SCAN\")").len(), 2);
}

#[test]
fn every_name_is_of_a_key() {
    let inside = FUNCTIONS.iter().chain(SHARED).flat_map(|piece| piece.calls);
    let native = Role::ALL.iter().flat_map(|role| duty(*role).native);
    for (command, keys) in inside.chain(native) {
        let channels = matches!(*command, "PUBLISH" | "SUBSCRIBE");
        for name in *keys {
            let all = || QUEUE_KEYS.iter().chain(NAMESPACE_KEYS);
            let key = all().find(|key| key.name == *name);
            let key = key.unwrap_or_else(|| panic!("{command}: no key {name}"));
            assert_eq!(key.kind == Type::Channel, channels, "{command} {name}");
        }
    }
    for key in NAMESPACE_KEYS {
        let same = QUEUE_KEYS.iter().find(|other| other.name == key.name);
        assert!(same.is_none_or(|other| other.kind == key.kind), "{} is two", key.name);
    }
}

#[test]
fn a_line_is_what_redis_reads() {
    let scope = Scope::new("shop", ["mail"]).expect("a scope");
    let password = Password::generate().expect("a password");
    let line = user_line("ci", std::slice::from_ref(&password), &[Role::Deployer], &scope)
        .expect("a line");
    let digest = password.sha256();
    assert_eq!(
        line,
        format!(
            "user ci on resetpass #{digest} resetkeys resetchannels -@all +asking +auth +client|setname \
             +cluster|nodes +cluster|slots +function|list +function|load +function|stats +hello +info +ping +role"
        )
    );
    assert!(!line.contains(password.reveal()) && !format!("{password:?}").contains(&digest));
    let rules = rules(&[Role::Viewer], &scope);
    assert!(rules.contains(" %R~oncue:{shop/mail}:t %R~oncue:{shop}:workers %R~oncue:{shop/mail}:never %R~oncue:{shop}:never (+"), "{rules}");
    assert!(rules.contains("(+smembers ") && rules.contains(" ~oncue:{shop}:queues)"), "{rules}");
    let both =
        super::rules(&[Role::Producer, Role::Worker], &Scope::new("a", ["*"]).expect("a scope"));
    assert!(both.contains("(resetchannels +publish &oncue:{a/*}:due "), "{both}");
}

#[test]
fn what_cannot_stand_in_an_acl_is_refused() {
    for (namespace, queue) in
        [("a/b", "q"), ("a*", "q"), ("", "q"), ("a", "q*"), ("a", "q ~*"), ("a", "q}:x{")]
    {
        assert!(Scope::new(namespace, [queue]).expect_err("refused").is_invalid());
    }
    let scope = Scope::new("a", ["q"]).expect("a scope");
    assert!(Scope::new("a", []).expect_err("none").is_invalid());
    assert!(user_line("u", &[], &[Role::Viewer], &scope).expect_err("nopass").is_invalid());
    let password = [Password::generate().expect("a password")];
    for name in ["", "a b", "a\n", "a+"] {
        assert!(user_line(name, &password, &[Role::Viewer], &scope).is_err(), "{name:?}");
    }
    let error = "vewer".parse::<Role>().expect_err("unknown");
    assert!(error.to_string().contains("did you mean \"viewer\"?"), "{error}");
}
