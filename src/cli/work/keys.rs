//! Which keys a configuration file may have: an unknown one is an error, with the one that was meant.

use oncue::{Error, Result};
use toml::{Table, Value};

use crate::cli::output::suggestion;

const TOP: [&str; 6] = ["broker", "concurrency", "handler", "lease", "queues", "shutdown"];
/// Keys of any handler.
const HANDLER: [&str; 3] = ["concurrency", "queue", "timeout"];
/// Keys of a program, and those of a webhook; the first of each says which of them it is.
const PROGRAM: [&str; 4] = ["exec", "directory", "env", "limits"];
const WEBHOOK: [&str; 9] = [
    "webhook",
    "archive_on",
    "ca",
    "headers",
    "plain",
    "retry_on",
    "secret_env",
    "secret_file",
    "unsigned",
];
const LIMITS: [&str; 10] = [
    "cpu",
    "file_size",
    "files",
    "memory",
    "metadata",
    "network",
    "processes",
    "read",
    "require_all",
    "write",
];

/// Refuses keys nobody reads.
pub(super) fn check(file: &Table) -> Result<()> {
    known("", file, &TOP)?;
    let handlers = file.get("handler").and_then(Value::as_table);
    for (kind, handler) in handlers.into_iter().flatten() {
        let Some(handler) = handler.as_table() else { continue };
        let place = format!("handler.{kind:?}.");
        if let Some(limits) = handler.get("limits").and_then(Value::as_table) {
            known(&format!("{place}limits."), limits, &LIMITS)?;
        }
        one_of_two(&place, handler)?;
    }
    Ok(())
}

/// A handler is a program or a webhook, and has no keys of the other.
fn one_of_two(place: &str, handler: &Table) -> Result<()> {
    if handler.contains_key("secret") {
        return Err(Error::invalid(format!(
            "{place}secret would show the secret to whoever reads this file; write secret_file = \"./secret\" or \
             secret_env = \"NAME\""
        )));
    }
    known(place, handler, &[&HANDLER[..], &PROGRAM, &WEBHOOK].concat())?;
    let (own, other) = match (handler.contains_key("exec"), handler.contains_key("webhook")) {
        (true, true) => {
            return Err(Error::invalid(format!(
                "{place}exec and {place}webhook; a kind has one handler, leave one out"
            )));
        }
        (true, false) => ("a program", &WEBHOOK[..]),
        (false, true) => ("a webhook", &PROGRAM[..]),
        (false, false) => {
            return Err(Error::invalid(format!(
                "{place}exec is missing; write exec = [\"./program\"], or webhook = \"https://..\""
            )));
        }
    };
    if handler.get("headers").is_some_and(|headers| !is_of_strings(headers)) {
        // Told here, since whoever reads the values would quote them.
        return Err(Error::invalid(format!(
            "{place}headers is no table of strings; write headers = {{ name = \"value\" }}"
        )));
    }
    match handler.keys().find(|key| other.contains(&key.as_str())) {
        Some(key) => Err(Error::invalid(format!(
            "{place}{key} is for {}, and this handler is {own}; leave it out",
            if own == "a program" { "a webhook" } else { "a program" }
        ))),
        None => Ok(()),
    }
}

fn is_of_strings(headers: &Value) -> bool {
    headers.as_table().is_some_and(|headers| headers.values().all(Value::is_str))
}

fn known(place: &str, table: &Table, keys: &[&str]) -> Result<()> {
    match table.keys().find(|key| !keys.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => {
            let hint = suggestion(key, keys.iter().copied());
            let keys = format!("known here: {}", keys.join(", "));
            Err(Error::invalid(format!("unknown key {place}{key}{hint}")).because(keys))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_nobody_reads_is_refused_with_the_one_that_was_meant() {
        for (text, words) in [
            ("brocker = 1", "brocker; did you mean \"broker\"?"),
            ("[handler.\"a:b\"]\nexce = []", "handler.\"a:b\".exce; did you mean \"exec\"?"),
            ("[handler.a.limits]\nmemroy = 1", "limits.memroy; did you mean \"memory\"?"),
            ("[handler.a]\nwebhok = \"https://x\"", "webhok; did you mean \"webhook\"?"),
            ("[handler.a]\nwebhook = \"https://x\"\nsecret = \"s3cret\"", "write secret_file ="),
            ("[handler.a]\nwebhook = \"https://x\"\nexec = []", "leave one out"),
            ("[handler.a]\nwebhook = \"https://x\"\nlimits = {}", "limits is for a program"),
            ("[handler.a]\nexec = []\nsecret_file = \"x\"", "secret_file is for a webhook"),
            ("[handler.a]\nwebhook = \"x\"\nheaders = \"s3cret\"", "no table of strings"),
            ("[handler.a]\nwebhook = \"x\"\nheaders = { a = [\"s3cret\"] }", "no table of strings"),
            ("[handler.a]\nqueue = \"q\"", "handler.\"a\".exec is missing"),
        ] {
            let error = check(&text.parse().expect("TOML")).expect_err(words).to_string();
            assert!(error.contains(words) && !error.contains("s3cret"), "{error}");
        }
        for text in ["exec = [\"x\"]", "webhook = \"x\"\nunsigned = true"] {
            check(&format!("[handler.a]\n{text}").parse().expect("TOML")).expect("known");
        }
    }
}
