//! Settings of a queue in the model: what is counted against them is counted anew each time.

use oncue::broker::*;
use oncue::queue::KindHash;
use oncue::{Error, Result};

use super::book::{Book, Place};
use super::faulty;

impl Book {
    pub fn set(&mut self, setting: Setting) -> Result<()> {
        let settings = &mut self.settings;
        match setting {
            Setting::Paused(paused) => self.paused = paused,
            Setting::Limit(limit) => self.limit = limit,
            Setting::Bytes(limit) => settings.bytes = limit,
            Setting::Concurrency(limit) => settings.concurrency = limit,
            Setting::KindConcurrency(kind, limit) => {
                let mut kinds = settings.kinds.clone();
                kinds.retain(|(known, _)| *known != kind);
                kinds.extend(limit.map(|limit| (kind, limit)));
                if kinds.len() > KIND_LIMITS_MAX {
                    return Err(Error::too_large("too many kinds have a limit"));
                }
                kinds.sort();
                settings.kinds = kinds;
            }
            Setting::KeepCompleted(most) => settings.completed = most,
            Setting::KeepArchived(most, time) => {
                (settings.archived, settings.archived_for) = (most, time);
            }
        }
        self.made = true;
        Ok(())
    }

    /// What the records of all tasks have.
    pub fn bytes(&self) -> u64 {
        self.tasks.values().map(|row| row.record.len() as u64).sum()
    }

    /// How many more tasks of the queue, or of this kind of it, may become active.
    pub fn room(&self, kind: Option<KindHash>) -> u64 {
        let settings = &self.settings;
        let limit = match kind {
            None => settings.concurrency,
            Some(kind) => settings.kinds.iter().find(|(k, _)| k.hash() == kind).map(|(_, n)| *n),
        };
        if faulty!(self, IgnoreConcurrency) {
            return u64::MAX;
        }
        let active = self.tasks.values().filter(|row| {
            matches!(row.place, Place::Active(_)) && kind.is_none_or(|kind| row.ticket.kind == kind)
        });
        limit.map_or(u64::MAX, |limit| limit.saturating_sub(active.count() as u64))
    }
}
