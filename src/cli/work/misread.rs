//! What TOML and serde say of a file that cannot be read, in terms its author knows: the line, the key, what to write.
//!
//! Of values only numbers and booleans are repeated: strings may hold tokens.

use oncue::Error;

/// What is wrong with a file, and where.
pub(super) fn misread(text: &str, error: &toml::de::Error) -> Error {
    let place = error.span().and_then(|span| text.get(..span.start));
    let line = place.map(|before| format!("line {}: ", before.matches('\n').count() + 1));
    let said = reworded(error.message().trim_end(), place.and_then(key));
    Error::invalid(format!("{}{said}", line.unwrap_or_default()))
}

/// The key whose value begins here.
fn key(before: &str) -> Option<&str> {
    let before =
        before.trim_end_matches([' ', '\t']).strip_suffix('=')?.trim_end_matches([' ', '\t']);
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let key = &before[before.trim_end_matches(is_bare).len()..];
    (!key.is_empty()).then_some(key)
}

/// What was found and what is to be written, where that is said; else the words as they are.
fn reworded(said: &str, key: Option<&str>) -> String {
    let prefixes = ["invalid type: ", "invalid value: ", "unknown variant "];
    let rest = prefixes.iter().find_map(|prefix| said.strip_prefix(prefix));
    match rest.and_then(|rest| rest.split_once(", expected ")) {
        Some((found, wanted)) => {
            format!("{} is {}; write {}", key.unwrap_or("this"), named(found), asked(wanted))
        }
        None => key.map_or_else(|| said.to_owned(), |key| format!("{key}: {said}")),
    }
}

fn named(found: &str) -> &str {
    match found.split([' ', '`']).next() {
        Some("string") => "a string",
        Some("sequence") => "a list",
        Some("map") => "a table",
        Some("integer" | "floating" | "boolean") => found.split('`').nth(1).unwrap_or(found),
        _ => found,
    }
}

fn asked(wanted: &str) -> &str {
    match wanted {
        "a string" => "a string, such as \"a\"",
        "a sequence" => "a list, such as [\"a\", \"b\"]",
        "a boolean" => "true or false",
        "a map" => "a table",
        "usize" | "u16" | "u32" | "u64" => "a whole number, 0 or more",
        _ if wanted.starts_with("struct ") => "a table",
        _ => wanted.strip_prefix("one of ").unwrap_or(wanted),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::file::Config;

    #[test]
    fn it_says_which_key_is_what_and_what_to_write_and_repeats_no_value() {
        for (text, words) in [
            ("exec = \"./a --token s3cret\"", "line 2: exec is a string; write a list, such as"),
            ("exec = [5]", "line 2: "),
            (
                "exec = [\"env\"]\ntimeout = 3",
                "line 3: timeout is 3; write a time, such as \"10s\"",
            ),
            ("exec = [\"env\"]\nconcurrency = -1", "concurrency is -1; write a whole number"),
            (
                "exec = [\"env\"]\nconcurrency = \"s3cret\"",
                "concurrency is a string; write a whole",
            ),
            ("exec = [\"env\"]\nlimits = { memory = 1 }", "memory is 1; write a size"),
            ("exec = [\"env\"]\nlimits = { network = \"some\" }", "write `none`, `unix`, `all`"),
            ("exec = [\"env\"]\nlimits = { require_all = 1 }", "write true or false"),
            ("exec = [\"env\"]\nlimits = 5", "limits is 5; write a table"),
            ("webhook = \"https://a.example/\"\nretry_on = [\"s3cret\"]", "line 3: "),
            (
                "webhook = \"https://a.example/\"\nsecret_file = 5",
                "secret_file: write a string, or",
            ),
        ] {
            let error = Config::parse(&format!("[handler.a]\n{text}"), Path::new("/usr"));
            let error = error.expect_err(words).to_string();
            assert!(error.contains(words) && !error.contains("s3cret"), "{words}: {error}");
        }
    }
}
