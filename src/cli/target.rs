//! Which broker a command means, and how it is opened.
//!
//! A command that only looks, or acts on what is there, never makes a database: a typo in a path must not
//! leave an empty file behind. Such a command needs no key either, unless it reveals something.

use std::sync::Arc;

use oncue::broker::{Operate, QueueStats};
use oncue::queue::QueueName;
use oncue::seal::{KeySource, Keyring};
use oncue::{Client, Connect, Error, Result};

use super::output::suggestion;

/// Names the broker when `--broker` does not.
const VARIABLE: &str = "ONCUE_BROKER";
/// The broker when nothing does.
const DEFAULT: &str = "sqlite:oncue.db";

/// A URL as it may be shown: without a login, and with no password among its parameters.
pub(super) fn shown(url: &str) -> String {
    let url = match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, place))) if !["sqlite", "unix"].contains(&scheme) => {
            format!("{scheme}://***@{place}")
        }
        _ => url.to_owned(),
    };
    let Some((place, query)) = url.split_once('?') else { return url };
    let masked = query.split('&').map(|pair| match pair.split_once('=') {
        Some(("password", _)) => "password=***",
        _ => pair,
    });
    format!("{place}?{}", masked.collect::<Vec<_>>().join("&"))
}

/// The broker of a command.
pub(super) struct Target {
    flag: Option<String>,
    variable: Option<String>,
}

impl Target {
    pub(super) fn new(flag: Option<String>) -> Result<Self> {
        let variable = match std::env::var_os(VARIABLE).filter(|value| !value.is_empty()) {
            None => None,
            Some(value) => Some(value.into_string().map_err(|_| {
                Error::invalid(format!("environment variable {VARIABLE} is not UTF-8"))
            })?),
        };
        Ok(Self { flag, variable })
    }

    /// What `--broker` says.
    pub(super) fn flag(&self) -> Option<&str> {
        self.flag.as_deref()
    }

    /// What `--broker` or the environment says.
    pub(super) fn named(&self) -> Option<&str> {
        self.flag.as_deref().or(self.variable.as_deref())
    }

    /// The URL; the default if nobody says otherwise.
    pub(super) fn url(&self) -> &str {
        self.named().unwrap_or(DEFAULT)
    }

    /// A client, which makes the database if it is not there.
    pub(super) async fn client(&self) -> Result<Client> {
        oncue::connect(self.url()).await
    }

    /// A client of a database that is there.
    pub(super) async fn existing(&self) -> Result<Client> {
        oncue::connect(&existing(self.url())).await
    }

    /// A client of a broker that is there, which seals and opens nothing.
    pub(super) fn unkeyed(&self) -> Result<Client> {
        let connection = Connect::new(existing(self.url())).keys(NoKeys).open()?;
        Ok(Client::new(connection.broker, connection.sealer))
    }

    /// A broker that is there, to look at without a key.
    pub(super) fn inspect(&self) -> Result<Arc<dyn Operate>> {
        inspect(self.url())
    }
}

/// A broker that is there, to look at without a key.
pub(super) fn inspect(url: &str) -> Result<Arc<dyn Operate>> {
    Ok(Connect::new(existing(url)).keys(NoKeys).open()?.broker)
}

/// The URL with `create=false`, unless it says something about that itself.
pub(super) fn existing(url: &str) -> String {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let says = query.split('&').any(|pair| pair.split('=').next() == Some("create"));
    match query {
        _ if says || !path.starts_with("sqlite:") => url.to_owned(),
        "" => format!("{path}?create=false"),
        query => format!("{path}?{query}&create=false"),
    }
}

/// A keyring that seals nothing and opens nothing.
struct NoKeys;

impl KeySource for NoKeys {
    fn load(&self) -> Result<Keyring> {
        Keyring::parse("retired:1")
    }
}

/// The counts of a queue, or what it might have been called.
pub(super) async fn queue(broker: &dyn Operate, name: &str) -> Result<QueueStats> {
    let name = QueueName::parse(name)?;
    let all = broker.stats().await?;
    let hint = suggestion(name.as_str(), all.iter().map(|stats| stats.queue.as_str()));
    all.into_iter()
        .find(|stats| stats.queue == name)
        .ok_or_else(|| Error::not_found(format!("there is no queue {:?}{hint}", name.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_says_nothing_of_creating_does_not() {
        for (url, expected) in [
            ("sqlite:a.db", "sqlite:a.db?create=false"),
            ("sqlite:a.db?durability=full", "sqlite:a.db?durability=full&create=false"),
            ("sqlite:a.db?create=true", "sqlite:a.db?create=true"),
            ("redis://h", "redis://h"),
        ] {
            assert_eq!(existing(url), expected);
        }
        assert_eq!(NoKeys.load().expect("parses").active_id(), None);
    }

    #[test]
    fn a_log_has_no_password() {
        for (url, masked) in [
            ("redis://u:s3cret@h:1/0?ca=/ca.pem", "redis://***@h:1/0?ca=/ca.pem"),
            ("rediss+cluster://u:s3@cret?@h,i", "rediss+cluster://***@h,i"),
            ("unix:///s.sock?user=u&password=s3", "unix:///s.sock?user=u&password=***"),
            ("unix:///s.sock?password=s3@cret", "unix:///s.sock?password=***"),
            ("redis://h", "redis://h"),
            ("sqlite:a@b.db?durability=full", "sqlite:a@b.db?durability=full"),
            ("sqlite:///a@b.db", "sqlite:///a@b.db"),
        ] {
            assert_eq!(shown(url), masked);
        }
    }
}
