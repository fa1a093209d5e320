//! From a URL to a broker and its keys: the one place that names the brokers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::broker::Operate;
#[cfg(feature = "redis")]
pub use crate::broker::redis::{Deployed, Found, acl};
#[cfg(feature = "redis")]
use crate::broker::redis::{Options as RedisOptions, RedisBroker, deploy as load_functions};
#[cfg(feature = "sqlite")]
use crate::broker::sqlite::{Location, Options, SqliteBroker};
use crate::error::{Error, Result, suggestion};
use crate::seal::{EnvKeys, FileKeys, KeySource, Keyring, Sealer};

/// Holds the text of a keyring.
pub const KEY_VARIABLE: &str = "ONCUE_KEY";
/// Holds the path of a key file.
pub const KEY_FILE_VARIABLE: &str = "ONCUE_KEY_FILE";
/// The namespace of a broker that names none.
pub const NAMESPACE: &str = "default";
/// What a URL may begin with.
const SCHEMES: [&str; 8] = [
    "sqlite",
    "redis",
    "rediss",
    "unix",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
];

/// How to reach a broker and which keys to seal with.
///
/// Keys come from, in this order: [`keys`](Self::keys); `ONCUE_KEY`; the file `ONCUE_KEY_FILE` names; for
/// SQLite the file `<database>.key` beside the database, which is made (mode 0600, with a warning) if this
/// call makes the database. A database in memory gets a key in memory. Everything else refuses: many machines
/// share a Redis, and a key one of them made would be unknown to the others.
pub struct Connect {
    url: String,
    namespace: String,
    keys: Option<Box<dyn KeySource>>,
}

/// A URL, read.
enum Address {
    #[cfg(feature = "sqlite")]
    Sqlite(Options),
    #[cfg(feature = "redis")]
    Redis(Box<RedisOptions>),
}

/// A broker and the keys for it.
pub struct Connection {
    /// The broker.
    pub broker: Arc<dyn Operate>,
    /// The keys.
    pub sealer: Sealer,
}

impl Connect {
    /// To this broker: `sqlite:PATH[?durability=full|normal&create=true|false]` or `sqlite::memory:`; with the
    /// feature `redis` also `redis[s]://[USER@]HOST[:PORT]`, `unix:///PATH`,
    /// `redis[s]+sentinel://HOST,HOST/NAME` or `redis[s]+cluster://HOST,HOST`; what may stand in one is told at
    /// `broker::redis::Options::parse`.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), namespace: NAMESPACE.to_owned(), keys: None }
    }

    /// Sealed records of one namespace do not open in another. Default `default`.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Where the keys come from.
    #[must_use]
    pub fn keys(mut self, source: impl KeySource + 'static) -> Self {
        self.keys = Some(Box::new(source));
        self
    }

    /// Opens the broker and reads the keys.
    ///
    /// # Errors
    /// A URL that is wrong [`is_invalid`](Error::is_invalid); a key that is missing or malformed
    /// [`is_key`](Error::is_key); a file that is foreign or damaged [`is_corrupt`](Error::is_corrupt).
    pub fn open(self) -> Result<Connection> {
        match self.address()? {
            #[cfg(feature = "sqlite")]
            Address::Sqlite(options) => self.open_sqlite(options),
            #[cfg(feature = "redis")]
            Address::Redis(options) => self.open_redis(*options),
        }
    }

    /// Whether the URL is one: opens nothing, and reads no key.
    ///
    /// # Errors
    /// What is wrong with it and what to write, [`is_invalid`](Error::is_invalid).
    pub fn check(&self) -> Result<()> {
        self.address().map(drop)
    }

    fn address(&self) -> Result<Address> {
        match self.url.split_once(':').map(|(scheme, _)| scheme) {
            #[cfg(feature = "sqlite")]
            Some("sqlite") => Options::parse(&self.url).map(Address::Sqlite),
            #[cfg(not(feature = "sqlite"))]
            Some("sqlite") => {
                Err(Error::invalid("this build has no SQLite; add the feature `sqlite`"))
            }
            #[cfg(feature = "redis")]
            Some(scheme) if SCHEMES.contains(&scheme) => {
                let options = RedisOptions::parse(&self.url)?;
                Ok(Address::Redis(Box::new(options)))
            }
            #[cfg(not(feature = "redis"))]
            Some(scheme) if SCHEMES.contains(&scheme) => {
                Err(Error::invalid("this build has no Redis; add the feature `redis`"))
            }
            scheme => {
                let hint = suggestion(scheme.unwrap_or(&self.url), SCHEMES);
                // What has no scheme may be anything, and is not repeated.
                let scheme = scheme.map(|scheme| format!(" {scheme:?}")).unwrap_or_default();
                Err(Error::invalid(format!(
                    "unknown broker{scheme}{hint}; use sqlite:PATH or redis://HOST"
                )))
            }
        }
    }

    #[cfg(feature = "redis")]
    fn open_redis(self, options: RedisOptions) -> Result<Connection> {
        let options = options.namespace(&self.namespace);
        // Keys first: a broker nobody can use is not connected to.
        let keyring = match &self.keys {
            Some(source) => source.load()?,
            None => configured(None)?.ok_or_else(|| {
                Error::key(format!(
                    "no key for Redis: set {KEY_VARIABLE} or {KEY_FILE_VARIABLE}, the same on every machine; make one \
                     with `oncue key generate`"
                ))
            })?,
        };
        let sealer = Sealer::new(keyring, &self.namespace)?;
        let broker = Arc::new(RedisBroker::open(options)?);
        Ok(Connection { broker, sealer })
    }

    #[cfg(feature = "sqlite")]
    fn open_sqlite(self, options: Options) -> Result<Connection> {
        let path = match options.location() {
            Location::File(path) => Some(path.clone()),
            Location::Memory => None,
        };
        // Keys first: a database that cannot be used is not made.
        let keyring = match &self.keys {
            Some(source) => source.load()?,
            None => match (configured(path.as_deref())?, path) {
                (Some(keyring), _) => keyring,
                (None, None) => Keyring::generate()?,
                (None, Some(path)) if path.exists() || !options.creates() => {
                    return Err(no_key(&path));
                }
                (None, Some(path)) => make_key(&path)?,
            },
        };
        let broker = SqliteBroker::open(options)?;
        let sealer = Sealer::new(keyring, &self.namespace)?;
        Ok(Connection { broker: Arc::new(broker), sealer })
    }
}

/// Loads the functions of this version into the Redis at this URL, on every primary if it is a cluster. Needs no
/// key.
///
/// # Errors
/// A URL that is wrong, or of a broker that has no functions, [`is_invalid`](Error::is_invalid); a user who may
/// not load them [`is_denied`](Error::is_denied).
#[cfg(feature = "redis")]
pub async fn deploy(url: &str) -> Result<Deployed> {
    if url.starts_with("sqlite:") {
        return Err(Error::invalid("SQLite needs nothing deployed; this is for Redis"));
    }
    load_functions(RedisOptions::parse(url)?).await
}

/// The keyring the environment or a file beside the database holds, if either does.
pub fn configured(database: Option<&Path>) -> Result<Option<Keyring>> {
    if std::env::var_os(KEY_VARIABLE).is_some() {
        return EnvKeys(KEY_VARIABLE.to_owned()).load().map(Some);
    }
    if let Some(path) = std::env::var_os(KEY_FILE_VARIABLE) {
        return FileKeys(path.into()).load().map(Some);
    }
    match database.map(key_path) {
        Some(path) if path.exists() => FileKeys(path).load().map(Some),
        _ => Ok(None),
    }
}

/// Where the key of a database is kept when nothing else is said.
pub fn key_path(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".key");
    path.into()
}

#[cfg(feature = "sqlite")]
fn make_key(database: &Path) -> Result<Keyring> {
    let path = key_path(database);
    let keyring = Keyring::generate()?;
    match FileKeys::create(&path, &keyring) {
        Ok(()) => {
            tracing::warn!(
                path = %path.display(),
                "no key was configured: a new one was made beside the new database; back it up, without it \
                 the tasks cannot be opened"
            );
            Ok(keyring)
        }
        // Another process made the same database in this moment, and its key.
        Err(error) if error.is_refused() => FileKeys(path).load(),
        Err(error) => Err(error),
    }
}

#[cfg(feature = "sqlite")]
fn no_key(database: &Path) -> Error {
    Error::key(format!(
        "no key for {}: set {KEY_VARIABLE} or {KEY_FILE_VARIABLE}, or put the key back as {}",
        database.display(),
        key_path(database).display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_broker_is_named_with_what_it_might_have_been() {
        for (url, part) in [
            ("sqlit:x", "\"sqlit\"; did you mean \"sqlite\"?"),
            ("rediss+sentinal://h/n", "did you mean \"rediss+sentinel\"?"),
            ("postgres://h", "unknown broker \"postgres\"; use sqlite:PATH or redis://HOST"),
            ("x", "unknown broker; use sqlite:PATH"),
        ] {
            let checked = Connect::new(url).check().expect_err(url).to_string();
            let error = Connect::new(url).open().err().expect(url);
            assert_eq!(checked, error.to_string());
            assert!(error.is_invalid() && error.to_string().contains(part), "{error}");
        }
    }
}
