//! What Redis's replies mean: the one place where they become ours.
//!
//! Every error of a call falls into one [`Class`], which says what to do next; the [`Error`] in it is what a
//! caller sees. Replies of our own functions carry a word of ours in front: `FENCED`, `QFULL`, `NEWER`.

use redis::{ErrorKind, RedisError, ServerError};

use crate::error::Error;

/// Most characters of a server's words that are repeated: some replies quote what was sent.
const QUOTE_MAX: usize = 240;

/// What to do about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// The server is busy or starting: later.
    Transient,
    /// Whether the call took effect is unknown: connection lost, time over.
    Ambiguous,
    /// This is no primary any more: find the one there is.
    Failover,
    /// Memory or a limit is full.
    Full,
    /// The server keeps nothing safe at the moment.
    NotDurable,
    /// Credentials are wrong.
    Auth,
    /// This user may not do that.
    Denied,
    /// Our functions are not there.
    Undeployed,
    /// A word of our own functions.
    Domain,
    /// A bug, a wrong setting, or keys that are not ours.
    Broken,
}

impl Class {
    /// Whether a connection on which this happened must not be used again.
    pub(super) fn ends_connection(self) -> bool {
        // Functions: the next connection is greeted anew, which may bring them.
        matches!(self, Self::Ambiguous | Self::Failover | Self::Auth | Self::Undeployed)
    }

    /// Whether waiting a few seconds for a connection can help a caller.
    pub(super) fn passes(self) -> bool {
        matches!(self, Self::Transient | Self::Ambiguous | Self::Failover)
    }
}

/// Why a call failed.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) class: Class,
    pub(super) error: Error,
}

impl Fault {
    pub(super) fn new(class: Class, error: Error) -> Self {
        Self { class, error }
    }

    /// The same fault for another caller.
    pub(super) fn replicate(&self) -> Self {
        Self { class: self.class, error: self.error.replicate() }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        fault.error
    }
}

/// What an error reply means: its first word, something in the rest that tells it apart, and what to say.
struct Row {
    word: &'static str,
    rest: &'static str,
    class: Class,
    error: fn(String) -> Error,
    says: &'static str,
}

macro_rules! table {
    ($($word:literal $rest:literal $class:ident $error:ident $says:literal;)*) => {
        /// The first row that fits counts.
        const TABLE: &[Row] = &[$(Row {
            word: $word,
            rest: $rest,
            class: Class::$class,
            error: |message| Error::$error(message),
            says: $says,
        }),*];
    };
}

table! {
    "FENCED" "" Domain fenced "";
    "QFULL" "" Full full "";
    "NEWER" "" Domain newer "";
    "INVALID" "" Domain invalid "";
    "GONE" "" Domain not_found "";
    "LOADING" "" Transient unreachable "Redis is loading its data; try again later";
    "BUSY" "" Transient unreachable "Redis runs a script that takes long; try again later";
    "TRYAGAIN" "" Transient unreachable "a slot of the cluster is on the move; try again later";
    "CLUSTERDOWN" "" Transient unreachable "the cluster is down or misses slots; try again later";
    "ERR" "max number of clients" Transient unreachable
        "Redis takes no more connections; raise its `maxclients`";
    "READONLY" "" Failover unreachable "this Redis is a replica; its primary is looked for";
    "MASTERDOWN" "" Failover unreachable "this Redis is a replica that has lost its primary; it is looked for";
    "UNBLOCKED" "" Failover unreachable "this Redis became a replica; its primary is looked for";
    "OOM" "" Full full "Redis is out of memory; raise its `maxmemory` or let workers drain the queues";
    "MISCONF" "" NotDurable not_durable "Redis cannot write to its disk; see its log and free space";
    "NOREPLICAS" "" NotDurable not_durable
        "Redis has fewer replicas than `min-replicas-to-write`; bring them back";
    "NOAUTH" "" Auth denied
        "Redis wants a password; set ONCUE_REDIS_PASSWORD or ONCUE_REDIS_PASSWORD_FILE";
    "WRONGPASS" "" Auth denied "Redis refuses this user and password";
    "ERR" "invalid password" Auth denied "Redis refuses this password";
    "ERR" "without any password configured" Auth denied
        "Redis has no password for its default user; set one there or give none here";
    "NOPERM" "" Denied denied "this user of Redis may not do that; see its ACL rules";
    "ERR" "can't run this command" Denied denied "this user of Redis may not do that; see its ACL rules";
    "ERR" "can't access" Denied denied "this user of Redis may not do that; see its ACL rules";
    "DENIED" "" Denied denied "Redis is in protected mode; give it a password and a `bind` address";
    "ERR" "Function not found" Undeployed undeployed
        "this Redis lacks the functions of oncue; run `oncue deploy`";
    "NOSCRIPT" "" Broken corrupt "a script is not there; oncue uses none, so this is a bug";
    "MOVED" "" Broken invalid
        "this Redis is part of a cluster; write redis+cluster:// or rediss+cluster://";
    "ASK" "" Broken invalid
        "this Redis is part of a cluster; write redis+cluster:// or rediss+cluster://";
    "CROSSSLOT" "" Broken corrupt "one call named keys of two slots, which is a bug";
    "WRONGTYPE" "" Broken corrupt "a key of oncue holds something else; give oncue a Redis, or a namespace, of its own";
    "" "" Broken corrupt "Redis refused a call";
}

/// The meaning of an error reply `WORD rest`.
fn meaning(word: &str, rest: &str) -> Fault {
    let fits = |row: &&Row| (row.word == word || row.word.is_empty()) && rest.contains(row.rest);
    let row = TABLE.iter().find(fits).unwrap_or(&TABLE[TABLE.len() - 1]);
    let rest: String = rest.chars().take(QUOTE_MAX).collect();
    let message = match row.says {
        "" if rest.is_empty() => word.to_owned(),
        "" => rest,
        says => format!("{says} ({word} {rest})"),
    };
    Fault::new(row.class, (row.error)(message))
}

impl From<ServerError> for Fault {
    fn from(error: ServerError) -> Self {
        meaning(error.code(), error.details().unwrap_or_default())
    }
}

impl From<RedisError> for Fault {
    fn from(error: RedisError) -> Self {
        // Of a pipeline that failed, the first command that did says why.
        if let Some((_, first)) =
            error.clone().into_server_errors().and_then(|all| all.first().cloned())
        {
            return first.into();
        }
        let error = match ServerError::try_from(error) {
            Ok(reply) => return reply.into(),
            Err(error) => error,
        };
        if let Some(cause) = rustls_cause(&error) {
            return untrusted(cause);
        }
        let text: String = error.to_string().chars().take(QUOTE_MAX).collect();
        match error.kind() {
            ErrorKind::AuthenticationFailed => {
                Self::new(Class::Auth, Error::denied(format!("Redis refuses this login ({text})")))
            }
            ErrorKind::RESP3NotSupported => Self::new(
                Class::Broken,
                Error::invalid("this Redis is too old; oncue needs Redis 7"),
            ),
            ErrorKind::UnexpectedReturnType => {
                Self::new(Class::Broken, Error::corrupt(format!("Redis answered oddly ({text})")))
            }
            ErrorKind::InvalidClientConfig | ErrorKind::Client => Self::new(
                Class::Broken,
                Error::invalid(format!("Redis cannot be connected to like this ({text})")),
            ),
            // Nothing was sent.
            ErrorKind::ClusterConnectionNotFound => Self::new(
                Class::Transient,
                Error::unreachable(format!("a node of the cluster is not reached: {text}")),
            ),
            _ if error.is_timeout() => Self::new(
                Class::Ambiguous,
                Error::unreachable(
                    "Redis did not answer in time; whether the call took effect is unknown",
                ),
            ),
            _ => Self::new(
                Class::Ambiguous,
                Error::unreachable(format!("Redis is not reached: {text}")),
            ),
        }
    }
}

/// What TLS says, if it is TLS that failed.
fn rustls_cause(error: &RedisError) -> Option<&rustls::Error> {
    let source = std::error::Error::source(error)?;
    let shared = source.downcast_ref::<std::sync::Arc<dyn std::error::Error + Send + Sync>>()?;
    let io = shared.downcast_ref::<std::io::Error>()?;
    io.get_ref()?.downcast_ref()
}

/// Whether a peer complains of the certificate it was shown, or was not.
fn is_about_ours(alert: rustls::AlertDescription) -> bool {
    use rustls::AlertDescription as Alert;
    matches!(
        alert,
        Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::CertificateRequired
            | Alert::UnknownCA
    )
}

fn untrusted(cause: &rustls::Error) -> Fault {
    match cause {
        rustls::Error::InvalidCertificate(_) => Fault::new(
            Class::Broken,
            Error::refused(format!(
                "the certificate of Redis is not trusted ({cause}); name its authority by `?ca=FILE`, and the \
                 host as the certificate does"
            )),
        ),
        rustls::Error::AlertReceived(alert) if is_about_ours(*alert) => Fault::new(
            Class::Broken,
            Error::refused(format!(
                "Redis does not take our certificate ({cause}); name one that it trusts and that is not over by \
                 `?cert=FILE&key=FILE`"
            )),
        ),
        _ => Fault::new(Class::Broken, Error::refused(format!("TLS with Redis failed ({cause})"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(line: &str) -> Fault {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).expect("parses");
        value.extract_error().expect_err("an error").into()
    }

    #[test]
    fn every_reply_has_one_meaning() {
        type Is = fn(&Error) -> bool;
        let rows: &[(&str, Class, Is, &str)] = &[
            ("FENCED session s is gone", Class::Domain, Error::is_fenced, "session s is gone"),
            ("QFULL queue mail holds 9 tasks", Class::Full, Error::is_full, "queue mail holds 9"),
            ("NEWER format 9", Class::Domain, Error::is_newer, "format 9"),
            ("INVALID too many", Class::Domain, Error::is_invalid, "too many"),
            ("GONE no task", Class::Domain, Error::is_not_found, "no task"),
            (
                "LOADING Redis is loading the dataset in memory",
                Class::Transient,
                Error::is_unreachable,
                "try again later",
            ),
            (
                "BUSY Redis is busy running a script.",
                Class::Transient,
                Error::is_unreachable,
                "later",
            ),
            ("TRYAGAIN Multiple keys", Class::Transient, Error::is_unreachable, "slot"),
            ("CLUSTERDOWN Hash slot not served", Class::Transient, Error::is_unreachable, "slots"),
            ("MASTERDOWN Link with MASTER is down", Class::Failover, Error::is_unreachable, "lost"),
            (
                "ERR max number of clients reached",
                Class::Transient,
                Error::is_unreachable,
                "`maxclients`",
            ),
            (
                "READONLY You can't write against a read only replica.",
                Class::Failover,
                Error::is_unreachable,
                "its primary is looked for",
            ),
            (
                "UNBLOCKED force unblock from blocking operation",
                Class::Failover,
                Error::is_unreachable,
                "became a replica",
            ),
            (
                "OOM command not allowed when used memory > 'maxmemory'.",
                Class::Full,
                Error::is_full,
                "`maxmemory`",
            ),
            ("MISCONF Redis is configured to", Class::NotDurable, Error::is_not_durable, "disk"),
            ("NOREPLICAS Not enough", Class::NotDurable, Error::is_not_durable, "bring them back"),
            (
                "NOAUTH Authentication required.",
                Class::Auth,
                Error::is_denied,
                "ONCUE_REDIS_PASSWORD",
            ),
            ("WRONGPASS invalid username-password pair", Class::Auth, Error::is_denied, "refuses"),
            ("ERR invalid password", Class::Auth, Error::is_denied, "refuses"),
            (
                "ERR AUTH <password> called without any password configured for the default user.",
                Class::Auth,
                Error::is_denied,
                "no password",
            ),
            ("NOPERM User a has no permissions", Class::Denied, Error::is_denied, "ACL rules"),
            (
                "ERR The user executing the script can't run this command or subcommand script: x",
                Class::Denied,
                Error::is_denied,
                "ACL rules",
            ),
            (
                "ERR The user executing the script can't access at least one of the keys",
                Class::Denied,
                Error::is_denied,
                "ACL rules",
            ),
            ("DENIED Redis is running in protected mode", Class::Denied, Error::is_denied, "bind"),
            ("ERR Function not found", Class::Undeployed, Error::is_undeployed, "`oncue deploy`"),
            ("NOSCRIPT No matching script.", Class::Broken, Error::is_corrupt, "bug"),
            ("MOVED 7 10.0.0.1:6379", Class::Broken, Error::is_invalid, "redis+cluster://"),
            ("ASK 7 10.0.0.1:6379", Class::Broken, Error::is_invalid, "redis+cluster://"),
            ("CROSSSLOT Keys in request", Class::Broken, Error::is_corrupt, "two slots"),
            (
                "WRONGTYPE Operation against",
                Class::Broken,
                Error::is_corrupt,
                "a namespace, of its own",
            ),
            ("ERR syntax error", Class::Broken, Error::is_corrupt, "(ERR syntax error)"),
            ("ODD thing", Class::Broken, Error::is_corrupt, "(ODD thing)"),
        ];
        for (line, class, is, words) in rows {
            let fault = fault(line);
            assert_eq!(fault.class, *class, "{line}");
            let text = fault.error.to_string();
            assert!(is(&fault.error) && text.contains(words), "{line}: {:?}", fault.error);
        }
        for row in TABLE {
            let fits = |line: &str| {
                let (word, rest) = line.split_once(' ').expect("two words");
                (row.word.is_empty() || row.word == word) && rest.contains(row.rest)
            };
            assert!(rows.iter().any(|(line, ..)| fits(line)), "{} {} is shown", row.word, row.rest);
        }
    }

    #[test]
    fn what_redis_quotes_is_cut() {
        let fault = fault(&format!("ERR unknown command 'X', with args {}", "a".repeat(9_000)));
        assert!(fault.error.to_string().len() < 400);
    }

    #[test]
    fn what_never_came_is_ambiguous() {
        use std::io::{Error as Io, ErrorKind as Kind};
        for (kind, words) in [
            (Kind::TimedOut, "whether the call took effect is unknown"),
            (Kind::BrokenPipe, "not reached"),
            (Kind::ConnectionReset, "not reached"),
            (Kind::ConnectionRefused, "not reached"),
            (Kind::Other, "not reached"),
        ] {
            let fault = Fault::from(RedisError::from(Io::from(kind)));
            assert_eq!(fault.class, Class::Ambiguous, "{kind:?}");
            assert!(fault.error.is_unreachable(), "{kind:?}");
            assert!(fault.error.to_string().contains(words), "{:?}", fault.error);
            assert!(fault.class.ends_connection() && fault.class.passes());
        }
    }

    #[test]
    fn a_certificate_that_is_not_trusted_is_a_refusal() {
        let cause = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let io = std::io::Error::new(std::io::ErrorKind::InvalidData, cause);
        let fault = Fault::from(RedisError::from(io));
        assert_eq!(fault.class, Class::Broken);
        assert!(fault.error.is_refused() && fault.error.to_string().contains("?ca=FILE"));
    }
}
