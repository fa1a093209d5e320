//! Where a deployment is: the part of a URL before its `?`.
//!
//! Nothing is resolved or reached here. Errors never quote what stands before an `@`: it may be a password.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use crate::error::{Error, Result, suggestion};

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// What a URL may start with; whether it is encrypted.
const SCHEMES: [(&str, Shape, bool); 7] = [
    ("redis", Shape::One, false),
    ("rediss", Shape::One, true),
    ("unix", Shape::Unix, false),
    ("redis+sentinel", Shape::Sentinel, false),
    ("rediss+sentinel", Shape::Sentinel, true),
    ("redis+cluster", Shape::Cluster, false),
    ("rediss+cluster", Shape::Cluster, true),
];

#[derive(Clone, Copy)]
enum Shape {
    One,
    Unix,
    Sentinel,
    Cluster,
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    /// A name or an IP address, without brackets.
    pub(super) name: String,
    pub(super) port: u16,
}

impl Host {
    /// Whether what is sent there stays on this machine.
    pub(super) fn is_local(&self) -> bool {
        let ip = self.name.parse::<IpAddr>().map(|ip| ip.to_canonical().is_loopback());
        ip.unwrap_or_else(|_| self.name.eq_ignore_ascii_case("localhost"))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.contains(':') {
            true => write!(f, "[{}]:{}", self.name, self.port),
            false => write!(f, "{}:{}", self.name, self.port),
        }
    }
}

/// Where a deployment is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// One server.
    Host(Host),
    /// One server on this machine.
    Unix(PathBuf),
    /// Whichever server these sentinels call the primary of that name.
    Sentinel { sentinels: Vec<Host>, primary: String },
    /// The cluster some of whose nodes these are.
    Cluster(Vec<Host>),
}

impl Address {
    /// The hosts a URL names.
    pub(super) fn hosts(&self) -> &[Host] {
        match self {
            Self::Host(host) => std::slice::from_ref(host),
            Self::Unix(_) => &[],
            Self::Sentinel { sentinels, .. } => sentinels,
            Self::Cluster(nodes) => nodes,
        }
    }

    pub(super) fn is_local(&self) -> bool {
        self.hosts().iter().all(Host::is_local)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => return write!(f, "{host}"),
            Self::Unix(path) => return write!(f, "{}", path.display()),
            Self::Sentinel { primary, .. } => write!(f, "{primary} by sentinels ")?,
            Self::Cluster(_) => f.write_str("cluster ")?,
        }
        for (at, host) in self.hosts().iter().enumerate() {
            write!(f, "{}{host}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// A URL taken apart.
#[derive(Debug)]
pub(super) struct Parts<'u> {
    pub(super) address: Address,
    pub(super) tls: bool,
    pub(super) user: Option<String>,
    pub(super) password: Option<Zeroizing<String>>,
    /// What stands after the `?`.
    pub(super) query: &'u str,
}

impl<'u> Parts<'u> {
    pub(super) fn parse(url: &'u str) -> Result<Self> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| {
            Error::invalid("a Redis URL is redis://HOST, rediss://HOST or unix:///PATH")
        })?;
        let Some((_, shape, tls)) = SCHEMES.iter().find(|(name, ..)| *name == scheme).copied()
        else {
            let hint = suggestion(scheme, SCHEMES.iter().map(|(name, ..)| *name));
            return Err(Error::invalid(format!("unknown scheme {scheme:?} of a Redis URL{hint}")));
        };
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = place.split_once('/').unwrap_or((place, ""));
        // An `@` too late: `/` or `?` in a password cut it in two. Nothing of it may be quoted.
        if path.contains('@') || query.contains('@') {
            return Err(Error::invalid(
                "an `@` after `/` or `?` in a Redis URL; write `/` in a password as %2F, `?` as %3F, and `@` \
                 elsewhere as %40",
            ));
        }
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (Some(login), hosts),
            None => (None, authority),
        };
        let (user, password) = login.map_or(Ok((None, None)), read_login)?;
        let address = match shape {
            Shape::Unix => unix(hosts, path)?,
            Shape::One => {
                database(path)?;
                Address::Host(one(read_hosts(hosts, PORT)?)?)
            }
            Shape::Cluster => {
                database(path)?;
                Address::Cluster(read_hosts(hosts, PORT)?)
            }
            Shape::Sentinel => {
                let (primary, path) = path.split_once('/').unwrap_or((path, ""));
                database(path)?;
                let primary = decode(primary, "the name of the primary")?;
                if primary.is_empty() {
                    return Err(Error::invalid(format!(
                        "the URL does not say which primary; write {scheme}://HOST,HOST/NAME"
                    )));
                }
                Address::Sentinel { sentinels: read_hosts(hosts, SENTINEL_PORT)?, primary }
            }
        };
        Ok(Self { address, tls, user, password, query })
    }
}

fn read_login(login: &str) -> Result<(Option<String>, Option<Zeroizing<String>>)> {
    let (user, password) = match login.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (login, None),
    };
    let user = Some(decode(user, "the user")?).filter(|user| !user.is_empty());
    let password = password.map(|password| decode(password, "the password")).transpose()?;
    Ok((user, password.map(Zeroizing::new)))
}

/// Percent-decodes a part of a URL.
pub(super) fn decode(text: &str, what: &str) -> Result<String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| Error::invalid(format!("{what} in the URL is not UTF-8")))
}

fn unix(hosts: &str, path: &str) -> Result<Address> {
    if !hosts.is_empty() || path.is_empty() {
        return Err(Error::invalid("a socket is named by its whole path: unix:///PATH"));
    }
    Ok(Address::Unix(format!("/{}", decode(path, "the path")?).into()))
}

fn one(mut hosts: Vec<Host>) -> Result<Host> {
    if hosts.len() > 1 {
        return Err(Error::invalid(
            "more than one host; write redis+cluster://HOST,HOST or redis+sentinel://HOST,HOST/NAME",
        ));
    }
    hosts.pop().ok_or_else(no_host)
}

fn no_host() -> Error {
    Error::invalid("the Redis URL names no host")
}

fn read_hosts(text: &str, port: u16) -> Result<Vec<Host>> {
    text.split(',').map(|host| read_host(host, port)).collect()
}

fn read_host(text: &str, default: u16) -> Result<Host> {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (name, rest) =
                rest.split_once(']').ok_or_else(|| Error::invalid("a host lacks its `]`"))?;
            let ip = name.parse::<std::net::Ipv6Addr>();
            ip.map_err(|_| Error::invalid(format!("[{name}] is not an IPv6 address")))?;
            (name, rest)
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    if name.is_empty() {
        return Err(no_host());
    }
    let wrong = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':'));
    if name.contains(wrong) {
        return Err(Error::invalid("the host of the Redis URL is not a name or an address"));
    }
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => Some(default),
        None => None,
        Some(port) => port.parse().ok().filter(|port| *port > 0),
    };
    // The port is not quoted: in a URL that lost its host a password stands there.
    let port = port.ok_or_else(|| {
        Error::invalid(format!("the port of host {name} is not a number from 1 to 65535"))
    })?;
    Ok(Host { name: name.to_owned(), port })
}

/// Only database 0.
fn database(path: &str) -> Result<()> {
    match path {
        "" | "0" => Ok(()),
        path if path.bytes().all(|byte| byte.is_ascii_digit()) => Err(Error::invalid(format!(
            "database {path} is not used: the users of oncue may not SELECT, clusters have only database 0, and \
             namespaces keep queues apart"
        ))),
        _ => Err(Error::invalid(
            "the path of the Redis URL is not a database; only /0 may stand there",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, port: u16) -> Host {
        Host { name: name.to_owned(), port }
    }

    #[test]
    fn a_url_names_a_deployment() {
        let hosts = || vec![host("a", 26379), host("10.0.0.2", 5), host("::1", 26379)];
        for (url, tls, address) in [
            ("redis://h", false, Address::Host(host("h", 6379))),
            ("rediss://[::1]:7/0?ca=x", true, Address::Host(host("::1", 7))),
            ("unix:///run/a%20b.sock", false, Address::Unix("/run/a b.sock".into())),
            (
                "rediss+sentinel://u:p@a,10.0.0.2:5,[::1]/my%2Dname/0",
                true,
                Address::Sentinel { sentinels: hosts(), primary: "my-name".into() },
            ),
            (
                "redis+cluster://a,b:1/",
                false,
                Address::Cluster(vec![host("a", 6379), host("b", 1)]),
            ),
        ] {
            let parts = Parts::parse(url).expect(url);
            assert_eq!((parts.tls, parts.address), (tls, address), "{url}");
        }
    }

    #[test]
    fn a_login_is_decoded() {
        for (url, user, password) in [
            ("redis://h", None, None),
            ("redis://u@h", Some("u"), None),
            ("redis://:p@h", None, Some("p")),
            ("redis://u:a:b%40%2F%3f@c@h", Some("u"), Some("a:b@/?@c")),
        ] {
            let parts = Parts::parse(url).expect(url);
            assert_eq!(parts.user.as_deref(), user, "{url}");
            assert_eq!(parts.password.as_ref().map(|word| word.as_str()), password, "{url}");
            assert_eq!(parts.address, Address::Host(host("h", 6379)));
        }
    }

    #[test]
    fn what_is_wrong_is_named_without_the_password() {
        for (url, part) in [
            ("redis:h", "redis://HOST"),
            ("rediis://h", "unknown scheme \"rediis\" of a Redis URL; did you mean"),
            ("redis://u:hunter2@", "names no host"),
            ("redis://u:hunter2@h:0", "port of host h"),
            ("redis://u:hunter2", "port of host u"),
            ("redis://u:hun/ter2@h", "%2F"),
            ("redis://u:hun?ter2@h", "%3F"),
            ("redis://u:hun%FFter2@h", "password in the URL is not UTF-8"),
            ("redis://u:hunter2@a b", "not a name"),
            ("redis://u:hunter2@[::1", "lacks its `]`"),
            ("redis://u:hunter2@[::x]", "not an IPv6 address"),
            ("redis://u:hunter2@a,b", "redis+cluster://"),
            ("redis://u:hunter2@h/3", "database 3 is not used"),
            ("redis://u:hunter2@h/x", "only /0"),
            ("redis+sentinel://u:hunter2@h", "which primary"),
            ("unix://run/x", "unix:///PATH"),
        ] {
            let error = Parts::parse(url).expect_err(url);
            assert!(error.is_invalid() && error.to_string().contains(part), "{url}: {error}");
            assert!(!format!("{error:?}").contains("ter2"), "{error}");
        }
    }

    #[test]
    fn only_this_machine_is_local() {
        for (name, local) in [
            ("localhost", true),
            ("127.8.9.1", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.0.0.1", false),
            ("0.0.0.0", false),
            ("localhost.example.org", false),
        ] {
            assert_eq!(host(name, 1).is_local(), local, "{name}");
        }
    }
}
