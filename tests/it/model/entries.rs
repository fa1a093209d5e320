//! The timetable of one queue in the model.

use oncue::broker::*;
use oncue::queue::QueueName;
use oncue::task::TaskId;
use oncue::{Error, Result};

use super::book::Book;
use super::faulty;

impl Book {
    /// Whether the entry of a tick is as it was seen.
    pub fn is_next(&self, tick: &Tick) -> bool {
        let late = faulty!(self, TickTwice);
        self.entries
            .get(&tick.entry)
            .is_some_and(|entry| entry.version == tick.version && (entry.last == tick.last || late))
    }

    /// A tick was the last one; `first` was enqueued for it.
    pub fn pass(&mut self, tick: &Tick, first: Option<TaskId>) {
        let Some(entry) = self.entries.get_mut(&tick.entry) else { return };
        entry.last = tick.at;
        entry.ticks.extend(first.map(|id| (tick.at, id)));
        if entry.ticks.len() > TICKS_KEPT {
            entry.ticks.remove(0);
        }
    }

    pub fn write_entry(
        &mut self,
        queue: &QueueName,
        name: &str,
        body: &[u8],
        seen: u64,
    ) -> Result<bool> {
        check_name(name)?;
        if body.len() > ENTRY_BYTES_MAX {
            return Err(Error::too_large("what is in it is too long"));
        }
        let full = self.entries.len() >= ENTRIES_MAX;
        match self.entries.get_mut(name) {
            Some(entry) if entry.version == seen => {
                self.version += 1;
                (entry.body, entry.version) = (body.to_vec(), self.version);
                Ok(true)
            }
            None if seen == 0 && full => Err(Error::full("too many entries")),
            None if seen == 0 => {
                self.version += 1;
                let entry = Entry {
                    queue: queue.clone(),
                    name: name.into(),
                    body: body.to_vec(),
                    version: self.version,
                    last: self.now,
                    ticks: Vec::new(),
                };
                self.entries.insert(name.into(), entry);
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

/// Whether this may be the name of an entry.
pub fn check_name(name: &str) -> Result<()> {
    let fits = (1..=ENTRY_NAME_BYTES_MAX).contains(&name.len());
    if fits && name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(Error::invalid("no name of an entry"))
}
