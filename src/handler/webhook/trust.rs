//! Which certificates a webhook trusts: those the system does, or one file's and no others. rustls with ring.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::error::{Error, Result};

/// Largest file of certificates.
const CA_BYTES_MAX: u64 = 1 << 20;

/// How receivers are verified. Reads files, for as long as that takes.
pub(super) fn config(ca: Option<&Path>) -> Result<Arc<ClientConfig>> {
    let roots = match ca {
        Some(path) => named(path)?,
        None => system()?,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| Error::system("TLS cannot be set up").because(error))?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn named(path: &Path) -> Result<RootCertStore> {
    let wrong = |why: &str| Error::invalid(format!("ca {}: {why}", path.display()));
    let size = path.metadata().map_err(|error| wrong("cannot be read").because(error))?.len();
    if size > CA_BYTES_MAX {
        return Err(wrong(&format!("is over {CA_BYTES_MAX} bytes")));
    }
    let bytes = std::fs::read(path).map_err(|error| wrong("cannot be read").because(error))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|error| wrong("is not PEM").because(error))?;
        roots
            .add(certificate)
            .map_err(|error| wrong("holds no good certificate").because(error))?;
    }
    if roots.is_empty() { Err(wrong("holds no certificate in PEM")) } else { Ok(roots) }
}

fn system() -> Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // One that nobody can read is no reason to trust none.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let missing = Error::invalid(
            "this system trusts no certificates; install ca-certificates, or name a file by `ca`",
        );
        return Err(match found.errors.into_iter().next() {
            Some(error) => missing.because(error),
            None => missing,
        });
    }
    Ok(roots)
}
