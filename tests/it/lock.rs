//! What the lock file may hold: no banned crate, no license that `deny.toml` does not allow, one source.

use std::process::Command;

const LOCK: &str = include_str!("../../Cargo.lock");
const DENY: &str = include_str!("../../deny.toml");
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The quoted words of a list in `deny.toml`, first on its line or after `crate =`.
fn list(name: &str) -> Vec<&'static str> {
    let start = format!("\n{name} = [\n");
    let from = DENY.find(&start).expect("the list is there") + start.len();
    let lines = DENY[from..].lines().take_while(|line| *line != "]");
    lines.filter_map(|line| line.split('"').nth(1)).collect()
}

fn banned_in<'l>(lock: &'l str, bans: &[&str]) -> Vec<&'l str> {
    let names = lock.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    names.filter(|name| bans.contains(name)).collect()
}

fn foreign_in(lock: &str) -> Vec<&str> {
    let sources = lock.lines().filter_map(|line| line.strip_prefix("source = \""));
    sources.filter(|source| source.trim_end_matches('"') != REGISTRY).collect()
}

/// Whether a license expression can be met by the allowed licenses alone. `/` is an old way to write OR.
fn is_allowed(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = &words[..];
    any(&mut rest, allowed) == Some(true) && rest.is_empty()
}

fn any(rest: &mut &[&str], allowed: &[&str]) -> Option<bool> {
    let mut met = all(rest, allowed)?;
    while rest.first() == Some(&"OR") {
        *rest = &rest[1..];
        met |= all(rest, allowed)?;
    }
    Some(met)
}

fn all(rest: &mut &[&str], allowed: &[&str]) -> Option<bool> {
    let mut met = one(rest, allowed)?;
    while rest.first() == Some(&"AND") {
        *rest = &rest[1..];
        met &= one(rest, allowed)?;
    }
    Some(met)
}

fn one(rest: &mut &[&str], allowed: &[&str]) -> Option<bool> {
    let (word, after) = rest.split_first()?;
    *rest = after;
    if *word == "(" {
        let met = any(rest, allowed)?;
        let (")", after) = rest.split_first().map(|(word, after)| (*word, after))? else {
            return None;
        };
        *rest = after;
        return Some(met);
    }
    let mut license = (*word).to_owned();
    if let ["WITH", exception, after @ ..] = rest {
        license = format!("{license} WITH {exception}");
        *rest = after;
    }
    Some(allowed.contains(&license.as_str()))
}

/// `cargo metadata` for this platform, offline if that can be.
fn metadata() -> serde_json::Value {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let version = Command::new("rustc").arg("-vV").output().expect("rustc runs");
    let version = String::from_utf8(version.stdout).expect("text");
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host");
    let ask = |more: &[&str]| {
        Command::new(&cargo)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["metadata", "--locked", "--all-features", "--format-version", "1"])
            .args(["--filter-platform", host])
            .args(more)
            .output()
            .expect("cargo runs")
    };
    let mut answer = ask(&["--offline"]);
    if !answer.status.success() {
        answer = ask(&[]);
    }
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    serde_json::from_slice(&answer.stdout).expect("JSON")
}

#[test]
fn nothing_banned_is_locked() {
    let bans = list("deny");
    assert!(bans.contains(&"openssl-sys") && bans.contains(&"actix-governor"), "{bans:?}");
    assert_eq!(banned_in(LOCK, &bans), [""; 0]);
    assert_eq!(banned_in("[[package]]\nname = \"openssl\"\n", &bans), ["openssl"]);
}

#[test]
fn every_package_comes_from_the_public_registry() {
    assert_eq!(foreign_in(LOCK), [""; 0]);
    assert_eq!(foreign_in("source = \"git+https://example.org/x\"").len(), 1);
}

#[test]
fn every_license_is_allowed() {
    let allowed = list("allow");
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages");
    assert!(packages.len() > 50, "only {} packages", packages.len());
    let refused: Vec<String> = packages
        .iter()
        .filter(|package| !is_allowed(package["license"].as_str().unwrap_or(""), &allowed))
        .map(|package| format!("{} {}", package["name"], package["license"]))
        .collect();
    assert_eq!(refused, [""; 0], "not met by the licenses deny.toml allows");
}

#[test]
fn license_expressions_are_read_whole() {
    let allowed = ["MIT", "Apache-2.0", "ISC"];
    for good in [
        "MIT",
        "GPL-3.0 OR MIT",
        "Unlicense/MIT",
        "Apache-2.0 AND ISC",
        "(GPL-2.0 OR MIT) AND ISC",
        "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
    ] {
        assert!(is_allowed(good, &allowed), "{good}");
    }
    for bad in [
        "",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(MIT OR ISC) AND GPL-3.0",
        "Apache-2.0 WITH LLVM-exception",
        "MIT OR",
        "(MIT",
        "MIT ISC",
    ] {
        assert!(!is_allowed(bad, &allowed), "{bad}");
    }
}
