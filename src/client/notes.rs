//! What the runs of a task left beside it, read by whoever enqueued it: how far it is, and what it said.

use futures::Stream;
use futures::stream::unfold;
use serde::de::DeserializeOwned;

use crate::broker::{Slot, Wake};
use crate::error::{Error, Result};
use crate::seal::Seat;
use crate::task::Log;

use super::Handle;
use super::handle::{Pace, anyway};

/// The attempt and the bytes of a note, to tell a new one from that seen before.
type Seen = (u32, Vec<u8>);

impl Handle {
    /// How far the task is: what its latest run told last by [`progress`](crate::TaskContext::progress); none if nothing,
    /// or if the task is gone.
    pub async fn progress<P: DeserializeOwned>(&self) -> Result<Option<P>> {
        match self.note(Slot::Progress).await? {
            Some((_, json)) => Ok(Some(parse(&json)?)),
            None => Ok(None),
        }
    }

    /// What its runs said by [`log`](crate::TaskContext::log).
    pub async fn log(&self) -> Result<Log> {
        match self.note(Slot::Log).await? {
            Some((_, json)) => parse(&json),
            None => Ok(Log::default()),
        }
    }

    /// Each progress as it comes, until the task has ended: pushed, not polled. Those in quick succession may come as one.
    /// An error ends it.
    pub fn watch<P: DeserializeOwned + Send + 'static>(
        &self,
    ) -> impl Stream<Item = Result<P>> + Send + use<P> {
        let state = Some((self.clone(), None::<Seen>, Pace::new()));
        unfold(state, |state| async move {
            let (handle, mut seen, mut pace) = state?;
            let next = handle.next_progress(&mut seen, &mut pace).await;
            match next.and_then(|json| json.map(|json| parse(&json)).transpose()) {
                Ok(Some(progress)) => Some((Ok(progress), Some((handle, seen, pace)))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    async fn next_progress(
        &self,
        seen: &mut Option<Seen>,
        pace: &mut Pace,
    ) -> Result<Option<Vec<u8>>> {
        let broker = self.client.broker();
        loop {
            let noted = broker.wait(Wake::Noted, None).await?;
            let settled = broker.wait(Wake::Settled, None).await?;
            // The state first: what was told before the end is found after it.
            let state =
                broker.glance(self.queue().clone(), self.id()).await?.map(|view| view.state);
            if let Some((told, json)) = self.note(Slot::Progress).await?
                && seen.as_ref() != Some(&told)
            {
                *seen = Some(told);
                return Ok(Some(json));
            }
            if state.is_none_or(|state| state.is_terminal()) {
                return Ok(None);
            }
            tokio::select! {
                woken = broker.wait(Wake::Noted, Some(noted)) => woken?,
                woken = broker.wait(Wake::Settled, Some(settled)) => woken?,
                () = anyway() => settled,
            };
            pace.keep().await;
        }
    }

    /// A note, opened, and as it was stored.
    async fn note(&self, slot: Slot) -> Result<Option<(Seen, Vec<u8>)>> {
        let broker = self.client.broker();
        let notes = broker.notes(self.queue().clone(), self.id()).await?;
        let Some((_, kept)) = notes.into_iter().find(|(found, _)| *found == slot) else {
            return Ok(None);
        };
        let Some(view) = broker.glance(self.queue().clone(), self.id()).await? else {
            return Ok(None);
        };
        let header = view.stored.header_bytes();
        let purpose = slot.purpose();
        let seat = Seat { purpose, task: self.id(), attempt: kept.attempt, header };
        let opened = self.client.sealer().open(&seat, &kept.sealed)?;
        Ok(Some(((kept.attempt, kept.sealed), opened.plaintext.to_vec())))
    }
}

fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T> {
    serde_json::from_slice(json)
        .map_err(|error| Error::invalid("a note of another shape").because(error))
}
