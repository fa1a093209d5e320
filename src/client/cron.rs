//! The timetable in the hands of an application: entries are put, listed, edited, paused, run now, removed.

use std::fmt;

use crate::broker::{Batch, Enqueued};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::queue::QueueName;
use crate::task::TaskId;
use crate::timetable::{self, Entry, Listed, Origin, Put};

use super::{Client, Handle};

/// The entries of a namespace, or of one queue of it.
///
/// ```
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Report;
/// # impl oncue::Task for Report { const KIND: &'static str = "report"; }
/// # fn main() -> oncue::Result<()> { oncue::block_on(async {
/// # let client = oncue::connect("sqlite::memory:").await?;
/// use oncue::timetable::Entry;
///
/// let cron = client.cron();
/// cron.put(Entry::new("nightly", "30 2 * * *", Report)?.zone("Europe/Berlin")?).await?;
/// cron.edit("nightly", |entry| entry.schedule("0 4 * * *")).await?;
/// cron.pause("nightly").await?;
/// for entry in cron.list().await? {
///     println!("{} of {}: next {:?}", entry.name, entry.queue, entry.next());
/// }
/// let task = cron.run_now("nightly").await?;
/// # let _ = task; Ok(()) }) }
/// ```
#[derive(Clone)]
pub struct Cron {
    client: Client,
    queue: Option<QueueName>,
}

impl Client {
    /// The timetable.
    pub fn cron(&self) -> Cron {
        Cron { client: self.clone(), queue: None }
    }
}

impl Cron {
    /// Only the entries of this queue: names are unique in a queue.
    pub fn queue(self, name: &str) -> Result<Self> {
        Ok(Self { queue: Some(QueueName::parse(name)?), ..self })
    }

    /// Puts an entry in the place of what stands under its name; true if that was none. What was paused stays so. A new
    /// entry, and one that is given another schedule, begins now: it ticks for no time before.
    ///
    /// # Errors
    /// A queue with [`ENTRIES_MAX`](crate::broker::ENTRIES_MAX) entries [`is_full`](Error::is_full), an entry over 64 KiB
    /// [`is_too_large`](Error::is_too_large), a keyring without an active key or index key [`is_key`](Error::is_key), an
    /// entry that a newer version wrote [`is_newer`](Error::is_newer).
    pub async fn put(&self, entry: Entry) -> Result<bool> {
        if let Some(queue) = self.queue.as_ref().filter(|queue| *queue != entry.queue()) {
            return Err(Error::invalid(format!(
                "the entry is of queue {}, not of {queue}",
                entry.queue()
            )));
        }
        let (broker, sealer) = (&**self.client.broker(), self.client.sealer());
        match timetable::put(broker, sealer, &entry, Origin::Dynamic).await? {
            Put::Made => Ok(true),
            Put::Changed | Put::Same => Ok(false),
            Put::Newer => Err(Error::newer(format!(
                "entry {:?} was written by a newer version; upgrade this process, or remove it first",
                entry.name()
            ))),
        }
    }

    /// Every entry, by queue and name; those that cannot be read, too.
    pub async fn list(&self) -> Result<Vec<Listed>> {
        let all = self.client.broker().entries().await?.into_iter();
        let ours =
            all.filter(|entry| self.queue.as_ref().is_none_or(|queue| *queue == entry.queue));
        Ok(ours.map(Listed::new).collect())
    }

    /// One entry; none of this name [`is_not_found`](Error::is_not_found), several in as many queues
    /// [`is_invalid`](Error::is_invalid).
    pub async fn get(&self, name: &str) -> Result<Listed> {
        timetable::find(&**self.client.broker(), self.queue.as_ref(), name).await
    }

    /// Changes an entry; if somebody else does meanwhile, `change` is called anew. Its name and queue stay.
    pub async fn edit(&self, name: &str, change: impl FnMut(Entry) -> Result<Entry>) -> Result<()> {
        let (broker, sealer) = (&**self.client.broker(), self.client.sealer());
        timetable::edit(broker, sealer, self.queue.as_ref(), name, change).await
    }

    /// Enqueues nothing for it from now on; false if it is paused already. Needs no key.
    pub async fn pause(&self, name: &str) -> Result<bool> {
        timetable::pause(&**self.client.broker(), self.queue.as_ref(), name, true).await
    }

    /// Lets it go on, with the next tick from now; false if it is not paused. Needs no key.
    pub async fn resume(&self, name: &str) -> Result<bool> {
        timetable::pause(&**self.client.broker(), self.queue.as_ref(), name, false).await
    }

    /// Enqueues its task once, at once, paused or not. That is no tick: the schedule goes on as if it had not been. Where
    /// [`Runs::Skip`](timetable::Runs::Skip) holds, the handle may be that of a task that has not ended: see
    /// [`Handle::enqueued`].
    pub async fn run_now(&self, name: &str) -> Result<Handle> {
        let (broker, sealer) = (self.client.broker(), self.client.sealer());
        let listed = self.get(name).await?;
        let plan = listed.plan().map_err(Error::replicate)?;
        let at = (&listed.queue, &listed.name[..]);
        let task = timetable::run_now(sealer, at, plan, broker.now())?;
        let id = task.envelope.id();
        let batch = Batch { replicas: plan.replicas, ..Batch::new(listed.queue.clone(), [task]) };
        let stored = self.client.store(batch, None).await?;
        let (id, enqueued) = match stored.answers.first().copied() {
            Some(answer @ (Enqueued::Held(holder) | Enqueued::Moved(holder))) => (holder, answer),
            // The id is fresh: it is there because a first answer was lost.
            Some(Enqueued::Existing) => (id, Enqueued::Created),
            Some(answer) => (id, answer),
            None => return Err(Error::corrupt("the broker answered for no task")),
        };
        Ok(Handle::new(self.client.clone(), listed.queue, id, enqueued))
    }

    /// Removes it with its history; false if there is none. Its tasks stay. Needs no key.
    pub async fn remove(&self, name: &str) -> Result<bool> {
        let broker = self.client.broker();
        match self.get(name).await {
            Ok(listed) => broker.remove_entry(listed.queue, listed.name).await,
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Its latest ticks for which a task was enqueued, the oldest first; at most 100.
    pub async fn history(&self, name: &str) -> Result<Vec<(Timestamp, TaskId)>> {
        Ok(self.get(name).await?.ticks)
    }
}

impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cron").field("queue", &self.queue).finish_non_exhaustive()
    }
}
