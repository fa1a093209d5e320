//! The rules of the house as tests: layers, files, documents. Each rule is also shown a sample it must refuse.

mod docs;
mod layers;
mod text;

use std::fs;
use std::path::Path;

/// A file of the project.
struct Source {
    /// Relative to the project, with `/`.
    path: String,
    text: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// The text without comments and without the insides of literals; lines stay where they are.
    fn code(&self) -> String {
        strip(&self.text)
    }

    fn complain(&self, what: impl std::fmt::Display) -> String {
        format!("{}: {what}", self.path)
    }
}

fn read(path: &str) -> String {
    let full = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&full).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every Rust file below these directories, sorted.
fn sources(directories: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    let mut open: Vec<String> = directories.iter().map(|name| (*name).to_owned()).collect();
    while let Some(directory) = open.pop() {
        let full = Path::new(env!("CARGO_MANIFEST_DIR")).join(&directory);
        let Ok(entries) = fs::read_dir(full) else { continue };
        for entry in entries {
            let entry = entry.expect("an entry");
            let path = format!("{directory}/{}", entry.file_name().to_string_lossy());
            if entry.file_type().expect("a type").is_dir() {
                open.push(path);
            } else if path.ends_with(".rs") {
                found.push(Source::new(&path, &read(&path)));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 3, "found only {} files in {directories:?}", found.len());
    found
}

fn all_sources() -> Vec<Source> {
    sources(&["src", "tests", "examples", "benches"])
}

#[track_caller]
fn assert_clean(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// The negative control: the sample must be complained about, in these words.
#[track_caller]
fn assert_refused(complaints: &[String], words: &str) {
    assert!(complaints.iter().any(|line| line.contains(words)), "{complaints:?} lack {words:?}");
}

/// Words of Rust: identifiers and keywords, with the number of their line.
fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(code.lines()).flat_map(|(number, line)| {
        let parts = line.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        parts.filter(|word| !word.is_empty()).map(move |word| (number, word))
    })
}

/// Blanks comments and the insides of string and character literals.
fn strip(text: &str) -> String {
    let (bytes, mut out, mut at) = (text.as_bytes(), String::with_capacity(text.len()), 0);
    let blank = |out: &mut String, from: usize, to: usize| {
        out.extend(text[from..to].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
    };
    while at < bytes.len() {
        let rest = &text[at..];
        let word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if rest.starts_with('"') || !word && rest.starts_with("b\"") {
            quoted(rest, rest.find('"').unwrap_or(0) + 1)
        } else if let Some(hashes) = raw_string(rest).filter(|_| !word) {
            let end = format!("\"{}", "#".repeat(hashes));
            let body = rest.find('"').unwrap_or(0) + 1;
            rest[body..].find(&end).map_or(rest.len(), |found| body + found + end.len())
        } else if rest.starts_with('\'') {
            character(rest)
        } else {
            0
        };
        if length > 0 {
            blank(&mut out, at, at + length);
            at += length;
        } else {
            let c = rest.chars().next().expect("not at the end");
            out.push(c);
            at += c.len_utf8();
        }
    }
    out
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// The length of a string that begins before `body`.
fn quoted(rest: &str, body: usize) -> usize {
    let mut escaped = false;
    for (at, c) in rest[body..].char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return body + at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// How many hashes a raw string has, if this is one.
fn raw_string(rest: &str) -> Option<usize> {
    let rest = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    rest[hashes..].starts_with('"').then_some(hashes)
}

/// The length of a character literal; of a lifetime none.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some(_)) => rest[3..].find('\'').map_or(0, |end| end + 4),
        (Some(_), Some((end, '\''))) => end + 1,
        _ => 0,
    }
}

#[test]
fn comments_and_literals_are_no_code() {
    let text =
        "a /* x /* y */ z */ \"s\\\"//\" b // c\n'\\'' 'x' &'life r#\"raw\"#\n\"two\nlines\" end";
    let stripped = strip(text);
    let left: Vec<_> = words(&stripped).collect();
    assert_eq!(left, [(1, "a"), (1, "b"), (2, "life"), (4, "end")]);
}
