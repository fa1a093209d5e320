//! Ids derived from callers' keys: an HMAC under an index key, never a digest of what was written.
//!
//! Index keys rotate apart from sealing keys. While two exist, new ids come from the newest (the highest
//! id) and both are looked up. The message of an id begins with a namespace, which is never empty;
//! another use of an index key must begin with `lp("")`, so that no two uses share a message.

use ring::hmac;

use crate::error::{Error, Result};
use crate::queue::{Kind, QueueName};
use crate::seal::key::Secret;
use crate::seal::keyring::Keyring;
use crate::task::TaskId;

/// A key that ids are derived with.
#[derive(Debug)]
pub(crate) struct IndexKey {
    id: u32,
    secret: Secret,
    mac: hmac::Key,
}

impl IndexKey {
    pub(crate) fn new(id: u32, secret: Secret) -> Self {
        let mac = hmac::Key::new(hmac::HMAC_SHA256, secret.bytes());
        Self { id, secret, mac }
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    pub(crate) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The first half of the HMAC of the fields, each behind its u32 big-endian length.
    fn derive(&self, fields: &[&str]) -> [u8; 16] {
        let mut mac = hmac::Context::with_key(&self.mac);
        for field in fields {
            // Lengths fit: names are short, a caller's key and a payload are bounded.
            mac.update(&(field.len() as u32).to_be_bytes());
            mac.update(field.as_bytes());
        }
        let mut half = [0; 16];
        half.copy_from_slice(&mac.sign().as_ref()[..16]);
        half
    }
}

/// Longest key of a caller, in bytes.
pub const CALLER_KEY_BYTES_MAX: usize = 4096;

/// The ids that a caller's key stands for, newest index key first.
pub(crate) fn derive_ids(
    keyring: &Keyring,
    namespace: &str,
    queue: &QueueName,
    kind: &Kind,
    key: &str,
) -> Result<Vec<TaskId>> {
    if !(1..=CALLER_KEY_BYTES_MAX).contains(&key.len()) {
        return Err(Error::invalid(format!(
            "a task's own key has 1 to {CALLER_KEY_BYTES_MAX} bytes, not {}",
            key.len()
        )));
    }
    if keyring.index().is_empty() {
        return Err(Error::key(
            "the keyring has no index key, and ids from own keys need one; add an `index:1:...` entry \
             as `oncue key generate` prints it, the same everywhere",
        ));
    }
    let fields = [namespace, queue.as_str(), kind.as_str(), key];
    Ok(keyring.index().iter().map(|index| TaskId::derived(index.derive(&fields))).collect())
}

/// The names of a lock over tasks of one kind, newest index key first.
pub(crate) fn derive_locks(
    keyring: &Keyring,
    namespace: &str,
    queue: &QueueName,
    kind: &Kind,
    what: [&str; 2],
) -> Result<Vec<[u8; 16]>> {
    if keyring.index().is_empty() {
        return Err(Error::key(
            "the keyring has no index key, and unique tasks need one; add an `index:1:...` entry as \
             `oncue key generate` prints it, the same everywhere",
        ));
    }
    let [by, value] = what;
    let fields = ["", "lock", namespace, queue.as_str(), kind.as_str(), by, value];
    Ok(keyring.index().iter().map(|index| index.derive(&fields)).collect())
}

/// What belongs to an entry of the timetable: `what` it is, and of which of its ticks. Newest index key first.
#[cfg(feature = "cron")]
pub(crate) fn derive_of_entry(
    keyring: &Keyring,
    namespace: &str,
    queue: &QueueName,
    entry: &str,
    what: [&str; 2],
) -> Result<Vec<[u8; 16]>> {
    if keyring.index().is_empty() {
        return Err(Error::key(
            "the keyring has no index key, and entries of the timetable need one; add an `index:1:...` entry \
             as `oncue key generate` prints it, the same everywhere",
        ));
    }
    let [what, which] = what;
    let fields = ["", what, namespace, queue.as_str(), entry, which];
    Ok(keyring.index().iter().map(|index| index.derive(&fields)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "index:1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const NEW: &str = "index:2:QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8=";

    fn ids(text: &str, [namespace, queue, kind, key]: [&str; 4]) -> Result<Vec<TaskId>> {
        let (queue, kind) = (QueueName::parse(queue)?, Kind::parse(kind)?);
        derive_ids(&Keyring::parse(text)?, namespace, &queue, &kind, key)
    }

    #[test]
    fn ids_are_golden() {
        let ids = ids(OLD, ["prod", "mail", "email:send", "order-42"]).expect("derives");
        // HMAC-SHA-256(00..1f, lp prod, lp mail, lp email:send, lp order-42), by Python's hmac.
        assert_eq!(ids[0].to_string(), "61454cde-9418-8fda-8cd1-fa797fc235ee");
    }

    #[test]
    fn while_two_index_keys_exist_the_newest_comes_first() {
        let fields = ["n", "q", "k", "a"];
        let (old, new) = (ids(OLD, fields).expect("old"), ids(NEW, fields).expect("new"));
        for both in [format!("{OLD} {NEW}"), format!("{NEW} {OLD}")] {
            assert_eq!(ids(&both, fields).expect("both"), [new[0], old[0]]);
        }
    }

    #[test]
    fn fields_do_not_run_into_each_other() {
        let one = |fields| ids(OLD, fields).expect("derives")[0];
        let all = [
            one(["n", "q", "k", "a"]),
            one(["nq", "k", "k", "a"]),
            one(["n", "qk", "k", "a"]),
            one(["n", "q", "ka", "a"]),
            one(["n", "q", "k", "ka"]),
        ];
        for (i, id) in all.iter().enumerate() {
            assert!(!all[i + 1..].contains(id));
            assert_eq!(id.to_string().as_bytes()[14], b'8', "UUIDv8");
        }
    }

    #[test]
    fn without_an_index_key_the_error_says_what_to_do() {
        let error = ids("retired:1", ["n", "q", "k", "a"]).expect_err("no index key");
        assert!(error.is_key() && error.to_string().contains("index:1:"));
        assert!(ids(OLD, ["n", "q", "k", ""]).expect_err("empty").is_invalid());
    }
}
