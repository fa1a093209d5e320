//! How a file looks: its length, its first line, its name, and words that must not stay in it.

use super::{Source, all_sources, assert_clean, assert_refused, words};

/// Longest file.
const LINES_MAX: usize = 500;
/// Names that say nothing of what is inside.
const NAMES: [&str; 5] = ["utils", "common", "helpers", "types", "messages"];
/// What is unfinished must not be committed.
const UNFINISHED: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

fn check(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut complain = |what: String| complaints.push(source.complain(what));
    let lines = source.text.lines().count();
    if lines > LINES_MAX {
        complain(format!("{lines} lines; at most {LINES_MAX}"));
    }
    if !source.text.starts_with("//! ") {
        complain("does not open with `//!`: say what it is".to_owned());
    }
    for part in source.path.trim_end_matches(".rs").split('/') {
        if NAMES.contains(&part) {
            complain(format!("is called {part}; name the concept"));
        }
    }
    for (number, line) in (1..).zip(source.text.lines()) {
        for word in UNFINISHED.iter().filter(|word| line.contains(**word)) {
            complain(format!("line {number}: {word}"));
        }
    }
    let code = source.code();
    for (number, line) in (1..).zip(code.lines()) {
        let line: String = line.split_whitespace().collect();
        for word in ["todo!(", "unimplemented!(", "dbg!("] {
            if line.contains(word) {
                complain(format!("line {number}: {word}..)"));
            }
        }
        if line.contains("#[ignore") {
            complain(format!("line {number}: an ignored test"));
        }
    }
    for (number, word) in words(&code).filter(|(_, word)| *word == "unsafe") {
        complain(format!("line {number}: {word}"));
    }
    complaints
}

#[test]
fn every_file_keeps_the_rules() {
    assert_clean(all_sources().iter().flat_map(check).collect());
}

#[test]
fn a_file_that_breaks_them_is_refused() {
    let long = format!("//! Long.\n{}", "\n".repeat(LINES_MAX));
    for (path, text, words) in [
        ("src/a.rs", &long[..], "501 lines"),
        ("src/a.rs", "use std::fmt;", "does not open"),
        ("src/utils.rs", "//! A.", "called utils"),
        ("src/helpers/a.rs", "//! A.", "called helpers"),
        ("src/a.rs", concat!("//! A.\n// TO", "DO: later"), concat!("TO", "DO")),
        ("src/a.rs", "//! A.\nfn f() { todo!() }", "todo!("),
        ("src/a.rs", "//! A.\nfn f() { unimplemented! () }", "unimplemented!("),
        ("tests/a.rs", "//! A.\n#[ignore = \"slow\"]", "an ignored test"),
        ("src/a.rs", "//! A.\nunsafe fn f() {}", "unsafe"),
    ] {
        assert_refused(&check(&Source::new(path, text)), words);
    }
    let fine = "//! A.\n#![forbid(unsafe_code)]\n// no unsafe, no todo!()\n";
    assert_clean(check(&Source::new("src/a.rs", fine)));
}
