//! TLS with certificates on both sides: to a server, by Sentinels and to a cluster it works with good ones, and each
//! bad one is refused in words that name it.

use std::path::Path;
use std::time::Duration;

use oncue::broker::Inspect;
use oncue::broker::redis::{Options, RedisBroker};
use oncue::{Error, Result};
use tempfile::TempDir;

use super::company::{Shop, completed};
use super::site::eventually;
use crate::fixture::run;
use crate::redis_servers::cluster::Cluster;
use crate::redis_servers::sentinel::Sentinels;
use crate::redis_servers::setup::{ClientCertificates, Setup};
use crate::redis_servers::tls::{Authority, Identity};

const WORK: Duration = Duration::from_millis(5);
const PAUSE: Duration = Duration::from_millis(2);

/// The PEM files of a client.
pub struct Pem(TempDir);

impl Pem {
    pub fn new(trusted: &Authority, own: Option<&Identity>) -> Self {
        let files = Self(tempfile::tempdir().expect("a directory"));
        files.trust(trusted);
        if let Some(own) = own {
            files.show(own);
        }
        files
    }

    /// From now on this authority is trusted, and no other.
    pub fn trust(&self, authority: &Authority) {
        self.write("ca.pem", authority.certificate());
    }

    /// From now on this certificate is shown.
    pub fn show(&self, own: &Identity) {
        self.write("cert.pem", &own.certificate);
        self.write("key.pem", &own.key);
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).expect("written");
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// The URL with these files.
    pub fn url(&self, url: &str) -> String {
        let at = self.path().display();
        let url = url.strip_suffix("/0").unwrap_or(url);
        let own = if self.path().join("cert.pem").exists() {
            format!("&cert={at}/cert.pem&key={at}/key.pem")
        } else {
            String::new()
        };
        format!("{url}?ca={at}/ca.pem{own}")
    }
}

/// A server that wants certificates of its clients.
fn mutual(identity: Identity, authority: &Authority) -> Setup {
    Setup::default().tls(identity, authority.certificate(), ClientCertificates::Required)
}

fn greet(url: &str) -> Result<()> {
    let options = Options::parse(&format!("{url}&timeout=2s")).expect("a URL");
    run(RedisBroker::open(options).expect("a broker").stats()).map(drop)
}

/// Tasks run, and whoever shows no certificate is refused.
fn works_with_certificates(url: &str, ours: &Authority) {
    let files = Pem::new(ours, Some(&ours.client("worker")));
    let shop = Shop::at(&files.url(url));
    let client = shop.client();
    let (worker, producer) = (shop.worker(WORK), shop.producer(PAUSE));
    eventually("traffic", || shop.told.settled() > 50);
    let acked = producer.end();
    shop.drained(&client);
    let done = completed(&client);
    assert!(done == acked || done == acked + 1, "{acked} acknowledged, {done} completed");
    worker.end();
    for (files, words) in [
        (Pem::new(ours, None), "CertificateRequired); name one"),
        (Pem::new(ours, Some(&Authority::new("theirs").client("worker"))), "UnknownCA); name one"),
        (Pem::new(&Authority::new("theirs"), Some(&ours.client("worker"))), "?ca=FILE"),
    ] {
        assert_names(&greet(&files.url(url)).expect_err("refused"), words);
    }
}

#[test]
fn sentinels_with_tls_are_followed() {
    let ours = Authority::new("ours");
    let deployment = Sentinels::with(&mutual(ours.server(), &ours));
    works_with_certificates(&deployment.url(), &ours);
}

#[test]
fn a_cluster_with_tls_is_worked_on() {
    let ours = Authority::new("ours");
    let cluster = Cluster::with(&mutual(ours.server(), &ours));
    works_with_certificates(&cluster.url(), &ours);
}

fn assert_names(error: &Error, words: &str) {
    assert!(error.is_refused() && error.to_string().contains(words), "{error:?}");
}

#[test]
fn certificates_that_are_not_good_are_refused_and_named() {
    let ours = Authority::new("ours");
    let files = Pem::new(&ours, Some(&ours.client("worker")));
    let server = |identity| mutual(identity, &ours).start();
    let good = server(ours.server());
    greet(&files.url(&good.url())).expect("a control: both are good");

    let expired = server(ours.expired_server());
    assert_names(
        &greet(&files.url(&expired.url())).expect_err("the server's is over"),
        "certificate expired",
    );
    let elsewhere = server(ours.server_named(&["elsewhere.example"]));
    assert_names(&greet(&files.url(&elsewhere.url())).expect_err("another's name"), "elsewhere");

    files.show(&ours.expired_client("worker"));
    assert_names(
        &greet(&files.url(&good.url())).expect_err("the client's is over"),
        "CertificateExpired); name one",
    );
    files.show(&Authority::new("theirs").client("worker"));
    assert_names(
        &greet(&files.url(&good.url())).expect_err("of nobody we know"),
        "UnknownCA); name one",
    );
    let nobody = Pem::new(&ours, None);
    assert_names(
        &greet(&nobody.url(&good.url())).expect_err("none"),
        "CertificateRequired); name one",
    );
    files.show(&ours.client("worker"));
    greet(&files.url(&good.url())).expect("a control: it takes good ones still");
}
