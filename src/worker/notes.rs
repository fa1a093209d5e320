//! Writing what runs want written beside their tasks: sealed here, by whoever runs the task.

use std::time::Duration;

use crate::broker::{Note, Settled, Slot};
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::handler::{EFFECTS_BYTES_MAX, Effect, Effects, TaskContext, Wanted};
use crate::seal::Seat;
use crate::task::Log;

use super::Shared;
use super::job::Job;

/// How long the end of a run waits for its last notes at most.
pub(super) const LAST_NOTES: Duration = Duration::from_secs(5);

/// Between two writes of how far a run is and what it says: one that never stops telling is no load to speak of.
const PACE: Duration = Duration::from_millis(100);

/// Writes what the run wants written, until it has ended.
pub(super) async fn write(job: &Job, context: &TaskContext, shared: &Shared) {
    let mut book = Book { job, shared, attempt: context.attempt(), log: None, effects: None };
    while let Some(wanted) = context.run().notes.next().await {
        book.write(*wanted).await;
        let _ = tokio::time::timeout(PACE, context.run().notes.pressing()).await;
    }
}

/// The notes of one task, as far as they are known here.
struct Book<'a> {
    job: &'a Job,
    shared: &'a Shared,
    attempt: u32,
    log: Option<Log>,
    effects: Option<Effects>,
}

impl Book<'_> {
    async fn write(&mut self, wanted: Wanted) {
        let Wanted { progress, log, effects } = wanted;
        if let Some(progress) = progress {
            lost("progress", self.put(Slot::Progress, &progress).await);
        }
        if let Some(later) = log {
            lost("log", self.write_log(later).await);
        }
        for effect in effects {
            // Who asked may have gone.
            match effect {
                Effect::Known(tell) => drop(tell.send(self.effects().await.cloned())),
                Effect::Done(name, value, tell) => {
                    drop(tell.send(self.write_effect(name, value).await));
                }
            }
        }
    }

    async fn write_log(&mut self, later: Log) -> Result<()> {
        if self.log.is_none() {
            let before = self.read(Slot::Log).await?;
            self.log = Some(
                before.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default(),
            );
        }
        let mut log = self.log.take().unwrap_or_default();
        log.append(later);
        let written = self.put(Slot::Log, &json(&log)?).await;
        self.log = Some(log);
        written
    }

    async fn write_effect(&mut self, name: String, value: serde_json::Value) -> Result<()> {
        let mut effects = self.effects().await?.clone();
        effects.insert(name, value);
        let json = json(&effects)?;
        if json.len() > EFFECTS_BYTES_MAX {
            return Err(Error::too_large(format!(
                "what came of all effects has {} bytes, at most {EFFECTS_BYTES_MAX}; return less",
                json.len()
            )));
        }
        self.put(Slot::Effects, &json).await?;
        self.effects = Some(effects);
        Ok(())
    }

    async fn effects(&mut self) -> Result<&Effects> {
        if self.effects.is_none() {
            let effects = match self.read(Slot::Effects).await? {
                Some(json) => serde_json::from_slice(&json).map_err(|error| {
                    Error::corrupt("effects that cannot be read").because(error)
                })?,
                None => Effects::default(),
            };
            self.effects = Some(effects);
        }
        Ok(self.effects.as_ref().expect("just set"))
    }

    fn seat(&self, slot: Slot, attempt: u32) -> Seat<'_> {
        let (task, header) = (self.job.claim.id(), self.job.claim.stored.header_bytes());
        Seat { purpose: slot.purpose(), task, attempt, header }
    }

    async fn read(&self, slot: Slot) -> Result<Option<Vec<u8>>> {
        let notes = self.shared.broker.notes(self.job.queue().clone(), self.job.claim.id()).await?;
        let Some((_, kept)) = notes.into_iter().find(|(found, _)| *found == slot) else {
            return Ok(None);
        };
        let opened = self.shared.sealer.open(&self.seat(slot, kept.attempt), &kept.sealed)?;
        Ok(Some(opened.plaintext.to_vec()))
    }

    async fn put(&self, slot: Slot, json: &[u8]) -> Result<()> {
        let sealed = self.shared.sealer.seal(&self.seat(slot, self.attempt), Codec::Json, json)?;
        let note = Note { ticket: self.job.claim.ticket, slot, attempt: self.attempt, sealed };
        match self.shared.broker.note(self.job.session().clone(), vec![note]).await?[..] {
            [Settled::Done] => Ok(()),
            _ => Err(Error::fenced("the task belongs to somebody else by now")),
        }
    }
}

fn json<T: serde::Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|error| Error::invalid("a note without a form in JSON").because(error))
}

fn lost(what: &str, written: Result<()>) {
    if let Err(error) = written {
        tracing::warn!(%error, what, "a note of a run was not written");
    }
}
