//! TLS with certificates made here: the good ones are let in, each bad one is refused.

use redis::{Client, ClientTlsConfig, RedisResult, TlsCertificates};

use super::PATIENCE;
use crate::redis_servers::proxy::{Proxy, Way};
use crate::redis_servers::server::Server;
use crate::redis_servers::setup::{ClientCertificates, Setup};
use crate::redis_servers::tls::{Authority, Identity};

/// Greets a server as a client that trusts this authority and shows this certificate.
fn greet(url: &str, trusted: &Authority, own: Option<&Identity>) -> RedisResult<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client_tls = own.map(|own| ClientTlsConfig {
        client_cert: own.certificate.clone().into_bytes(),
        client_key: own.key.clone().into_bytes(),
    });
    let root_cert = Some(trusted.certificate().to_owned().into_bytes());
    let client = Client::build_with_tls(url, TlsCertificates { client_tls, root_cert })?;
    let mut connection = client.get_connection_with_timeout(PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    redis::cmd("PING").query(&mut connection)
}

fn server(identity: Identity, authority: &Authority, clients: ClientCertificates) -> Server {
    Setup::default().tls(identity, authority.certificate(), clients).start()
}

#[test]
fn clients_show_certificates_where_they_must() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let (worker, stranger) = (ours.client("worker"), theirs.client("worker"));
    for (clients, nobody, wrong) in [
        (ClientCertificates::Required, false, false),
        (ClientCertificates::Optional, true, false),
        (ClientCertificates::Ignored, true, true),
    ] {
        let server = server(ours.server(), &ours, clients);
        let url = server.url();
        assert!(url.starts_with("rediss://127.0.0.1:"), "{url}");
        greet(&url, &ours, Some(&worker)).expect("a good certificate");
        greet(&url.replace("127.0.0.1", "localhost"), &ours, Some(&worker)).expect("by its name");
        assert_eq!(greet(&url, &ours, None).is_ok(), nobody, "{clients:?}, without");
        assert_eq!(greet(&url, &ours, Some(&stranger)).is_ok(), wrong, "{clients:?}, a stranger's");
        let plain = url.replace("rediss:", "redis:");
        super::connect(&plain).map(drop).expect_err("TLS only");
    }
}

#[test]
fn servers_show_certificates_that_hold() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    for (identity, trusted) in [
        (ours.server(), &theirs),
        (theirs.server(), &ours),
        (ours.server_named(&["elsewhere.example"]), &ours),
        (ours.expired_server(), &ours),
    ] {
        let server = server(identity, &ours, ClientCertificates::Ignored);
        let refused = greet(&server.url(), trusted, None).expect_err("a bad certificate");
        assert!(format!("{refused:?}").contains("ertificate"), "{refused:?}");
    }
}

#[test]
fn a_proxy_lets_tls_through() {
    let ours = Authority::new("ours");
    let server = server(ours.server(), &ours, ClientCertificates::Ignored);
    let proxy = Proxy::to(&server);
    let url = format!("rediss://{}/0", proxy.address());
    greet(&url, &ours, None).expect("let through");
    assert_eq!(proxy.counts().requests, 0);
    proxy.cut_after(Way::Replies, 100);
    greet(&url, &ours, None).expect_err("cut");
}
