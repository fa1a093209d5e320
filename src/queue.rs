//! Names of queues and kinds: parsed once, valid ever after.
//!
//! Both share one grammar, narrow enough that a name is safe in a Redis key, a hash tag, an ACL
//! pattern, a URL, a log line and a shell. How queues share a worker is a lane's business, not a name's.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Result};

/// Longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

fn check(what: &str, name: &str) -> Result<()> {
    let first = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let rest = |b: u8| first(b) || matches!(b, b'_' | b'.' | b':' | b'-');
    let bytes = name.as_bytes();
    let fault = match bytes {
        [] => "is empty".to_owned(),
        _ if bytes.len() > NAME_BYTES_MAX => format!("has {} bytes", bytes.len()),
        [b, ..] if !first(*b) => "does not start with a letter or digit".to_owned(),
        _ => match name.char_indices().find(|(i, c)| !c.is_ascii() || !rest(bytes[*i])) {
            Some((at, c)) => format!("has {c:?} at byte {at}"),
            None => return Ok(()),
        },
    };
    let shown: String = name.chars().take(NAME_BYTES_MAX).collect();
    Err(Error::invalid(format!(
        "{what} {shown:?} {fault}; use 1 to {NAME_BYTES_MAX} of a-z 0-9 _ . : -, starting with a letter or digit"
    )))
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Parses `[a-z0-9][a-z0-9_.:-]{0,63}`; anything else [`is_invalid`](Error::is_invalid).
            pub fn parse(name: &str) -> Result<Self> {
                check($what, name)?;
                Ok(Self(name.into()))
            }

            /// The name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl std::str::FromStr for $type {
            type Err = Error;
            fn from_str(name: &str) -> Result<Self> {
                Self::parse(name)
            }
        }
    };
}

name!(
    /// The name of a queue.
    QueueName, "queue name"
);
name!(
    /// The name of a kind of task: what asynq calls its type.
    Kind, "kind"
);

impl Kind {
    /// The kind as it stands in a ticket.
    pub fn hash(&self) -> KindHash {
        KindHash::of(self.as_str())
    }
}

/// Forty bits that stand for a kind in a ticket: FNV-1a (64 bits), folded.
///
/// A collision costs a look at the record, never a wrong handler: the header, which is
/// authenticated, names the kind in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KindHash(pub [u8; 5]);

impl KindHash {
    /// The hash of a kind's name.
    pub const fn of(kind: &str) -> Self {
        let bytes = kind.as_bytes();
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        let mut i = 0;
        while i < bytes.len() {
            hash = (hash ^ bytes[i] as u64).wrapping_mul(0x0000_0100_0000_01b3);
            i += 1;
        }
        let folded = (hash ^ (hash >> 40)).to_be_bytes();
        Self([folded[3], folded[4], folded[5], folded[6], folded[7]])
    }

    /// The hash as a number, for brokers that index numbers.
    pub const fn number(self) -> u64 {
        let [a, b, c, d, e] = self.0;
        u64::from_be_bytes([0, 0, 0, a, b, c, d, e])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_exact() {
        for good in ["a", "0", "mail", "file:digest", "a_b.c:d-e", &"x".repeat(64)] {
            assert!(QueueName::parse(good).is_ok(), "{good}");
        }
        let long = "x".repeat(65);
        for bad in
            ["", "-a", ":a", "A", "a b", "a{b}", "a*", "a\n", "a\0", "ä", "aä", "a\r\n", &long]
        {
            let error = QueueName::parse(bad).expect_err(bad);
            assert!(error.is_invalid() && !error.to_string().contains(['\n', '\r', '\0']));
        }
    }

    #[test]
    fn kind_hashes_are_golden() {
        assert_eq!(KindHash::of("").number(), 0xe484e9d1b9);
        assert_eq!(KindHash::of("file:digest").number(), 0x14c99bcd4c);
        assert_ne!(KindHash::of("a"), KindHash::of("b"));
    }
}
