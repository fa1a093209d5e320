//! Templates: what an entry of the timetable enqueues at each tick, sealed for that entry and no other.
//!
//! Their seat is the name of the entry in its queue and the header of the tasks to be: moved to another entry, queue or
//! namespace, or under another header, a template does not open. The name is no secret, so a digest of it will do.

use ring::digest::{Context, SHA256};

use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::queue::QueueName;
use crate::task::TaskId;

use super::blob::{Purpose, Sealed, Seat};
use super::opened::{self, OpenedTask, pack};
use super::{Sealer, index};

/// Whose a template is: its entry, as if that were a task.
fn owner(queue: &QueueName, entry: &str) -> TaskId {
    let mut digest = Context::new(&SHA256);
    for field in ["oncue/entry/v1", queue.as_str(), entry] {
        // Lengths fit: names are short.
        digest.update(&(field.len() as u32).to_be_bytes());
        digest.update(field.as_bytes());
    }
    let mut half = [0; 16];
    half.copy_from_slice(&digest.finish().as_ref()[..16]);
    TaskId::derived(half)
}

impl Sealer {
    /// Seals what the tasks of an entry say; limits as in [`SealBatch::envelope`](super::SealBatch::envelope).
    pub(crate) fn seal_template(
        &self,
        (queue, entry): (&QueueName, &str),
        header: &[u8],
        codec: Codec,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Result<Sealed> {
        let packed = pack(headers)?;
        let mut text = Vec::with_capacity(size_of::<u32>() + packed.len() + body.len());
        text.extend_from_slice(&(packed.len() as u32).to_be_bytes());
        text.extend_from_slice(&packed);
        text.extend_from_slice(body);
        let text = zeroize::Zeroizing::new(text);
        let task = owner(queue, entry);
        self.seal(&Seat { purpose: Purpose::CronTemplate, task, attempt: 0, header }, codec, &text)
    }

    /// Opens it; refusals as in [`open`](Self::open).
    pub(crate) fn open_template(
        &self,
        (queue, entry): (&QueueName, &str),
        header: &[u8],
        sealed: &[u8],
    ) -> Result<OpenedTask> {
        let task = owner(queue, entry);
        let seat = Seat { purpose: Purpose::CronTemplate, task, attempt: 0, header };
        opened::unpack(self.open(&seat, sealed)?)
    }

    /// The id of the task for a tick of an entry: the same whoever enqueues it. Without an index key it
    /// [`is_key`](Error::is_key).
    pub(crate) fn derive_tick(&self, queue: &QueueName, entry: &str, tick: u64) -> Result<TaskId> {
        let derived = self.derive_of_entry(queue, entry, ["tick", &tick.to_string()])?;
        let first = derived.first().ok_or_else(|| Error::key("the keyring has no index key"))?;
        Ok(TaskId::derived(*first))
    }

    /// The names of the lock over the runs of an entry, one under each index key.
    pub(crate) fn derive_runs(&self, queue: &QueueName, entry: &str) -> Result<Vec<[u8; 16]>> {
        self.derive_of_entry(queue, entry, ["runs", ""])
    }

    fn derive_of_entry(
        &self,
        queue: &QueueName,
        entry: &str,
        what: [&str; 2],
    ) -> Result<Vec<[u8; 16]>> {
        let epochs = self.epochs();
        index::derive_of_entry(epochs.keyring(), self.namespace(), queue, entry, what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::Keyring;

    fn queue(name: &str) -> QueueName {
        QueueName::parse(name).expect("a name")
    }

    #[test]
    fn a_template_opens_at_its_entry_alone() {
        let keys = || Keyring::parse(KEYS).expect("keys");
        const KEYS: &str = "active:1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        let sealer = Sealer::new(keys(), "test").expect("a sealer");
        let (mail, other) = (queue("mail"), queue("other"));
        let headers = [("a".to_owned(), "b".to_owned())];
        let sealed = sealer
            .seal_template((&mail, "nightly"), b"header", Codec::Json, &headers, b"{}")
            .expect("seals");
        let open = |sealer: &Sealer, at, header| {
            sealer.open_template(at, header, sealed.as_bytes()).map(|opened| opened.body.to_vec())
        };
        assert_eq!(open(&sealer, (&mail, "nightly"), b"header").expect("opens"), b"{}");
        let elsewhere = Sealer::new(keys(), "elsewhere").expect("a sealer");
        for refused in [
            open(&sealer, (&mail, "daily"), b"header"),
            open(&sealer, (&other, "nightly"), b"header"),
            open(&sealer, (&mail, "nightly"), b"another"),
            open(&elsewhere, (&mail, "nightly"), b"header"),
        ] {
            assert!(refused.expect_err("moved").is_tampered());
        }
        assert!(sealer.derive_tick(&mail, "nightly", 1).expect_err("no index key").is_key());
    }

    #[test]
    fn names_of_entries_and_queues_do_not_run_together() {
        assert_ne!(owner(&queue("ab"), "c"), owner(&queue("a"), "bc"));
        assert_eq!(
            owner(&queue("ab"), "c").to_string(),
            "0faec7cb-7ff1-8579-94e8-50ebcdf279f7",
            "golden"
        );
    }
}
