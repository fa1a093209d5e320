//! A configuration file: read, completed, and turned into handlers. Paths in it are relative to it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use oncue::queue::QueueName;
use oncue::{Connect, Error, Result, worker};
use serde::{Deserialize, Serialize, Serializer};

use super::handler::Handler;
use super::keys;
use super::misread::misread;
use crate::cli::amount::Time;
use crate::cli::target;

/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Of a mode: all may write.
const OTHERS_WRITE: u32 = 0o002;

/// What a file says, and what it leaves out.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Config {
    /// The broker, unless the command line or the environment names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) broker: Option<BrokerUrl>,
    /// Runs at once, of all kinds together.
    pub(super) concurrency: usize,
    pub(super) lease: Time,
    pub(super) shutdown: Time,
    /// Queues and their weights; those of the handlers, alike, if the file names none.
    pub(super) queues: BTreeMap<String, u32>,
    pub(super) handler: BTreeMap<String, Handler>,
}

/// Where the broker is, shown without its login.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct BrokerUrl(pub(super) String);

impl fmt::Debug for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&target::shown(&self.0))
    }
}

impl Serialize for BrokerUrl {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&target::shown(&self.0))
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            broker: None,
            concurrency: worker::CONCURRENCY,
            lease: Time(worker::LEASE),
            shutdown: Time(worker::SHUTDOWN),
            queues: BTreeMap::new(),
            handler: BTreeMap::new(),
        }
    }
}

impl Config {
    /// Reads a file and looks for everything it names.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let unread = |error: std::io::Error| {
            let what = format!("cannot read {}; name the file by --config", path.display());
            Error::invalid(what).because(error)
        };
        // Whoever writes it runs what they like, as this user and without a cage.
        let mut file = File::open(path).map_err(unread)?;
        if file.metadata().map_err(unread)?.permissions().mode() & OTHERS_WRITE != 0 {
            let path = path.display();
            return Err(Error::refused(format!(
                "anybody may write {path}, and so choose what this worker runs; `chmod o-w {path}`"
            )));
        }
        let mut text = String::new();
        (&mut file).take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unread)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(Error::too_large(format!(
                "{} is over {FILE_BYTES_MAX} bytes",
                path.display()
            )));
        }
        let home = std::path::absolute(path).map_err(unread)?;
        let home = home.parent().unwrap_or(Path::new("/"));
        Self::parse(&text, home).map_err(|error| {
            let what = format!("{}: {error}", path.display());
            match std::error::Error::source(&error) {
                Some(source) => Error::invalid(what).because(source.to_string()),
                None => Error::invalid(what),
            }
        })
    }

    pub(super) fn parse(text: &str, home: &Path) -> Result<Self> {
        let wrong = |error: toml::de::Error| misread(text, &error);
        // Keys first: what is misspelt is not merely missing.
        keys::check(&text.parse().map_err(wrong)?)?;
        let mut config: Self = toml::from_str(text).map_err(wrong)?;
        if config.handler.is_empty() {
            return Err(Error::invalid(
                "no handlers; add [handler.\"KIND\"] with exec = [\"./program\"] or webhook = \"https://..\"",
            ));
        }
        for (kind, handler) in &mut config.handler {
            let named = |error: Error| {
                let what = Error::invalid(format!("handler.{kind:?}: {error}"));
                match std::error::Error::source(&error) {
                    Some(source) => what.because(source.to_string()),
                    None => what,
                }
            };
            oncue::queue::Kind::parse(kind)?;
            handler.settle(home).map_err(named)?;
            handler.check().map_err(named)?;
        }
        config.broker = config.broker.map(|BrokerUrl(url)| BrokerUrl(located(&url, home)));
        if config.queues.is_empty() {
            config.queues =
                config.handler.values().map(|handler| (handler.queue.clone(), 1)).collect();
        }
        config.check()?;
        Ok(config)
    }

    /// Refuses what a worker would refuse, so that it is told before one is to start.
    fn check(&self) -> Result<()> {
        if let Some(BrokerUrl(url)) = &self.broker {
            Connect::new(url).check()?;
        }
        let most = worker::CONCURRENCY_MAX;
        if !(1..=most).contains(&self.concurrency) {
            return Err(Error::invalid(format!(
                "concurrency {}; use 1 to {most}",
                self.concurrency
            )));
        }
        let (least, most) = (worker::LEASE_MIN, worker::LEASE_MAX);
        if !(least..=most).contains(&self.lease.0) {
            let [lease, least, most] = [self.lease.0, least, most].map(humantime::format_duration);
            return Err(Error::invalid(format!("lease {lease}; use {least} to {most}")));
        }
        // A pattern is the beginning of names, with a star behind it.
        let named = self.queues.keys().map(|name| name.strip_suffix('*').unwrap_or(name));
        named.filter(|name| !name.is_empty()).try_for_each(|name| QueueName::parse(name).map(drop))
    }

    /// Kinds whose queue is not served, with that queue: only what is enqueued elsewhere on purpose runs.
    pub(super) fn unserved(&self) -> impl Iterator<Item = (&str, &str)> {
        let is_served = |queue: &str| {
            self.queues.keys().any(|name| match name.strip_suffix('*') {
                Some(beginning) => queue.starts_with(beginning),
                None => queue == name,
            })
        };
        let queues = self.handler.iter().map(|(kind, handler)| (kind.as_str(), &*handler.queue));
        queues.filter(move |(_, queue)| !is_served(queue))
    }
}

/// The URL of a broker in a file at `home`: that of a database file names it from there, as all other paths in it.
fn located(url: &str, home: &Path) -> String {
    let path = url.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path));
    match path {
        Some(path) if !path.is_empty() && !path.starts_with(['/', ':', '?']) => {
            format!("sqlite:{}", home.join(path).display())
        }
        _ => url.to_owned(),
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = toml::to_string(self).map_err(|_| fmt::Error)?;
        f.write_str(text.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_filled_in_and_can_be_read_again() {
        let config = Config::parse(
            "[handler.a]\nexec = [\"env\"]\n[handler.c]\nexec = [\"env\"]\nqueue = \"q\"",
            Path::new("/usr"),
        );
        let config = config.expect("fine");
        let queues = BTreeMap::from([("default".to_owned(), 1), ("q".to_owned(), 1)]);
        assert_eq!(config.queues, queues);
        let shown = config.to_string();
        assert!(shown.contains("lease = \"15s\""), "{shown}");
        Config::parse(&shown, Path::new("/")).expect("what is shown can be read");
    }

    #[test]
    fn a_kind_whose_queue_nobody_serves_is_told() {
        for (queues, told) in [
            ("", false),
            ("[queues]\nother = 1", true),
            ("[queues]\nma = 1", true),
            ("[queues]\n\"ma*\" = 1", false),
            ("[queues]\nother = 1\nmail = 1", false),
        ] {
            let text = format!("[handler.a]\nexec = [\"env\"]\nqueue = \"mail\"\n{queues}");
            let config = Config::parse(&text, Path::new("/usr")).expect("fine");
            let unserved: Vec<_> = config.unserved().collect();
            assert_eq!(unserved, if told { vec![("a", "mail")] } else { vec![] }, "{queues}");
        }
    }

    #[test]
    fn a_database_is_beside_the_file_and_all_else_is_where_it_says() {
        for (url, meant) in [
            ("sqlite:a.db?durability=normal", "sqlite:/etc/jobs/a.db?durability=normal"),
            ("sqlite://data/a.db", "sqlite:/etc/jobs/data/a.db"),
            ("sqlite:/var/a.db", "sqlite:/var/a.db"),
            ("sqlite:///var/a.db", "sqlite:///var/a.db"),
            ("sqlite::memory:", "sqlite::memory:"),
            ("sqlite:", "sqlite:"),
            ("redis://localhost/0", "redis://localhost/0"),
        ] {
            assert_eq!(located(url, Path::new("/etc/jobs")), meant);
        }
        let shown = Config::parse(
            "broker = \"sqlite:a.db\"\n[handler.a]\nexec = [\"env\"]",
            Path::new("/usr"),
        );
        let broker = shown.expect("fine").broker.expect("named");
        assert_eq!(broker.0, "sqlite:/usr/a.db");
    }

    #[test]
    fn a_login_of_the_broker_is_not_shown() {
        for url in [
            "redis://u:s3cret@localhost/0",
            "redis://:s3cret@localhost/0",
            "redis://u:s3cret@x@localhost/0",
        ] {
            let text = format!("broker = \"{url}\"\n[handler.a]\nexec = [\"env\"]");
            let config = Config::parse(&text, Path::new("/usr")).expect("fine");
            let shown = format!("{config} {config:?}");
            assert!(
                shown.contains("redis://***@localhost/0") && !shown.contains("s3cret"),
                "{shown}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_not_quoted() {
        for (text, words) in [
            ("", "no handlers"),
            ("[handler.A]\nexec = [\"env\"]", "A"),
            ("lease = 5\n[handler.a]\nexec = [\"env\"]", "line 1: lease is 5; write a time"),
            (
                "[handler]\na = { webhook = \"https://x/?s3cret\", queue = 5 }",
                "line 2: queue is 5; write a string",
            ),
            ("[handler]\na = { webhook = \"https://x/?s3cret\", queue == 5 }", "line 2: "),
            ("broker = \"mysql:x\"\n[handler.a]\nexec = [\"env\"]", "use sqlite:PATH"),
            ("lease = \"1ms\"\n[handler.a]\nexec = [\"env\"]", "lease 1ms; use 300ms to 1day"),
            ("concurrency = 0\n[handler.a]\nexec = [\"env\"]", "concurrency 0; use 1 to 10000"),
            ("[handler.a]\nexec = [\"env\"]\nconcurrency = 0", "handler.\"a\": concurrency 0"),
            ("[handler.a]\nexec = [\"env\"]\nqueue = \"A b\"", "\"a\": queue name \"A b\""),
            ("[handler.a]\nexec = [\"env\"]\n[queues]\n\"A*\" = 1", "queue name \"A\""),
        ] {
            let error = Config::parse(text, Path::new("/usr")).expect_err(words).to_string();
            assert!(error.contains(words) && !error.contains("s3cret"), "{words}: {error}");
        }
    }
}
