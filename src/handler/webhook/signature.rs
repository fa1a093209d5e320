//! How a receiver knows who sent a request: signatures as Standard Webhooks 1.0.0 has them, scheme `v1`.
//!
//! HMAC-SHA-256 over id, time and body. Of the headers only these two are signed, `webhook-id` and `webhook-timestamp`.

use std::fmt;
use std::path::Path;

use data_encoding::BASE64;
use ring::hmac;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::secret::{Secret, variable};

/// What a secret begins with.
const PREFIX: &str = "whsec_";
/// Fewest and most bytes of a secret.
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Most bytes of a secret as text, with a line end.
const TEXT_BYTES_MAX: usize = 128;

const FILE: Secret = Secret {
    what: "signing secret",
    missing: "; write `whsec_` and the base64 of 24 to 64 random bytes into it, mode 0600",
    bytes_max: TEXT_BYTES_MAX,
    error: |message| Error::key(message),
};

/// What sender and receiver of a webhook share: `whsec_` and the base64 of 24 to 64 random bytes.
///
/// It is never printed. One made by `echo "whsec_$(openssl rand -base64 32)"` is fine.
#[derive(Clone)]
pub struct SigningSecret(hmac::Key);

impl SigningSecret {
    /// Reads a secret; no error quotes it.
    ///
    /// # Errors
    /// What is wrong with it, [`is_key`](Error::is_key).
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| {
            Error::key(format!(
                "the signing secret {why}; write `whsec_` and the base64 of 24 to 64 random bytes"
            ))
        };
        let encoded = text.trim().strip_prefix(PREFIX);
        let encoded = encoded.ok_or_else(|| wrong("does not begin with whsec_"))?;
        let bytes = BASE64.decode(encoded.as_bytes()).map_err(|_| wrong("is not base64"))?;
        let bytes = Zeroizing::new(bytes);
        if !BYTES.contains(&bytes.len()) {
            return Err(wrong(&format!("has {} bytes", bytes.len())));
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// Reads a secret from a file, which is refused unless only its owner may use it.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), and for a file that is missing or open to others.
    pub fn file(path: &Path) -> Result<Self> {
        let bytes = FILE.file(path)?;
        let named = |error: Error| Error::key(format!("{}: {error}", path.display()));
        Self::of_bytes(&bytes).map_err(named)
    }

    /// Reads a secret from a variable of the environment.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), and if it is not set.
    pub fn env(name: &str) -> Result<Self> {
        let bytes = variable(name).ok_or_else(|| {
            Error::key(format!("{name} is not set; it is to hold the signing secret of a webhook"))
        })?;
        Self::of_bytes(&bytes).map_err(|error| Error::key(format!("{name}: {error}")))
    }

    fn of_bytes(bytes: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(bytes);
        Self::parse(text.map_err(|_| Error::key("the signing secret is not text"))?)
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(***)")
    }
}

/// The header `webhook-signature`: one signature a secret, so that a receiver may know the old one or the new.
pub(super) fn sign(secrets: &[SigningSecret], id: &str, seconds: u64, body: &[u8]) -> String {
    let signatures = secrets.iter().map(|SigningSecret(key)| {
        let mut context = hmac::Context::with_key(key);
        context.update(format!("{id}.{seconds}.").as_bytes());
        context.update(body);
        format!("v1,{}", BASE64.encode(context.sign().as_ref()))
    });
    signatures.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn a_known_answer_comes_out() {
        // Of the reference libraries of the specification.
        let body = b"{\"test\": 2432232314}";
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let known = SigningSecret::parse(KNOWN).expect("a secret");
        let sign = |secrets: &[SigningSecret], id: &str, seconds, body: &[u8]| {
            super::sign(secrets, id, seconds, body)
        };
        let (id, seconds) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330);
        assert_eq!(sign(std::slice::from_ref(&known), id, seconds, body), expected);
        let other = SigningSecret::parse(&format!("whsec_{}", BASE64.encode(&[7; 64])));
        let both = sign(&[other.expect("a secret"), known.clone()], id, seconds, body);
        assert!(both.ends_with(&format!(" {expected}")) && both.matches("v1,").count() == 2);
        for (id, seconds, body) in [
            ("msg_other", seconds, &body[..]),
            (id, seconds + 1, body),
            (id, seconds, b"{\"test\": 2432232315}"),
        ] {
            assert_ne!(sign(std::slice::from_ref(&known), id, seconds, body), expected);
        }
    }

    #[test]
    fn what_is_no_secret_is_refused_and_never_quoted() {
        let short = format!("whsec_{}", BASE64.encode(&[0; 23]));
        let long = format!("whsec_{}", BASE64.encode(&[0; 65]));
        for (text, words) in [
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "begin with whsec_"),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", "not base64"),
            (&*short, "has 23 bytes"),
            (&*long, "has 65 bytes"),
        ] {
            let error = SigningSecret::parse(text).expect_err(words);
            assert!(error.is_key() && error.to_string().contains(words), "{error}");
            assert!(!error.to_string().contains("MfKQ"), "{error}");
        }
        let secret = SigningSecret::parse(&format!(" {KNOWN}\n")).expect("a secret");
        assert_eq!(format!("{secret:?}"), "SigningSecret(***)");
    }
}
