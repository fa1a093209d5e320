//! Where a webhook goes: a URL that was checked, and how much of it may be shown.

use std::fmt;
use std::net::IpAddr;

use hyper::Uri;
use rustls::pki_types::ServerName;

use crate::error::{Error, Result};

/// Longest URL, in bytes.
const URL_BYTES_MAX: usize = 2048;

/// A receiver. Shown without the query of its URL, where tokens like to stand.
#[derive(Clone)]
pub(super) struct Address {
    /// As in the header `host`.
    pub(super) authority: String,
    /// A name or an IP address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) is_https: bool,
    /// Path and query.
    pub(super) target: Uri,
}

impl Address {
    /// Reads a URL; no message quotes it.
    pub(super) fn parse(url: &str) -> Result<Self> {
        let wrong = |why: &str| Error::invalid(format!("the URL of a webhook {why}"));
        if url.len() > URL_BYTES_MAX {
            return Err(wrong(&format!("is over {URL_BYTES_MAX} bytes")));
        }
        let uri: Uri = url.parse().map_err(|_| wrong("is none; write https://host/path"))?;
        let is_https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong("does not start with https://")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong(
                "holds credentials, which end up in logs; use the header `authorization`",
            ));
        }
        let bracketed = authority.host();
        let port = match (authority.port_u16(), authority.as_str().len() > bracketed.len()) {
            (Some(port), _) if port > 0 => port,
            (None, false) => {
                if is_https {
                    443
                } else {
                    80
                }
            }
            _ => return Err(wrong("has a port that is no number from 1 to 65535")),
        };
        let host = bracketed.trim_start_matches('[').trim_end_matches(']').to_owned();
        if ServerName::try_from(host.as_str()).is_err() {
            return Err(wrong("names a host that is neither a name nor an IP address"));
        }
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let target = target.parse().map_err(|_| wrong("has a path that cannot be sent"))?;
        Ok(Self { authority: authority.as_str().to_owned(), host, port, is_https, target })
    }

    /// Whether it is this machine by its very name.
    pub(super) fn is_loopback(&self) -> bool {
        let ip = self.host.parse::<IpAddr>();
        self.host.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        let query = if self.target.query().is_some() { "?***" } else { "" };
        write!(f, "{scheme}://{}{}{query}", self.authority, self.target.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_query() {
        for (url, shown, host, port, loopback) in [
            (
                "https://a.example/in?token=s3cret#x",
                "https://a.example/in?***",
                "a.example",
                443,
                false,
            ),
            ("https://a.example", "https://a.example/", "a.example", 443, false),
            ("http://localhost:80/", "http://localhost:80/", "localhost", 80, true),
            ("http://[::1]:9/x", "http://[::1]:9/x", "::1", 9, true),
            ("http://127.0.0.9", "http://127.0.0.9/", "127.0.0.9", 80, true),
            (
                "http://localhost.example/",
                "http://localhost.example/",
                "localhost.example",
                80,
                false,
            ),
            ("http://10.0.0.1/", "http://10.0.0.1/", "10.0.0.1", 80, false),
        ] {
            let address = Address::parse(url).expect(url);
            assert_eq!(address.to_string(), shown);
            assert_eq!(
                (&*address.host, address.port, address.is_loopback()),
                (host, port, loopback)
            );
        }
    }

    #[test]
    fn what_is_no_address_is_refused_and_never_quoted() {
        let long = format!("https://s3cret.example/{}", "x".repeat(URL_BYTES_MAX));
        for (url, words) in [
            ("https://ada:s3cret@a.example/", "credentials"),
            ("ftp://a.example/s3cret", "does not start with https://"),
            ("/s3cret", "does not start with https://"),
            ("https://s3cret.example:99999/", "port"),
            ("https://s3cret.example:0/", "port"),
            ("https://s3cret!example/", "neither a name"),
            ("https://s3cret example/", "is none"),
            (&*long, "over 2048 bytes"),
        ] {
            let error = Address::parse(url).err().expect(url).to_string();
            assert!(error.contains(words) && !error.contains("s3cret"), "{url}: {error}");
        }
    }
}
