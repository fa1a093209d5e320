//! The keyring: every key a process knows, and the text it is written in.
//!
//! Entries are separated by whitespace or commas, `#` starts a comment to the end of the line. An entry
//! is `[state:]id:bytes`: state is `active` (the default), `open`, `retired` or `index`; id is 1 to
//! 4294967295; bytes are base64 or 64 hex digits, and `retired:id` needs none. Index keys have ids of
//! their own. Errors name the entry by its number and never quote it.
//!
//! ```text
//! active:2:...   # seals and opens
//! open:1:...     # opens what is still around
//! index:1:...    # derives task ids from callers' keys
//! ```

use std::fmt;

use ring::hkdf;
use ring::rand::SystemRandom;
use zeroize::Zeroizing;

use crate::error::{Error, Result, suggestion};
use crate::seal::index::IndexKey;
use crate::seal::key::{Key, KeyState, Secret, expand};

/// Most keys of one keyring.
pub const KEYS_MAX: usize = 64;
/// Longest text of a keyring, in bytes.
pub const KEYRING_BYTES_MAX: usize = 64 * 1024;
/// Length of a key-check value.
const CHECK_BYTES: usize = 8;
/// The word for an index key, which is no state.
const INDEX: &str = "index";
/// Room for one entry of the text: state, id, base64, separators.
const ENTRY_BYTES: usize = 72;

/// The keys of a process.
pub struct Keyring {
    keys: Vec<Key>,
    /// Newest first: the highest id.
    index: Vec<IndexKey>,
}

enum Entry {
    Sealing(Key),
    Index(IndexKey),
}

impl Keyring {
    /// Reads the text of a keyring; whatever is wrong with it [`is_key`](Error::is_key).
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > KEYRING_BYTES_MAX {
            return Err(Error::key(format!("a keyring has at most {KEYRING_BYTES_MAX} bytes")));
        }
        let mut ring = Self { keys: Vec::new(), index: Vec::new() };
        let words = text
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default())
            .flat_map(|line| line.split([' ', '\t', '\r', ',']))
            .filter(|word| !word.is_empty());
        for (number, word) in (1usize..).zip(words) {
            if number > KEYS_MAX {
                return Err(Error::key(format!("a keyring has at most {KEYS_MAX} entries")));
            }
            parse_entry(word)
                .and_then(|entry| ring.add(entry).map_err(str::to_owned))
                .map_err(|fault| Error::key(format!("keyring entry {number} {fault}")))?;
        }
        if ring.keys.is_empty() && ring.index.is_empty() {
            return Err(Error::key("the keyring is empty; make one with `oncue key generate`"));
        }
        ring.index.sort_by_key(|key| std::cmp::Reverse(key.id()));
        Ok(ring)
    }

    /// A new keyring: one active key and one index key, both with id 1.
    pub fn generate() -> Result<Self> {
        let random = SystemRandom::new();
        let key = Key::new(1, KeyState::Active, Some(Secret::generate(&random)?));
        let index = IndexKey::new(1, Secret::generate(&random)?);
        Ok(Self { keys: vec![key], index: vec![index] })
    }

    fn add(&mut self, entry: Entry) -> Result<(), &'static str> {
        let secret = match &entry {
            Entry::Sealing(key) => key.secret(),
            Entry::Index(key) => Some(key.secret()),
        };
        let known = self.keys.iter().filter_map(Key::secret);
        let mut known = known.chain(self.index.iter().map(IndexKey::secret));
        if secret.is_some_and(|secret| known.any(|other| other.same(secret))) {
            return Err("has the bytes of an earlier entry; every key needs its own");
        }
        const TAKEN: &str = "has the id of an earlier entry; give it another";
        match entry {
            Entry::Sealing(key) if self.find(key.id()).is_some() => return Err(TAKEN),
            Entry::Sealing(key) if key.state() == KeyState::Active && self.active().is_some() => {
                return Err("is a second active key; make all but one `open`");
            }
            Entry::Sealing(key) => self.keys.push(key),
            Entry::Index(key) if self.index.iter().any(|other| other.id() == key.id()) => {
                return Err(TAKEN);
            }
            Entry::Index(key) => self.index.push(key),
        }
        Ok(())
    }

    /// The text that [`parse`](Self::parse) reads, one entry a line; wiped when dropped.
    pub fn to_text(&self) -> Zeroizing<String> {
        // Room for all of it from the start: a string that grows leaves copies behind.
        let entries = self.keys.len() + self.index.len();
        let mut text = Zeroizing::new(String::with_capacity(entries * ENTRY_BYTES));
        let sealing = self.keys.iter().map(|key| (key.state().as_str(), key.id(), key.secret()));
        let index = self.index.iter().map(|key| (INDEX, key.id(), Some(key.secret())));
        for (word, id, secret) in sealing.chain(index) {
            text.push_str(word);
            text.push(':');
            text.push_str(&id.to_string());
            if let Some(secret) = secret {
                text.push(':');
                secret.write(&mut text);
            }
            text.push('\n');
        }
        text
    }

    fn find(&self, id: u32) -> Option<&Key> {
        self.keys.iter().find(|key| key.id() == id)
    }

    fn active(&self) -> Option<&Key> {
        self.keys.iter().find(|key| key.state() == KeyState::Active)
    }

    /// The id of the key that seals; none if this keyring only opens.
    pub fn active_id(&self) -> Option<u32> {
        self.active().map(Key::id)
    }

    /// Id and state of every sealing key, in the order of the text.
    pub fn states(&self) -> Vec<(u32, KeyState)> {
        self.keys.iter().map(|key| (key.id(), key.state())).collect()
    }

    /// The ids of the index keys, newest first.
    pub fn index_ids(&self) -> Vec<u32> {
        self.index.iter().map(IndexKey::id).collect()
    }

    /// Id and check value of every sealing key whose bytes are here: tells two keys of one id apart
    /// without telling the key.
    pub fn key_checks(&self) -> Vec<(u32, [u8; CHECK_BYTES])> {
        let check = |key: &Key| {
            let mut value = [0; CHECK_BYTES];
            expand(key.prk()?, &[b"oncue/check/v1"], &mut value).ok()?;
            Some((key.id(), value))
        };
        self.keys.iter().filter_map(check).collect()
    }

    pub(crate) fn index(&self) -> &[IndexKey] {
        &self.index
    }

    /// The key to seal with.
    pub(crate) fn sealing(&self) -> Result<(u32, &hkdf::Prk)> {
        self.active().and_then(|key| Some((key.id(), key.prk()?))).ok_or_else(|| {
            Error::key(
                "the keyring has no active key, so it only opens; add one, or make one `active`",
            )
        })
    }

    /// The key to open with.
    pub(crate) fn opening(&self, id: u32) -> Result<&hkdf::Prk> {
        match self.find(id).map(|key| (key.state(), key.prk())) {
            Some((KeyState::Active | KeyState::Open, Some(prk))) => Ok(prk),
            Some(_) => Err(Error::retired_key(format!(
                "key {id} is retired; make it `open` to open what it sealed"
            ))),
            None => Err(Error::unknown_key(format!(
                "key {id} is not in the keyring; add it as `open:{id}:...`"
            ))),
        }
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring {{ keys: {:?}, index: {:?} }}", self.states(), self.index_ids())
    }
}

/// Reads one entry. A fault quotes nothing: a misplaced colon would make it quote key bytes.
fn parse_entry(word: &str) -> Result<Entry, String> {
    let parts: Vec<&str> = word.split(':').collect();
    let (state, id, bytes) = match parts[..] {
        [id, bytes] if id.bytes().all(|byte| byte.is_ascii_digit()) => ("active", id, Some(bytes)),
        [state, id] => (state, id, None),
        [state, id, bytes] => (state, id, Some(bytes)),
        _ => return Err("is not [state:]id:bytes".into()),
    };
    let words = KeyState::ALL.map(KeyState::as_str);
    let known = KeyState::ALL.into_iter().find(|known| known.as_str() == state);
    if known.is_none() && state != INDEX {
        let near = suggestion(state, words.into_iter().chain([INDEX]));
        return Err(format!("has an unknown state: use active, open, retired or index{near}"));
    }
    let id = match id.parse() {
        Ok(id) if id > 0 => id,
        _ => return Err("has no id: use a number from 1 to 4294967295".into()),
    };
    let secret = bytes.map(Secret::parse).transpose()?;
    match (known, secret) {
        (Some(state), Some(secret)) => Ok(Entry::Sealing(Key::new(id, state, Some(secret)))),
        (Some(KeyState::Retired), None) => {
            Ok(Entry::Sealing(Key::new(id, KeyState::Retired, None)))
        }
        (None, Some(secret)) => Ok(Entry::Index(IndexKey::new(id, secret))),
        (_, None) => Err("has no bytes: only a retired key needs none".into()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const B: &str = "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f";
    const C: &str = "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8";

    fn fault(text: &str) -> String {
        let error = Keyring::parse(text).expect_err(text);
        assert!(error.is_key());
        let shown = format!("{error:?}");
        for secret in [A, B, C] {
            assert!(!shown.contains(&secret[..6]), "{shown}");
        }
        error.to_string()
    }

    #[test]
    fn every_separator_comment_and_default_is_read() {
        let text = format!("# old: a,b\r\n2:{A}, open:1:{B}\tretired:7 # gone\nindex:1:{C}");
        let ring = Keyring::parse(&text).expect("parses");
        let states = [(2, KeyState::Active), (1, KeyState::Open), (7, KeyState::Retired)];
        assert_eq!((ring.states(), ring.index_ids()), (states.to_vec(), vec![1]));
        assert_eq!(ring.active_id(), Some(2));
        assert!(ring.opening(1).is_ok() && ring.opening(2).is_ok());
        assert!(ring.opening(7).expect_err("retired").is_retired_key());
        assert!(ring.opening(8).expect_err("unknown").is_unknown_key());
        assert_eq!(
            format!("{ring:?}"),
            "Keyring { keys: [(2, Active), (1, Open), (7, Retired)], index: [1] }"
        );
    }

    #[test]
    fn what_is_written_reads_the_same() {
        let text = format!("active:4294967295:{A}\nretired:3:{B}\nretired:2\nindex:4294967295:{C}");
        let ring = Keyring::parse(&text).expect("parses");
        let written = ring.to_text();
        assert!(written.len() <= 4 * ENTRY_BYTES, "the text never grows");
        let again = Keyring::parse(&written).expect("parses");
        assert_eq!((again.states(), again.key_checks()), (ring.states(), ring.key_checks()));
        assert_eq!(again.to_text(), written);
        let fresh = Keyring::generate().expect("generates");
        assert_eq!((fresh.active_id(), fresh.index_ids()), (Some(1), vec![1]));
        assert_ne!(fresh.key_checks(), Keyring::generate().expect("generates").key_checks());
    }

    #[test]
    fn a_fault_names_the_entry_and_what_to_do() {
        let long = format!("{} ", "#".repeat(KEYRING_BYTES_MAX));
        let many = "retired:1 ".repeat(KEYS_MAX + 1);
        for (text, expected) in [
            ("", "oncue key generate"),
            (" # x\n", "oncue key generate"),
            (&long, "65536 bytes"),
            (&many, "entry 2 has the id"),
            (A, "entry 1 is not [state:]id:bytes"),
            (&format!("1:{A} {C}"), "entry 2 is not"),
            (&format!("1:{A} actve:2:{B}"), "entry 2 has an unknown state"),
            (&format!("actve:2:{B}"), "did you mean \"active\"?"),
            (&format!("{A}:1"), "unknown state"),
            (&format!("open:{A}:1"), "no id"),
            (&format!("0:{A}"), "no id"),
            (&format!("4294967296:{A}"), "no id"),
            ("open:1", "no bytes"),
            ("index:1", "no bytes"),
            (&format!("1:{}", &A[1..]), "32 bytes"),
            (&format!("1:{A} 1:{B}"), "entry 2 has the id"),
            (&format!("index:1:{A} index:1:{B}"), "entry 2 has the id"),
            (&format!("1:{A} open:2:{A}"), "entry 2 has the bytes"),
            (&format!("1:{A} index:2:{A}"), "entry 2 has the bytes"),
            (&format!("1:{A} 2:{B}"), "second active"),
            ("1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "not random"),
        ] {
            assert!(fault(text).contains(expected), "{text}: {}", fault(text));
        }
    }

    #[test]
    fn a_keyring_may_only_open() {
        let ring = Keyring::parse(&format!("open:1:{A}")).expect("parses");
        assert!(ring.opening(1).is_ok() && ring.active_id().is_none());
        assert!(ring.sealing().expect_err("opener").is_key());
    }

    proptest! {
        #[test]
        fn foreign_text_never_panics(text in "(active|open|index|retired|[0-9]|[:,# \n=]|[A-Za-z0-9+/]{43}|\\PC){0,12}") {
            if let Err(error) = Keyring::parse(&text) {
                prop_assert!(error.is_key());
            }
        }
    }
}
