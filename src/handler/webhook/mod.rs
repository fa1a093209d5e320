//! A webhook as a handler: where a task is sent, how it is signed, and what the answers mean.
//!
//! The URL is the operator's: nothing of a task chooses where it goes. One exchange is one attempt.

mod address;
mod exchange;
mod runner;
mod signature;
mod trust;
mod verdict;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{HeaderMap, StatusCode};

use crate::error::{Error, Result};
use crate::queue::{Kind, QueueName};
use crate::restart::Policy;

use super::{Registration, Retries, Route};
use address::Address;
use exchange::Receiver;
use runner::Post;
pub use signature::SigningSecret;
use verdict::Rules;

/// How long an exchange may take, unless told otherwise.
pub const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time an exchange may be given.
pub const WEBHOOK_TIMEOUT_MAX: Duration = Duration::from_secs(3600);
/// Exchanges of one kind at once, unless told otherwise.
pub const WEBHOOK_CONCURRENCY: usize = 16;
/// Most secrets a webhook is signed with.
const SECRETS_MAX: usize = 4;
/// Most headers of a webhook's own, and most bytes of their names and values.
const HEADERS_MAX: usize = 16;
const HEADERS_BYTES_MAX: usize = 4 * 1024;
/// Headers that the exchange itself depends on, and beginnings of those that oncue sends.
const RESERVED: [&str; 11] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];
const RESERVED_PREFIXES: [&str; 3] = ["oncue-", "proxy-", "webhook-"];

/// A receiver of tasks over HTTP: its URL, how requests are signed, and what its answers mean.
///
/// A task is a POST of its payload, which must be JSON, signed as [Standard Webhooks](https://www.standardwebhooks.com)
/// says; `webhook-id` is the task's id, the same for every attempt, so a receiver can tell a repetition.
///
/// | answer | task |
/// |---|---|
/// | 2xx | completed, the body is the result |
/// | 408, 425, 429, 5xx | failed, class `http(503)`; retried, not before `retry-after` says |
/// | any other, redirects among them | archived, class `http(404)` |
/// | none, or not the whole of it | failed, class `connect`, `tls`, `timeout`, `disconnected` or `protocol`; retried |
///
/// ```no_run
/// use oncue::handler::SigningSecret;
///
/// # fn main() -> oncue::Result<()> {
/// let secret = SigningSecret::env("MAIL_SECRET")?;
/// let webhook = oncue::Webhook::new("https://mail.example.com/tasks")?.secret(secret);
/// let handler = oncue::webhook("mail:send", webhook);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Webhook {
    address: Address,
    secrets: Vec<SigningSecret>,
    unsigned: bool,
    plain: bool,
    timeout: Duration,
    headers: Vec<(String, String)>,
    rules: Rules,
    ca: Option<PathBuf>,
}

impl Webhook {
    /// The receiver at this URL, `https://`, or `http://` on this machine.
    ///
    /// # Errors
    /// What is wrong with the URL, [`is_invalid`](Error::is_invalid); it is not quoted.
    pub fn new(url: &str) -> Result<Self> {
        Ok(Self {
            address: Address::parse(url)?,
            secrets: Vec::new(),
            unsigned: false,
            plain: false,
            timeout: WEBHOOK_TIMEOUT,
            headers: Vec::new(),
            rules: Rules::default(),
            ca: None,
        })
    }

    /// Signs with this secret, and with those given before: while a secret is replaced, the receiver may know either.
    #[must_use]
    pub fn secret(mut self, secret: SigningSecret) -> Self {
        self.secrets.push(secret);
        self
    }

    /// Sends without a signature: anybody may send the receiver what looks like a task.
    #[must_use]
    pub fn unsigned(mut self) -> Self {
        self.unsigned = true;
        self
    }

    /// Allows `http://` to other machines: whoever is on the way reads and alters payloads and results.
    #[must_use]
    pub fn plain(mut self) -> Self {
        self.plain = true;
        self
    }

    /// How long an exchange may take, from looking up the name to the last byte; [`WEBHOOK_TIMEOUT`] unless told.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends one more header, the same with every task. Its value is never printed.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Statuses after which a task is archived, though it would be retried.
    #[must_use]
    pub fn archive_on(mut self, statuses: impl IntoIterator<Item = u16>) -> Self {
        self.rules.archive_on.extend(statuses);
        self
    }

    /// Statuses after which a task is retried, though it would be archived.
    #[must_use]
    pub fn retry_on(mut self, statuses: impl IntoIterator<Item = u16>) -> Self {
        self.rules.retry_on.extend(statuses);
        self
    }

    /// The only authorities that are trusted, a file in PEM; those of the system unless told.
    #[must_use]
    pub fn ca(mut self, file: impl AsRef<Path>) -> Self {
        self.ca = Some(file.as_ref().to_owned());
        self
    }

    /// Refuses what cannot be sent; so does the start of a worker. Sends nothing.
    ///
    /// # Errors
    /// What is wrong and what to do: [`is_invalid`](Error::is_invalid), or [`is_refused`](Error::is_refused) for what
    /// is not safe unless asked for in words.
    pub fn check(&self) -> Result<()> {
        self.post().map(drop)
    }

    /// All that a run needs, made once. Reads the certificates that are trusted.
    fn post(&self) -> Result<Post> {
        let Self { address, secrets, unsigned, plain, timeout, rules, ca, .. } = self;
        if secrets.is_empty() && !unsigned {
            return Err(Error::refused(
                "a webhook without a secret is not signed: anybody could send what it sends; give it a secret, or say \
                 `unsigned`",
            ));
        }
        if *unsigned && !secrets.is_empty() {
            return Err(Error::invalid("a webhook has a secret and is `unsigned`; leave one out"));
        }
        if secrets.len() > SECRETS_MAX {
            return Err(Error::invalid(format!(
                "{} secrets; at most {SECRETS_MAX}, the new one and those it replaces",
                secrets.len()
            )));
        }
        if !address.is_https && !plain && !address.is_loopback() {
            return Err(Error::refused(format!(
                "{address} is not encrypted, so whoever is on the way reads and alters tasks and results; use https://, \
                 or say `plain`"
            )));
        }
        if timeout.is_zero() || *timeout > WEBHOOK_TIMEOUT_MAX {
            return Err(Error::invalid(format!(
                "a timeout of {timeout:?}; use more than nothing and at most {WEBHOOK_TIMEOUT_MAX:?}"
            )));
        }
        check_statuses(rules)?;
        let tls = match (address.is_https, ca) {
            (true, ca) => Some(trust::config(ca.as_deref())?),
            (false, None) => None,
            (false, Some(_)) => {
                return Err(Error::invalid("`ca` is for https://, and this URL is http://"));
            }
        };
        let at_home = !address.is_https && !plain;
        Ok(Post {
            receiver: Receiver { address: address.clone(), tls, at_home },
            headers: self.standing()?,
            secrets: secrets.clone(),
            timeout: *timeout,
            rules: rules.clone(),
        })
    }

    /// The headers every request has.
    fn standing(&self) -> Result<HeaderMap> {
        let bytes: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        if self.headers.len() > HEADERS_MAX || bytes > HEADERS_BYTES_MAX {
            return Err(Error::too_large(format!(
                "{} headers of {bytes} bytes; at most {HEADERS_MAX} of {HEADERS_BYTES_MAX} bytes",
                self.headers.len()
            )));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let parsed = HeaderName::try_from(name)
                .map_err(|_| Error::invalid(format!("{name:?} is not the name of a header")))?;
            let lower = parsed.as_str();
            if RESERVED.contains(&lower) || RESERVED_PREFIXES.iter().any(|p| lower.starts_with(p)) {
                return Err(Error::invalid(format!(
                    "the header {name} is set by oncue; leave it out"
                )));
            }
            let value = HeaderValue::try_from(value).map_err(|_| {
                Error::invalid(format!("the value of the header {name} holds what cannot be sent"))
            })?;
            if headers.insert(parsed, value).is_some() {
                return Err(Error::invalid(format!("the header {name} stands there twice")));
            }
        }
        let host = HeaderValue::try_from(&self.address.authority);
        headers.insert(HOST, host.map_err(|_| Error::invalid("the host cannot be sent"))?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let agent = concat!("oncue/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        Ok(headers)
    }
}

fn check_statuses(rules: &Rules) -> Result<()> {
    let Rules { archive_on, retry_on } = rules;
    let all = archive_on.iter().chain(retry_on);
    if let Some(code) = all.clone().find(|code| !(300..600).contains(*code)) {
        return Err(Error::invalid(format!(
            "status {code} in `archive_on` or `retry_on`; they take 300 to 599, since 2xx is always done"
        )));
    }
    match archive_on.iter().find(|code| retry_on.contains(code)) {
        Some(code) => Err(Error::invalid(format!(
            "status {} stands in `archive_on` and in `retry_on`; leave one out",
            StatusCode::from_u16(*code).map_or_else(|_| code.to_string(), |code| code.to_string())
        ))),
        None => Ok(()),
    }
}

/// The host and the names of headers, no more: queries and values like to hold tokens.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<&str> = self.headers.iter().map(|(name, _)| &**name).collect();
        f.debug_struct("Webhook")
            .field("url", &format_args!("{}", self.address))
            .field("secrets", &self.secrets.len())
            .field("unsigned", &self.unsigned)
            .field("plain", &self.plain)
            .field("timeout", &self.timeout)
            .field("headers", &headers)
            .field("rules", &self.rules)
            .field("ca", &self.ca)
            .finish()
    }
}

/// The URL without its query.
impl fmt::Display for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// A webhook as the handler of a kind, in the queue `default` unless told by [`queue`](Registration::queue), with
/// [`WEBHOOK_CONCURRENCY`] exchanges at once unless told by [`concurrency`](Registration::concurrency).
pub fn webhook(kind: &str, webhook: Webhook) -> Registration {
    let route = || {
        Ok(Route {
            kind: Kind::parse(kind)?,
            queue: QueueName::parse("default")?,
            retries: Retries::default(),
            concurrency: Some(WEBHOOK_CONCURRENCY),
            replicas: None,
            concurrent: 1,
            supervision: Policy::DEFAULT,
            stuck_after: None,
            factory: runner::factory(webhook.post()?),
        })
    };
    Registration::new(route())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> Webhook {
        Webhook::new("http://localhost/").expect("a URL").unsigned()
    }

    #[test]
    fn what_is_unsafe_or_makes_no_sense_is_refused_in_words() {
        let secret =
            || SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("one");
        let other = |url| Webhook::new(url).expect("a URL").secret(secret());
        for (webhook, words) in [
            (Webhook::new("http://localhost/").expect("a URL"), "say `unsigned`"),
            (local().secret(secret()), "leave one out"),
            ((0..5).fold(other("http://localhost/"), |w, _| w.secret(secret())), "at most 4"),
            (other("http://a.example/?t=s3cret"), "http://a.example/?*** is not encrypted"),
            (local().timeout(Duration::ZERO), "more than nothing"),
            (local().timeout(Duration::from_secs(3601)), "at most 3600s"),
            (local().archive_on([200]), "2xx is always done"),
            (local().retry_on([600]), "300 to 599"),
            (local().retry_on([503]).archive_on([503]), "in `archive_on` and in `retry_on`"),
            (local().header("Webhook-Id", "s3cret"), "set by oncue"),
            (local().header("content-length", "s3cret"), "set by oncue"),
            (local().header("a b", "s3cret"), "not the name"),
            (local().header("a", "s3cret\r\nb: c"), "cannot be sent"),
            (local().header("a", "s3cret").header("A", "x"), "twice"),
            (local().header("a", "s3cret".repeat(1000)), "at most 16"),
            (local().ca("/no/such/file"), "is for https://"),
            (other("https://a.example/").ca("/no/such/file"), "cannot be read"),
            (other("https://a.example/").ca("/dev/null"), "no certificate"),
        ] {
            let error = webhook.check().expect_err(words).to_string();
            assert!(error.contains(words) && !error.contains("s3cret"), "{words}: {error}");
        }
        other("http://a.example/").plain().check().expect("asked for in words");
        local().header("authorization", "Bearer x").check().expect("allowed");
    }

    #[test]
    fn nothing_secret_is_printed() {
        let webhook = Webhook::new("https://a.example/in?token=s3cret").expect("a URL");
        let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("one");
        let webhook = webhook.secret(secret).header("authorization", "Bearer s3cret");
        let shown = format!("{webhook:?} {webhook}");
        assert!(shown.contains("authorization") && shown.contains("/in?***"), "{shown}");
        assert!(!shown.contains("s3cret") && !shown.contains("MfKQ"), "{shown}");
    }
}
