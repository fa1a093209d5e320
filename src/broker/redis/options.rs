//! Where a Redis is and how to talk to it, by URL and by builder.
//!
//! Nothing is reached here. What is not safe is refused here: a connection others could read, a server anybody
//! may use.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::address::{Address, Host, Parts, decode};
use super::credentials::{CredentialSource, Credentials, EnvPassword, FilePassword};
use super::tls::Tls;
use crate::clock::Clock;
use crate::error::{Error, Result, suggestion};
use crate::failpoint::Planned;

/// Holds the user.
const USER_VARIABLE: &str = "ONCUE_REDIS_USER";
/// Holds the password.
const PASSWORD_VARIABLE: &str = "ONCUE_REDIS_PASSWORD";
/// Holds the path of a file with the password.
const PASSWORD_FILE_VARIABLE: &str = "ONCUE_REDIS_PASSWORD_FILE";
/// The same for the sentinels.
const SENTINEL_USER_VARIABLE: &str = "ONCUE_SENTINEL_USER";
const SENTINEL_PASSWORD_VARIABLE: &str = "ONCUE_SENTINEL_PASSWORD";
const SENTINEL_PASSWORD_FILE_VARIABLE: &str = "ONCUE_SENTINEL_PASSWORD_FILE";

const PARAMETERS: [&str; 9] = [
    "ca",
    "cert",
    "key",
    "timeout",
    "replica-timeout",
    "insecure",
    "user",
    "password",
    "sentinel-user",
];
const INSECURE: [&str; 4] = ["plaintext", "no-password", "both", "eviction"];
const REPLICA_TIMEOUT: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT_MIN: Duration = Duration::from_millis(50);
const TIMEOUT_MAX: Duration = Duration::from_secs(600);

/// How to reach Redis, and the namespace of its keys.
///
/// A server on another machine must be encrypted (`rediss`) and must want a password, unless the URL says
/// otherwise in words. `Debug` shows no password.
#[derive(Clone)]
pub struct Options {
    pub(super) address: Address,
    /// None: not encrypted.
    pub(super) tls: Option<Tls>,
    user: Option<String>,
    credentials: Option<Arc<dyn CredentialSource>>,
    sentinel_user: Option<String>,
    sentinel_credentials: Option<Arc<dyn CredentialSource>>,
    plaintext_allowed: bool,
    no_password_allowed: bool,
    pub(super) eviction_allowed: bool,
    /// How long replicas may take to confirm an enqueue that asks for them.
    pub(super) replica_timeout: Duration,
    pub(super) namespace: String,
    /// How long an answer may take, and how long a call waits for a connection.
    pub(super) response_timeout: Duration,
    /// Tests move the time of the broker's functions with it; otherwise the server's time counts.
    pub(super) clock: Option<Arc<dyn Clock>>,
    pub(super) planned: Planned,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("address", &self.address)
            .field("tls", &self.tls)
            .field("user", &self.user)
            .field("namespace", &self.namespace)
            .field("response_timeout", &self.response_timeout)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// Reads a URL, and from the environment who we are.
    ///
    /// | URL | what is there |
    /// |---|---|
    /// | `redis://[user[:password]@]host[:port]` | one server; `rediss` with TLS |
    /// | `unix:///path` | one server on this machine |
    /// | `redis+sentinel://[user[:password]@]host[:port],.../name` | the primary the sentinels call `name` |
    /// | `redis+cluster://[user[:password]@]host[:port],...` | a cluster, by some of its nodes |
    ///
    /// User and password are percent-encoded. After a `?` may stand, joined by `&`: `ca`, `cert`, `key` (paths of
    /// PEM files, read at every connect), `timeout` (`5s`: for an answer, and to wait for a connection), `user`,
    /// `sentinel-user`, for sockets `password`, `replica-timeout` (1s: for replicas to confirm, if an enqueue asks
    /// for them), and `insecure=` with some of `plaintext`, `no-password`, `both`, `eviction` (a server that throws
    /// tasks away when its memory is full), joined by commas.
    ///
    /// A password in a URL is warned about; better are `ONCUE_REDIS_PASSWORD`, `ONCUE_REDIS_PASSWORD_FILE` (with
    /// `ONCUE_REDIS_USER`) or [`credentials`](Self::credentials). For sentinels there are
    /// `ONCUE_SENTINEL_USER`, `ONCUE_SENTINEL_PASSWORD` and `ONCUE_SENTINEL_PASSWORD_FILE`.
    ///
    /// # Errors
    /// What cannot be read [`is_invalid`](Error::is_invalid), what is not safe [`is_refused`](Error::is_refused);
    /// neither names the password.
    pub fn parse(url: &str) -> Result<Self> {
        let parts = Parts::parse(url)?;
        let password = parts.password.map(|password| Credentials::password(password.as_str()));
        let mut options = Self {
            tls: parts.tls.then(Tls::default),
            address: parts.address,
            user: parts.user,
            credentials: password.map(|password| Arc::new(password) as _),
            sentinel_user: None,
            sentinel_credentials: None,
            plaintext_allowed: false,
            no_password_allowed: false,
            eviction_allowed: false,
            replica_timeout: REPLICA_TIMEOUT,
            namespace: "default".to_owned(),
            response_timeout: TIMEOUT,
            clock: None,
            planned: Planned::default(),
        };
        let mut seen: Vec<&str> = Vec::new();
        for pair in parts.query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if seen.contains(&name) {
                return Err(Error::invalid(format!("{name:?} stands twice in the Redis URL")));
            }
            options.set(name, value)?;
            seen.push(name);
        }
        options.check_tls()?;
        for host in options.address.hosts() {
            options.check_plaintext(host)?;
        }
        if options.credentials.is_some() {
            tracing::warn!(
                "the Redis URL holds a password; URLs end in logs and process lists, so better use \
                 {PASSWORD_FILE_VARIABLE}"
            );
        } else {
            options.credentials = configured(PASSWORD_VARIABLE, PASSWORD_FILE_VARIABLE);
        }
        options.user = options.user.or_else(|| named(USER_VARIABLE));
        options.sentinel_user = options.sentinel_user.or_else(|| named(SENTINEL_USER_VARIABLE));
        options.sentinel_credentials =
            configured(SENTINEL_PASSWORD_VARIABLE, SENTINEL_PASSWORD_FILE_VARIABLE);
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let file = |tls: &mut Option<Tls>,
                    field: fn(&mut Tls) -> &mut Option<std::path::PathBuf>| {
            let path = decode(value, "a path")?;
            let tls = tls.as_mut().filter(|_| !path.is_empty()).ok_or_else(|| {
                Error::invalid(format!(
                    "{name:?} names a PEM file for TLS; it needs a rediss URL and a path"
                ))
            })?;
            *field(tls) = Some(path.into());
            Ok(())
        };
        match name {
            "ca" => file(&mut self.tls, |tls| &mut tls.ca),
            "cert" => file(&mut self.tls, |tls| &mut tls.cert),
            "key" => file(&mut self.tls, |tls| &mut tls.key),
            "timeout" => {
                let timeout = humantime::parse_duration(value).ok();
                let timeout = timeout.filter(|time| (TIMEOUT_MIN..=TIMEOUT_MAX).contains(time));
                self.response_timeout = timeout.ok_or_else(|| {
                    Error::invalid(format!(
                        "parameter \"timeout\" of the Redis URL is {value:?}; write it like 5s, from 50ms to 10min"
                    ))
                })?;
                Ok(())
            }
            "replica-timeout" => {
                let timeout = humantime::parse_duration(value).ok();
                let timeout = timeout.filter(|time| *time <= self.response_timeout / 2);
                self.replica_timeout = timeout.ok_or_else(|| {
                    Error::invalid(format!(
                        "parameter \"replica-timeout\" of the Redis URL is {value:?}; write it like 500ms, at most half \
                         of `timeout`, which stands before it"
                    ))
                })?;
                Ok(())
            }
            "insecure" => {
                for word in value.split(',') {
                    match word {
                        "plaintext" => self.plaintext_allowed = true,
                        "no-password" => self.no_password_allowed = true,
                        "both" => (self.plaintext_allowed, self.no_password_allowed) = (true, true),
                        "eviction" => self.eviction_allowed = true,
                        word => {
                            let hint = suggestion(word, INSECURE);
                            return Err(Error::invalid(format!(
                                "parameter \"insecure\" of the Redis URL is {value:?}; use plaintext, no-password, \
                                 both or eviction, joined by commas{hint}"
                            )));
                        }
                    }
                }
                Ok(())
            }
            "user" => {
                if self.user.is_some() {
                    return Err(Error::invalid("the Redis URL names two users"));
                }
                self.user = Some(decode(value, "the user")?);
                Ok(())
            }
            "sentinel-user" => {
                self.sentinel_user = Some(decode(value, "the user")?);
                Ok(())
            }
            "password" if matches!(self.address, Address::Unix(_)) => {
                let password = Credentials::password(decode(value, "the password")?);
                self.credentials = Some(Arc::new(password));
                Ok(())
            }
            "password" => Err(Error::invalid(
                "a password stands before the host, redis://user:password@host; better, in \
                 ONCUE_REDIS_PASSWORD_FILE",
            )),
            _ => {
                let hint = suggestion(name, PARAMETERS);
                Err(Error::invalid(format!("unknown parameter {name:?} in the Redis URL{hint}")))
            }
        }
    }

    fn check_tls(&self) -> Result<()> {
        match &self.tls {
            Some(tls) if tls.cert.is_some() != tls.key.is_some() => Err(Error::invalid(
                "a client certificate needs both \"cert\" and \"key\" in the Redis URL",
            )),
            _ => Ok(()),
        }
    }

    /// Refuses to send readable bytes over a network.
    pub(super) fn check_plaintext(&self, host: &Host) -> Result<()> {
        if self.tls.is_some() || self.plaintext_allowed || host.is_local() {
            return Ok(());
        }
        Err(Error::refused(format!(
            "{host} is another machine, and without TLS all it is sent can be read on the way; use a rediss URL, or \
             allow it in words by `insecure=plaintext`"
        )))
    }

    /// Refuses what must not be connected to as these options are.
    ///
    /// # Errors
    /// A remote server without credentials [`is_refused`](Error::is_refused).
    pub(super) fn check(&self) -> Result<()> {
        if self.credentials.is_some() || self.no_password_allowed || self.address.is_local() {
            return Ok(());
        }
        Err(Error::refused(format!(
            "no password for {}, which is another machine, and a Redis that takes commands from anybody is not safe; \
             set {PASSWORD_VARIABLE} or {PASSWORD_FILE_VARIABLE}, or allow it in words by `insecure=no-password`",
            self.address
        )))
    }

    /// Where user and password come from, instead of URL and environment.
    #[must_use]
    pub fn credentials(mut self, source: impl CredentialSource + 'static) -> Self {
        self.credentials = Some(Arc::new(source));
        self
    }

    /// The same for the sentinels. Without it they are asked without a password.
    #[must_use]
    pub fn sentinel_credentials(mut self, source: impl CredentialSource + 'static) -> Self {
        self.sentinel_credentials = Some(Arc::new(source));
        self
    }

    /// The namespace of the keys: `oncue:{namespace/queue}:...`. Default `default`.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// How often the credentials are looked at while connected.
    pub(super) fn credentials_poll(&self) -> Option<Duration> {
        self.credentials.as_ref().and_then(|source| source.poll())
    }

    /// The credentials for the servers as they are now. Blocks.
    pub(super) fn load_credentials(&self) -> Result<Option<Credentials>> {
        load(self.credentials.as_ref(), self.user.as_deref())
    }

    /// The credentials for the sentinels as they are now. Blocks.
    pub(super) fn load_sentinel_credentials(&self) -> Result<Option<Credentials>> {
        load(self.sentinel_credentials.as_ref(), self.sentinel_user.as_deref())
    }

    /// Another clock than the server's: for tests.
    #[cfg(feature = "failpoints")]
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Plans panics, for tests.
    #[cfg(feature = "failpoints")]
    #[must_use]
    pub fn failpoints(mut self, failpoints: Arc<crate::FailPoints>) -> Self {
        self.planned = Planned(failpoints);
        self
    }
}

fn load(
    source: Option<&Arc<dyn CredentialSource>>,
    user: Option<&str>,
) -> Result<Option<Credentials>> {
    source.map(|source| source.load().map(|found| found.or_user(user))).transpose()
}

fn named(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}

/// What the environment names.
fn configured(password: &str, file: &str) -> Option<Arc<dyn CredentialSource>> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    match (set(password), set(file)) {
        (Some(_), _) => Some(Arc::new(EnvPassword(password.to_owned()))),
        (None, Some(path)) => Some(Arc::new(FilePassword(path.into()))),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_how_to_connect() {
        let options = Options::parse(
            "rediss://ada:hun%24ter2@h:7/0?ca=/etc/a%20b.pem&cert=c.pem&key=k.pem&timeout=250ms",
        )
        .expect("good");
        let tls = options.tls.as_ref().expect("encrypted");
        assert_eq!(tls.ca.as_deref(), Some("/etc/a b.pem".as_ref()));
        assert_eq!(options.response_timeout, Duration::from_millis(250));
        let login = options.load_credentials().expect("here").expect("some");
        assert_eq!((login.user(), login.secret()), ("ada", "hun$ter2"));
        assert!(options.check().is_ok());
        let shown = format!("{options:?}");
        assert!(shown.contains("ada") && !shown.contains("ter2"), "{shown}");
        let options = Options::parse("unix:///s?user=bob&password=x%26y").expect("good");
        let login = options.load_credentials().expect("here").expect("some");
        assert_eq!((login.user(), login.secret()), ("bob", "x&y"));
        assert!(Options::parse("redis://h?insecure=both").expect("allowed").check().is_ok());
    }

    #[test]
    fn a_source_of_ones_own_goes_before_the_url() {
        let options = Options::parse("redis://ada:old@localhost").expect("good");
        let options = options.credentials(Credentials::password("new"));
        let login = options.load_credentials().expect("here").expect("some");
        assert_eq!((login.user(), login.secret()), ("ada", "new"));
    }

    #[test]
    fn what_is_wrong_in_a_url_is_named() {
        for (url, part) in [
            (
                "redis://h?tiemout=1s",
                "unknown parameter \"tiemout\" in the Redis URL; did you mean \"timeout\"?",
            ),
            ("redis://h?timeout=5", "write it like 5s"),
            ("redis://h?timeout=1ms", "from 50ms"),
            ("redis://h?insecure=plain", "did you mean \"plaintext\"?"),
            ("redis://h?ca=x", "needs a rediss URL"),
            ("rediss://h?ca=", "needs a rediss URL and a path"),
            ("rediss://h?cert=x", "both \"cert\" and \"key\""),
            ("redis://h?timeout=1s&timeout=2s", "twice"),
            ("redis://u@h?user=v", "two users"),
            ("redis://h?password=hunter2", "before the host"),
            ("redis://u:hunter2@h?hunter3=hunter2", "unknown parameter"),
        ] {
            let error = Options::parse(url).expect_err(url);
            assert!(error.is_invalid() && error.to_string().contains(part), "{url}: {error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn what_is_not_safe_is_refused_in_words_that_allow_it() {
        for url in [
            "redis://h",
            "redis://u:p@10.0.0.1",
            "redis://h?insecure=no-password",
            "redis+cluster://localhost,h",
            "redis+sentinel://localhost,h/name",
        ] {
            let error = Options::parse(url).expect_err(url);
            assert!(
                error.is_refused() && error.to_string().contains("`insecure=plaintext`"),
                "{error}"
            );
        }
        for url in ["rediss://h", "redis://h?insecure=plaintext", "rediss+cluster://localhost,h"] {
            let error = Options::parse(url).expect(url).check().expect_err(url);
            assert!(
                error.is_refused() && error.to_string().contains("`insecure=no-password`"),
                "{error}"
            );
        }
        for url in [
            "redis://localhost",
            "redis://[::1]",
            "unix:///s",
            "rediss://u:p@h",
            "redis://u:p@h?insecure=plaintext",
        ] {
            Options::parse(url).expect(url).check().expect(url);
        }
    }
}
