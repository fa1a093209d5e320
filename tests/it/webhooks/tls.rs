//! Whom a webhook trusts: a receiver of the authority it was given, under its own name, and nobody else.

use std::path::PathBuf;
use std::sync::Arc;

use oncue::Webhook;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

use crate::redis_servers::tls::{Authority, Identity};

use super::receiver::{Receiver, Reply, Wrap};
use super::site::Site;

/// A receiver that shows this certificate.
fn receiver(identity: &Identity) -> Receiver {
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.expect("a certificate")], key)
        .expect("an identity");
    let config = Arc::new(config);
    let wrap: Wrap = Arc::new(move |stream| {
        let connection = ServerConnection::new(config.clone()).map_err(std::io::Error::other)?;
        Ok(Box::new(StreamOwned::new(connection, stream)))
    });
    Receiver::wrapped(wrap, Arc::new(|_| Reply::of(200, "", b"\"in\"")))
}

fn file(home: &TempDir, authority: &Authority) -> PathBuf {
    let path = home.path().join("ca.pem");
    std::fs::write(&path, authority.certificate()).expect("written");
    path
}

fn hook(receiver: &Receiver, host: &str) -> Webhook {
    let url = format!("https://{host}:{}/", receiver.port);
    Webhook::new(&url).expect("a URL").unsigned()
}

#[test]
fn a_receiver_of_the_named_authority_is_trusted() {
    let (home, authority) = (tempfile::tempdir().expect("a directory"), Authority::new("ours"));
    let receiver = receiver(&authority.server());
    for host in ["127.0.0.1", "localhost"] {
        let site = Site::new(hook(&receiver, host).ca(file(&home, &authority)));
        assert_eq!(site.result(&site.put("1", 0)), serde_json::json!("in"));
        assert_eq!(receiver.request().header("host"), format!("{host}:{}", receiver.port));
    }
}

#[test]
fn a_receiver_that_cannot_show_who_it_is_gets_nothing() {
    let home = tempfile::tempdir().expect("a directory");
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let ca = file(&home, &ours);
    for (identity, trusted) in [
        (theirs.server(), Some(&ca)),
        (ours.server_named(&["other.example"]), Some(&ca)),
        (ours.expired_server(), Some(&ca)),
        // What the system trusts does not vouch for it.
        (ours.server(), None),
    ] {
        let receiver = receiver(&identity);
        let mut hook = hook(&receiver, "localhost");
        if let Some(ca) = trusted {
            hook = hook.ca(ca);
        }
        let site = Site::new(hook);
        let (class, reason, message) = site.failure("1");
        assert_eq!((&*class, &*reason), ("tls", "exhausted"), "{message}");
        receiver.assert_quiet();
    }
}
