//! The documents say what is so: lists in them are compared with the files they speak of.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{assert_clean, assert_refused, read, sources};

/// Most lines of the hello program that are not blank.
const HELLO_LINES_MAX: usize = 20;

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// The part of a document under a heading.
fn section<'t>(text: &'t str, heading: &str) -> &'t str {
    let from = text.find(&format!("\n## {heading}\n")).map_or(text.len(), |at| at + 4);
    let rest = &text[from..];
    rest.find("\n## ").map_or(rest, |end| &rest[..end])
}

/// Every file and room that is named exists; every room is named; all invariants stand there.
fn check_map(text: &str, rooms: &BTreeSet<String>, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut complaints = Vec::new();
    let named: BTreeSet<&str> = quoted(text).collect();
    for path in &named {
        let is_path = ["src/", "tests/", "benches/", "examples/", "scripts/"]
            .iter()
            .any(|top| path.starts_with(top) && !path.contains(' '));
        if is_path && !exists(path) {
            complaints.push(format!("{path} is named and does not exist"));
        }
    }
    for room in rooms.iter().filter(|room| !named.contains(room.as_str())) {
        complaints.push(format!("{room} is not in the code map"));
    }
    for number in 1..=11 {
        if !text.contains(&format!("**I{number}**")) {
            complaints.push(format!("I{number} is missing"));
        }
    }
    complaints
}

/// The features a README tells of, against those of the manifest.
fn check_features(readme: &str, manifest: &str) -> Vec<String> {
    let rows = section(readme, "Features").lines().filter(|line| line.starts_with("| `"));
    let told: BTreeSet<&str> = rows.filter_map(|line| line.split('`').nth(1)).collect();
    let from = manifest.find("[features]\n").expect("features");
    let lines = manifest[from..].lines().skip(1).take_while(|line| !line.starts_with('['));
    let real: BTreeSet<&str> = lines
        .filter(|line| !line.starts_with([' ', '#', ']']))
        .filter_map(|line| line.split_once(" = ").map(|(name, _)| name))
        .filter(|name| *name != "default")
        .collect();
    let differs = real.symmetric_difference(&told);
    differs.map(|name| format!("feature {name} is only in one of README and Cargo.toml")).collect()
}

/// The first program of a README, against the example.
fn check_hello(readme: &str, example: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let program = readme.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next());
    if program != Some(example) {
        complaints.push("the first program is not examples/hello.rs".to_owned());
    }
    let lines = example.lines().filter(|line| !line.trim().is_empty()).count();
    if lines > HELLO_LINES_MAX {
        complaints.push(format!("hello has {lines} lines; at most {HELLO_LINES_MAX}"));
    }
    complaints
}

/// The statements of a benchmark that nobody else issues, spaces apart.
fn check_statements(bench: &str, broker: &str) -> Vec<String> {
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let issued = one_line(broker);
    let verbs = ["SELECT ", "INSERT ", "UPDATE ", "DELETE "];
    let texts = bench.split('"').skip(1).step_by(2).map(one_line);
    let own = texts.filter(|text| verbs.iter().any(|verb| text.starts_with(verb)));
    own.filter(|text| !issued.contains(&format!("\"{text}\""))).collect()
}

/// The paragraph that begins with these words, on one line.
fn paragraph(text: &str, begins: &str) -> String {
    let plain = text.replace("//! ", "").replace("//!", "").replace("> ", "");
    let from = plain.find(begins).unwrap_or(plain.len());
    let rest = plain[from..].split("\n\n").next().unwrap_or_default();
    rest.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The tests that a table names, against those there are: `room::file::name` is a `fn name` in a file of that name, or a
/// list of one.
fn check_tests(text: &str, sources: &[(String, String)]) -> Vec<String> {
    let named = text.lines().filter_map(|line| line.strip_prefix("| ")?.rsplit(" | ").next());
    let mut complaints = Vec::new();
    for test in named.flat_map(quoted).filter(|word| word.contains("::") && !word.contains("..")) {
        let mut parts: Vec<_> = test.split("::").collect();
        let name = parts.pop().unwrap_or_default();
        let place = parts.join("/");
        let place = place.trim_end_matches("/tests");
        let is_there = |(path, text): &(String, String)| {
            let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
            path.ends_with(&format!("/{place}")) && text.contains(&format!("fn {name}("))
        };
        let is_type = parts.iter().any(|part| part.starts_with(char::is_uppercase));
        if !is_type && !sources.iter().any(is_there) {
            complaints.push(format!("{test} is named and does not exist"));
        }
    }
    complaints
}

fn rooms() -> BTreeSet<String> {
    let files = sources(&["src"]).into_iter();
    let tops = files.map(|source| source.path.split('/').nth(1).unwrap_or_default().to_owned());
    let tops: BTreeSet<String> = tops.map(|top| format!("src/{top}")).collect();
    // A room in two parts, `x.rs` and `x/`, is named once, as its file.
    let split = |room: &String| !room.ends_with(".rs") && tops.contains(&format!("{room}.rs"));
    tops.iter().filter(|room| !split(room)).cloned().collect()
}

#[test]
fn architecture_tells_of_what_there_is() {
    let exists = |path: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists();
    let text = read("ARCHITECTURE.md");
    assert_clean(check_map(&text, &rooms(), exists));
    let lines = text.lines().count();
    assert!(lines <= 200, "ARCHITECTURE.md has {lines} lines; at most 200");
}

#[test]
fn a_map_that_lies_is_refused() {
    let rooms = BTreeSet::from(["src/a".to_owned(), "src/b.rs".to_owned()]);
    let complaints =
        check_map("`src/a` and `src/gone.rs`; **I1**, **I10**", &rooms, |path| path == "src/a");
    assert_refused(&complaints, "src/gone.rs is named");
    assert_refused(&complaints, "src/b.rs is not in");
    assert_refused(&complaints, "I11 is missing");
    assert!(!complaints.iter().any(|line| line.starts_with("I10") || line.contains("src/a ")));
}

#[test]
fn readme_tells_the_features() {
    let readme = read("README.md");
    let manifest = read("Cargo.toml");
    assert_clean(check_features(&readme, &manifest));
    let less = readme.replace("| `sqlite` |", "| `postgres` |");
    assert_refused(&check_features(&less, &manifest), "feature sqlite");
    assert_refused(&check_features(&less, &manifest), "feature postgres");
}

#[test]
fn readme_opens_with_the_hello_program() {
    let (readme, example) = (read("README.md"), read("examples/hello.rs"));
    assert_clean(check_hello(&readme, &example));
    let long = format!("{example}{}", "// more\n".repeat(HELLO_LINES_MAX));
    assert_refused(&check_hello(&readme, &long), "not examples/hello.rs");
    assert_refused(&check_hello(&readme, &long), "at most 20");
}

#[test]
fn hello_is_formatted() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/hello.rs");
    let run = Command::new("rustfmt")
        .args(["--check", "--edition", "2024", path])
        .stdout(Stdio::null())
        .status()
        .expect("rustfmt runs");
    assert!(run.success(), "examples/hello.rs is not as rustfmt writes it");
}

#[test]
fn the_promise_is_told_in_the_same_words_everywhere() {
    let begins = "A task whose enqueue returned Ok";
    let promise = paragraph(&read("src/lib.rs"), begins);
    assert!(promise.ends_with("only one of them can settle."), "{promise}");
    for document in ["README.md", "ARCHITECTURE.md"] {
        assert_eq!(paragraph(&read(document), begins), promise, "{document}");
    }
    assert_ne!(paragraph("A task whose enqueue returned Ok runs once.", begins), promise);
}

#[test]
fn what_is_said_of_asynq_is_shown_by_tests_that_exist() {
    let text = read("docs/from-asynq.md");
    let table = section(&text, "Line by line");
    let files = sources(&["src", "tests"]).into_iter();
    let files: Vec<_> = files.map(|source| (source.path, source.text)).collect();
    assert!(table.lines().filter(|line| line.starts_with("| ")).count() > 35, "a table");
    assert_clean(check_tests(table, &files));
    let renamed = table.replace("sigterm_waits_for", "sigterm_hurries");
    assert_refused(&check_tests(&renamed, &files), "sigterm_hurries");
}

#[test]
fn the_ceiling_issues_the_statements_of_the_broker() {
    let bench = read("benches/ceiling.rs");
    let broker: String =
        sources(&["src/broker/sqlite"]).into_iter().map(|source| source.text).collect();
    assert_clean(check_statements(&bench, &broker));
    let altered = bench.replace("place > ?4 ORDER BY place", "place > ?4");
    assert_refused(&check_statements(&altered, &broker), "SELECT row, place");
}
