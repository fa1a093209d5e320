//! A webhook in a configuration file: where its secrets are read from, and what of it is shown.

use std::fmt;
use std::path::{Path, PathBuf};

use oncue::handler::{SigningSecret, WEBHOOK_CONCURRENCY, WEBHOOK_TIMEOUT};
use oncue::{Error, Result, Webhook};
use serde::{Deserialize, Serialize, Serializer};

use super::handler::Handler;
use crate::cli::amount::Time;

/// What is shown in place of what nobody is to see.
const MASK: &str = "***";

/// Where one secret is, or where the new and the old one are.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged, expecting = "write a string, or a list of two while a secret is replaced")]
pub(super) enum Secrets<T> {
    One(T),
    Two([T; 2]),
}

impl<T> Secrets<T> {
    fn each(&self) -> &[T] {
        match self {
            Self::One(place) => std::slice::from_ref(place),
            Self::Two(places) => places,
        }
    }

    fn each_mut(&mut self) -> &mut [T] {
        match self {
            Self::One(place) => std::slice::from_mut(place),
            Self::Two(places) => places,
        }
    }
}

/// The value of a header: read, sent, never shown.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Masked(String);

impl fmt::Debug for Masked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Masked {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(MASK)
    }
}

/// A URL, shown without its query.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Url(String);

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Webhook::new(&self.0) {
            Ok(webhook) => webhook.fmt(f),
            Err(_) => f.write_str(MASK),
        }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Url {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// Makes its paths absolute and fills in what it leaves out.
pub(super) fn settle(handler: &mut Handler, home: &Path) {
    handler.concurrency.get_or_insert(WEBHOOK_CONCURRENCY);
    handler.timeout.get_or_insert(Time(WEBHOOK_TIMEOUT));
    handler.unsigned.get_or_insert(false);
    handler.plain.get_or_insert(false);
    handler.archive_on.get_or_insert_default();
    handler.retry_on.get_or_insert_default();
    let secrets = handler.secret_file.iter_mut().flat_map(|files| files.each_mut());
    for path in secrets.chain(&mut handler.ca) {
        *path = home.join(&*path);
    }
}

/// What is sent, its secrets read.
pub(super) fn webhook(handler: &Handler, Url(url): &Url) -> Result<Webhook> {
    let mut webhook = Webhook::new(url)?;
    for secret in secrets(handler)? {
        webhook = webhook.secret(secret);
    }
    if handler.unsigned == Some(true) {
        webhook = webhook.unsigned();
    }
    if handler.plain == Some(true) {
        webhook = webhook.plain();
    }
    if let Some(Time(timeout)) = handler.timeout {
        webhook = webhook.timeout(timeout);
    }
    for (name, Masked(value)) in handler.headers.iter().flatten() {
        webhook = webhook.header(name, value);
    }
    if let Some(ca) = &handler.ca {
        webhook = webhook.ca(ca);
    }
    let archive_on = handler.archive_on.iter().flatten().copied();
    Ok(webhook.archive_on(archive_on).retry_on(handler.retry_on.iter().flatten().copied()))
}

fn secrets(handler: &Handler) -> Result<Vec<SigningSecret>> {
    match (&handler.secret_file, &handler.secret_env) {
        (Some(_), Some(_)) => Err(Error::invalid(
            "secret_file and secret_env; use one, with a list of two if need be",
        )),
        (Some(files), None) => {
            files.each().iter().map(|path: &PathBuf| SigningSecret::file(path)).collect()
        }
        (None, Some(names)) => names.each().iter().map(|name| SigningSecret::env(name)).collect(),
        (None, None) if handler.unsigned == Some(true) => Ok(Vec::new()),
        (None, None) => Err(Error::invalid(
            "no secret, so the receiver could not tell who sends; write secret_file = \"./secret\" or secret_env = \
             \"NAME\", or unsigned = true",
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::file::Config;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    /// A directory with a secret and one anybody may read.
    fn home() -> tempfile::TempDir {
        let home = tempfile::tempdir().expect("a directory");
        for (name, mode) in [("secret", 0o600), ("old", 0o600), ("open", 0o644)] {
            let path = home.path().join(name);
            std::fs::write(&path, format!("{SECRET}\n")).expect("written");
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(path, mode).expect("set");
        }
        home
    }

    #[test]
    fn what_is_shown_is_complete_and_holds_nothing_secret() {
        let home = home();
        let config = Config::parse(
            "[handler.a]\nwebhook = \"https://a.example/in?token=s3cret\"\nsecret_file = [\"secret\", \"old\"]\n\
             retry_on = [409]\nheaders = { authorization = \"Bearer s3cret\" }",
            home.path(),
        );
        let config = config.expect("fine");
        let shown =
            format!("{config} {config:#?} {}", serde_json::to_string(&config).expect("JSON"));
        for word in
            ["/in?***", "authorization = \"***\"", "timeout = \"30s\"", "concurrency = 16", "[409]"]
        {
            assert!(config.to_string().contains(word), "{word}: {config}");
        }
        assert!(
            config.to_string().contains(&*home.path().join("old").to_string_lossy()),
            "{config}"
        );
        assert!(!shown.contains("s3cret") && !shown.contains("MfKQ"), "{shown}");
        Config::parse(&config.to_string(), home.path()).expect("what is shown can be read");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_not_quoted() {
        let home = home();
        let here = "[handler.a]\nwebhook = \"http://localhost/?s3cret\"\n";
        let there =
            "[handler.a]\nwebhook = \"http://a.example/?s3cret\"\nsecret_file = \"secret\"\n";
        for (start, end, words) in [
            (here, "", "handler.\"a\": no secret"),
            (here, "secret_file = \"none\"", "there is no signing secret file"),
            (here, "secret_file = \"open\"", "chmod 600"),
            (here, "secret_file = [\"secret\"]", "a list of two"),
            (here, "secret_env = \"ONCUE_NO_SUCH_SECRET\"", "ONCUE_NO_SUCH_SECRET is not set"),
            (here, "secret_file = \"secret\"\nsecret_env = \"X\"", "use one"),
            (here, "secret_file = \"secret\"\nunsigned = true", "leave one out"),
            (here, "unsigned = true\narchive_on = [200]", "2xx is always done"),
            (here, "unsigned = true\nheaders = { host = \"s3cret\" }", "set by oncue"),
            (here, "unsigned = true\ntimeout = \"0s\"", "more than nothing"),
            (there, "", "is not encrypted"),
            (there, "ca = \"secret\"\nplain = true", "is for https://"),
            (
                "[handler.a]\nwebhook = \"https://u:s3cret@a.example/\"\n",
                "unsigned = true",
                "credentials",
            ),
        ] {
            let error = Config::parse(&format!("{start}{end}"), home.path()).expect_err(words);
            let error = error.to_string();
            assert!(error.contains(words) && !error.contains("s3cret"), "{words}: {error}");
        }
        Config::parse(&format!("{there}plain = true"), home.path()).expect("asked for in words");
    }
}
