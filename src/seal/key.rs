//! A key: an id, 32 secret bytes, and what it may be used for.
//!
//! The bytes are wiped when dropped and shown by nothing; what is derived from them inside `ring` is not
//! wiped. How keys are written down together is [`keyring`](super::keyring)'s business.

use std::fmt;

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL_NOPAD, Encoding, HEXLOWER_PERMISSIVE};
use ring::hkdf;
use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::seal::epoch::no_random;

/// Length of a key.
pub(crate) const KEY_BYTES: usize = 32;
/// Fewer distinct bytes than this are no random key.
const DISTINCT_MIN: usize = 8;

/// What a sealing key is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// Seals and opens.
    Active,
    /// Opens only.
    Open,
    /// Known, and refused with an error of its own.
    Retired,
}

impl KeyState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Active, Self::Open, Self::Retired];

    /// The word for this state.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Open => "open",
            Self::Retired => "retired",
        }
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The 32 bytes of a key.
pub(crate) struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Reads base64 (either alphabet, padded or not) or 64 hex digits. The fault never quotes them.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        const FORM: &str = "has no 32 bytes; write them as base64 or as 64 hex digits";
        let bare = text.strip_suffix('=').unwrap_or(text);
        let encoding: &Encoding = match bare.len() {
            64 => &HEXLOWER_PERMISSIVE,
            43 if bare.contains(['-', '_']) => &BASE64URL_NOPAD,
            43 => &BASE64_NOPAD,
            _ => return Err(FORM),
        };
        if encoding.decode_len(bare.len()) != Ok(KEY_BYTES) {
            return Err(FORM);
        }
        let mut bytes = Zeroizing::new(vec![0; KEY_BYTES]);
        encoding.decode_mut(bare.as_bytes(), &mut bytes).map_err(|_| FORM)?;
        let mut seen = [false; 256];
        bytes.iter().for_each(|byte| seen[usize::from(*byte)] = true);
        if seen.iter().filter(|seen| **seen).count() < DISTINCT_MIN {
            return Err("is not random; make one with `oncue key generate`");
        }
        Ok(Self(bytes))
    }

    pub(crate) fn generate(random: &SystemRandom) -> Result<Self> {
        let mut bytes = Zeroizing::new(vec![0; KEY_BYTES]);
        random.fill(&mut bytes).map_err(|_| no_random())?;
        Ok(Self(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Appends the bytes as base64.
    pub(crate) fn write(&self, text: &mut String) {
        BASE64.encode_append(&self.0, text);
    }

    pub(crate) fn same(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

/// A key that seals or opens.
#[derive(Debug)]
pub(crate) struct Key {
    id: u32,
    state: KeyState,
    /// Only a retired key may come without.
    secret: Option<Secret>,
    prk: Option<hkdf::Prk>,
}

impl Key {
    pub(crate) fn new(id: u32, state: KeyState, secret: Option<Secret>) -> Self {
        let prk = secret.as_ref().map(|secret| prk(secret.bytes()));
        Self { id, state, secret, prk }
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    pub(crate) fn state(&self) -> KeyState {
        self.state
    }

    pub(crate) fn secret(&self) -> Option<&Secret> {
        self.secret.as_ref()
    }

    /// What epochs are derived from.
    pub(crate) fn prk(&self) -> Option<&hkdf::Prk> {
        self.prk.as_ref()
    }
}

/// `HKDF-Extract` of a key, once per key.
pub(crate) fn prk(master: &[u8]) -> hkdf::Prk {
    hkdf::Salt::new(hkdf::HKDF_SHA256, b"oncue/seal/v1").extract(master)
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// `HKDF-Expand` into the whole of `out`.
pub(crate) fn expand(prk: &hkdf::Prk, info: &[&[u8]], out: &mut [u8]) -> Result<()> {
    prk.expand(info, Length(out.len()))
        .and_then(|okm| okm.fill(out))
        .map_err(|_| Error::system("HKDF-SHA-256 refused to derive"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_notation_of_a_key_is_read() {
        let bytes: Vec<u8> = (224..=255).collect();
        let padded = BASE64.encode(&bytes);
        let url = BASE64URL_NOPAD.encode(&bytes);
        assert!(padded.contains('/') && url.contains('_'));
        let hex = HEXLOWER_PERMISSIVE.encode(&bytes);
        let upper = hex.to_uppercase();
        for text in [&padded, padded.trim_end_matches('='), &url, &format!("{url}="), &hex, &upper]
        {
            assert_eq!(Secret::parse(text).expect("reads").bytes(), bytes);
        }
        for bad in ["", "=", "abc", &padded[1..], &format!("{hex}0"), &hex[1..], &url.repeat(2)] {
            assert!(Secret::parse(bad).is_err(), "{bad}");
        }
        let mixed = format!("-{}", &padded[1..]);
        assert!(Secret::parse(&mixed).is_err(), "two alphabets in one");
    }

    #[test]
    fn weak_keys_are_refused() {
        let distinct = |n: u8| {
            let bytes: Vec<u8> = (0..32).map(|i| i % n).collect();
            Secret::parse(&BASE64.encode(&bytes))
        };
        assert!(distinct(1).expect_err("zero").contains("not random"));
        assert!(distinct(7).is_err() && distinct(8).is_ok());
    }

    #[test]
    fn a_key_shows_no_bytes() {
        let canary = "CanaryCanaryKeyCanaryCanaryKeyCanaryCanaryA=";
        let key = Key::new(3, KeyState::Open, Some(Secret::parse(canary).expect("key")));
        let mut text = String::new();
        key.secret().expect("secret").write(&mut text);
        assert_eq!(text, canary);
        let shown = format!("{key:?}");
        assert!(!shown.contains("Canary"), "{shown}");
        let decimal = format!("{:?}", key.secret().expect("secret").bytes());
        assert!(!shown.contains(&decimal[1..12]), "{shown}");
    }
}
