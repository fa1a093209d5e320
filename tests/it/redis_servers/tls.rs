//! Certificates for tests: authorities made on the spot, and what they sign, good and bad.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

/// Somebody who signs certificates; whoever trusts it trusts those.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new one, which nobody trusts yet and no other authority vouches for.
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key).expect("signed").pem();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// What those who trust it are given: its own certificate, as PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// For a server on this machine: `localhost` and 127.0.0.1.
    pub fn server(&self) -> Identity {
        self.server_named(&["localhost", "127.0.0.1"])
    }

    /// For a server of other names.
    pub fn server_named(&self, names: &[&str]) -> Identity {
        self.sign(params(names))
    }

    /// For a server on this machine, until long ago.
    pub fn expired_server(&self) -> Identity {
        self.sign(expired(params(&["localhost", "127.0.0.1"])))
    }

    /// For a client.
    pub fn client(&self, name: &str) -> Identity {
        self.sign(params(&[name]))
    }

    /// For a client, until long ago.
    pub fn expired_client(&self, name: &str) -> Identity {
        self.sign(expired(params(&[name])))
    }

    fn sign(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed").pem();
        Identity { certificate, key: key.serialize_pem() }
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names.clone()).expect("names");
    params.distinguished_name.push(DnType::CommonName, &names[0]);
    params
}

fn expired(mut params: CertificateParams) -> CertificateParams {
    params.not_before = rcgen::date_time_ymd(2019, 1, 1);
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    params
}
