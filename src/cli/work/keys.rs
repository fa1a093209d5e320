//! Which keys a configuration file may have: an unknown one is an error, with the one that was meant.

use oncue::{Error, Result};
use toml::{Table, Value};

use crate::cli::output::suggestion;

const TOP: [&str; 6] = ["broker", "concurrency", "handler", "lease", "queues", "shutdown"];
const HANDLER: [&str; 7] =
    ["concurrency", "directory", "env", "exec", "limits", "queue", "timeout"];
const LIMITS: [&str; 9] =
    ["cpu", "file_size", "files", "memory", "network", "processes", "read", "require_all", "write"];

/// Refuses keys nobody reads.
pub(super) fn check(file: &Table) -> Result<()> {
    known("", file, &TOP)?;
    let handlers = file.get("handler").and_then(Value::as_table);
    for (kind, handler) in handlers.into_iter().flatten() {
        let Some(handler) = handler.as_table() else { continue };
        let place = format!("handler.{kind:?}.");
        if handler.contains_key("webhook") {
            return Err(Error::invalid(format!(
                "{place}webhook is not built; a program may send it: exec = [\"./send\"] with limits.network = \"all\""
            )));
        }
        known(&place, handler, &HANDLER)?;
        if let Some(limits) = handler.get("limits").and_then(Value::as_table) {
            known(&format!("{place}limits."), limits, &LIMITS)?;
        }
    }
    Ok(())
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
            ("[handler.a]\nwebhook = \"https://x\"", "webhook is not built"),
        ] {
            let error = check(&text.parse().expect("TOML")).expect_err(words).to_string();
            assert!(error.contains(words), "{error}");
        }
        check(&"[handler.a]\nexec = [\"x\"]".parse().expect("TOML")).expect("known");
    }
}
