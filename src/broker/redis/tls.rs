//! TLS: which authority is trusted and which certificate is ours. rustls with ring; host names are always
//! checked.

use std::fs;
use std::path::{Path, PathBuf};

use redis::{ClientTlsConfig, TlsCertificates};

use crate::error::{Error, Result};

/// The PEM files of a TLS connection; read at every connect, so that new ones count without a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tls {
    /// The only authorities trusted; those of the system if none.
    pub(super) ca: Option<PathBuf>,
    /// Our certificate, and its chain.
    pub(super) cert: Option<PathBuf>,
    /// Its private key.
    pub(super) key: Option<PathBuf>,
}

impl Tls {
    /// What the files hold now. Blocks for as long as small files take.
    pub(super) fn load(&self) -> Result<TlsCertificates> {
        // The library takes the process's provider; an application that chose one keeps it.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let client_tls = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                Some(ClientTlsConfig { client_cert: read(cert)?, client_key: read(key)? })
            }
            _ => None,
        };
        let root_cert = self.ca.as_deref().map(read).transpose()?;
        Ok(TlsCertificates { client_tls, root_cert })
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(path).map_err(|error| {
        Error::invalid(format!("cannot read the PEM file {}", path.display())).because(error)
    })?;
    // A file without any would trust nobody, or show nothing, and say so only at the handshake.
    let begins = b"-----BEGIN ";
    if !bytes.windows(begins.len()).any(|window| window == begins) {
        return Err(Error::invalid(format!("{} is not a PEM file", path.display())));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_pem_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ca.pem");
        let tls = Tls { ca: Some(path.clone()), ..Tls::default() };
        let error = tls.load().expect_err("missing");
        assert!(error.is_invalid() && error.to_string().contains("ca.pem"), "{error}");
        fs::write(&path, "DER").expect("written");
        assert!(tls.load().expect_err("no PEM").to_string().contains("is not a PEM file"));
        assert!(rustls::crypto::CryptoProvider::get_default().is_some());
    }
}
