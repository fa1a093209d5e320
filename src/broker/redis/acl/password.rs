//! A password of a user of Redis, on its way into an ACL file, where only its digest stands.

use std::fmt;
use std::path::PathBuf;

use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::super::credentials::{CredentialSource, FilePassword};
use crate::error::{Error, Result};

/// Bytes of a password made here: as many as its digest has.
const RANDOM_BYTES: usize = 32;
/// Fewest bytes of a password from elsewhere.
const BYTES_MIN: usize = 16;

/// A password. `Debug` does not show it.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// A new one that nobody can guess; letters and digits only.
    ///
    /// # Errors
    /// A system without randomness [`is_system`](Error::is_system).
    pub fn generate() -> Result<Self> {
        let mut bytes = Zeroizing::new([0; RANDOM_BYTES]);
        SystemRandom::new()
            .fill(&mut bytes[..])
            .map_err(|_| Error::system("the system gives no random bytes"))?;
        Ok(Self(Zeroizing::new(data_encoding::HEXLOWER.encode(&bytes[..]))))
    }

    /// The one in a file that only its owner can read, as workers read theirs.
    ///
    /// # Errors
    /// As [`FilePassword`]: [`is_denied`](Error::is_denied). One that could be guessed
    /// [`is_refused`](Error::is_refused).
    pub fn file(path: impl Into<PathBuf>) -> Result<Self> {
        let found = FilePassword(path.into()).load()?;
        if found.secret().len() < BYTES_MIN {
            return Err(Error::refused(format!(
                "the password has fewer than {BYTES_MIN} bytes, so it can be guessed from its digest; leave it to \
                 `oncue acl generate` to make one"
            )));
        }
        Ok(Self(Zeroizing::new(found.secret().to_owned())))
    }

    /// Its text: to be shown once to whoever must know it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// How Redis keeps it. Passwords must be long and random: the digest is fast, and whoever reads the ACL file
    /// can try others.
    pub fn sha256(&self) -> String {
        data_encoding::HEXLOWER.encode(digest(&SHA256, self.0.as_bytes()).as_ref())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password { .. }")
    }
}
