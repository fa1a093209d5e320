//! What the timetable says: at each tick of an entry its task is enqueued, once, whoever else does the same.
//!
//! A part of the Scheduler. Any number of them work on one timetable, each by its own view of it, which may be old: a tick
//! names the entry as it was seen, and the broker stores nothing if it is not so any more. So a Scheduler that was
//! stopped for an hour and goes on is late, and does no harm. When is decided by the broker's clock.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream;

use crate::broker::{Batch, Enqueued, Entry, NewTask, Tick, Wake};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::event::{Event, Skipped};
use crate::queue::QueueName;
use crate::timetable::{self, Due, Listed, Origin, Plan, Put, Runs};

use super::Shared;
use super::backoff::Backoff;
use super::config::{BACKOFF, POLL, jittered};

/// How old a view of the timetable gets, where no wake-up tells of a change; and how long an entry is left for which this
/// worker may not enqueue.
const VIEW: Duration = Duration::from_secs(30);
/// Reading the timetable takes no more than this share of the time, and comes no more often than about once a second.
const READING_SHARE: u32 = 20;
/// Most entries that are enqueued for at once.
const ENTRIES_AT_ONCE: usize = 32;
/// Most ticks of one entry before the others have their turn again, however many it has to catch up with.
const TICKS_AT_ONCE: usize = 16;

/// Puts the entries that stand in the code of the worker.
pub(super) async fn put(shared: &Shared, entries: &[timetable::Entry]) -> Result<()> {
    for entry in entries {
        let put = timetable::put(&*shared.broker, &shared.sealer, entry, Origin::Static).await?;
        let (queue, name) = (entry.queue().clone(), entry.name().to_owned());
        match put {
            Put::Made | Put::Same => {}
            Put::Changed => shared.tell(Event::EntryChanged { queue, entry: name }),
            Put::Newer => shared.tell(Event::EntryRefused {
                queue,
                entry: name,
                why: "a newer version wrote it; it is left as it is".to_owned(),
            }),
        }
    }
    Ok(())
}

/// Enqueues what is due, for as long as the Scheduler lives.
pub(super) async fn tick(shared: Arc<Shared>) {
    let (mut backoff, mut view) = (Backoff::new(), View::default());
    loop {
        // Marked before the call: what is written after it is not missed.
        let mark = shared.broker.wait(Wake::Due, None).await.ok();
        if view.is_old() {
            let began = Instant::now();
            match shared.broker.entries().await {
                Ok(entries) => {
                    view.renew(&shared, entries);
                    view.read_again(began);
                    backoff.reset();
                }
                Err(error) => {
                    shared.tell(Event::BrokerFailed { verb: "entries", error: error.to_string() });
                    backoff.rest(&shared, Wake::Due, mark).await;
                    continue;
                }
            }
        }
        view.changed |= view.serve(&shared).await;
        // A clock that is set, or a machine that slept, is noticed within a second.
        let ahead = view.next.map_or(POLL, |next| next.since(shared.broker.now()));
        let wait = view.until_read().min(ahead).min(POLL);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shared.woken(Wake::Due, mark) => view.changed = true,
        }
    }
}

/// The timetable as it was last seen.
struct View {
    rows: HashMap<(QueueName, String), Row>,
    /// When something is due next; so a wake-up that means others costs nothing.
    next: Option<Timestamp>,
    /// Whether it may have changed since.
    changed: bool,
    /// Not read before this.
    earliest: Instant,
    /// Read then, changed or not.
    latest: Instant,
}

impl Default for View {
    fn default() -> Self {
        let now = Instant::now();
        Self { rows: HashMap::new(), next: None, changed: true, earliest: now, latest: now }
    }
}

impl View {
    fn is_old(&self) -> bool {
        self.until_read().is_zero()
    }

    fn until_read(&self) -> Duration {
        let then = if self.changed { self.earliest } else { self.latest };
        then.saturating_duration_since(Instant::now())
    }

    fn read_again(&mut self, began: Instant) {
        let now = Instant::now();
        self.changed = false;
        self.earliest = now + (now - began).saturating_mul(READING_SHARE).max(POLL);
        self.latest = self.earliest.max(now + jittered(VIEW));
    }

    /// Looks for what is due next.
    fn look_ahead(&mut self) {
        self.next = self.rows.values().filter_map(|row| row.next).min();
    }

    /// Takes over what was read. What did not change keeps what was computed of it.
    fn renew(&mut self, shared: &Shared, entries: Vec<Entry>) {
        let mut before = std::mem::take(&mut self.rows);
        for entry in entries {
            let place = (entry.queue.clone(), entry.name.clone());
            let row = match before.remove(&place) {
                Some(row) if row.is(&entry) => row,
                before => Row::new(shared, entry, before),
            };
            self.rows.insert(place, row);
        }
        self.look_ahead();
    }

    /// Enqueues what is due; whether something turned out to be not as it was seen.
    async fn serve(&mut self, shared: &Shared) -> bool {
        let now = shared.broker.now();
        if self.next.is_none_or(|next| next > now) {
            return false;
        }
        let due = self.rows.iter_mut().filter(|(_, row)| row.next.is_some_and(|next| next <= now));
        let served = due.map(|((queue, name), row)| row.serve(shared, queue, name));
        let served = stream::iter(served).buffer_unordered(ENTRIES_AT_ONCE);
        let late = served.fold(false, async |any, late| any || late).await;
        self.look_ahead();
        late
    }
}

/// An entry as it was last seen.
struct Row {
    version: u64,
    last: Timestamp,
    plan: Result<Plan, String>,
    /// When there is something to do for it.
    next: Option<Timestamp>,
    /// Whether it was said that this worker may not enqueue for it.
    denied: bool,
}

/// Why an entry was left.
enum Halt {
    /// It is not as it was seen.
    Late,
    /// Its task cannot be made.
    Unmade(Error),
    /// The broker failed.
    Broker(Error),
}

impl Row {
    fn new(shared: &Shared, entry: Entry, before: Option<Self>) -> Self {
        let (queue, name) = (entry.queue.clone(), entry.name.clone());
        let (version, last) = (entry.version, entry.last);
        let listed = Listed::new(entry);
        let plan = listed.plan().map_err(|error| format!("{error:?}")).and_then(|plan| {
            // Whether it opens is found out before it is due.
            match timetable::tick(&shared.sealer, (&queue, &name), plan, last, last) {
                Err(error) if !plan.is_paused() => Err(format!("{error:?}")),
                _ => Ok(plan.clone()),
            }
        });
        let next = listed.next().filter(|_| plan.is_ok());
        let denied = before.as_ref().is_some_and(|row| row.denied);
        let row = Self { version, last, plan, next, denied };
        row.complain(shared, &queue, &name, before.as_ref());
        row
    }

    /// Says why it cannot be used, unless that was said.
    fn complain(&self, shared: &Shared, queue: &QueueName, entry: &str, before: Option<&Self>) {
        let Err(why) = &self.plan else { return };
        let said = |row: &Self| row.version == self.version && row.plan.as_ref().err() == Some(why);
        if !before.is_some_and(said) {
            let (queue, entry, why) = (queue.clone(), entry.to_owned(), why.clone());
            shared.tell(Event::EntryRefused { queue, entry, why });
        }
    }

    /// Whether it is as it was seen, and was usable; a key may come that opens what did not.
    fn is(&self, entry: &Entry) -> bool {
        self.plan.is_ok() && (self.version, self.last) == (entry.version, entry.last)
    }

    /// Enqueues what is due; whether it is not as it was seen.
    async fn serve(&mut self, shared: &Shared, queue: &QueueName, name: &str) -> bool {
        let served = self.run(shared, queue, name).await;
        let now = shared.broker.now();
        match served {
            Ok(next) => (self.next, self.denied) = (next, false),
            Err(Halt::Late) => {
                self.next = Some(now.plus(POLL));
                return true;
            }
            Err(Halt::Broker(error)) => {
                // A worker of Redis may be one that runs tasks and enqueues none: then others see to this entry.
                let denied = error.is_denied();
                if !(denied && self.denied) {
                    shared.tell(Event::BrokerFailed { verb: "enqueue", error: error.to_string() });
                }
                self.denied = denied;
                self.next = Some(now.plus(if denied { VIEW } else { BACKOFF.1 }));
            }
            Err(Halt::Unmade(error)) => {
                let why = format!("{error:?}");
                self.plan = Err(why);
                self.next = None;
                self.complain(shared, queue, name, None);
            }
        }
        false
    }

    async fn run(
        &mut self,
        shared: &Shared,
        queue: &QueueName,
        name: &str,
    ) -> Result<Option<Timestamp>, Halt> {
        let Ok(plan) = &self.plan else { return Ok(None) };
        let site = Site { shared, queue, name, version: self.version, replicas: plan.replicas };
        let mut served = 0;
        loop {
            match plan.due(self.last, shared.broker.now()) {
                Due::Wait(next) => return Ok(next),
                Due::Pass { at, passed } => {
                    site.pass(self.last, at).await?;
                    self.last = at;
                    site.skipped(at, Skipped::Missed(passed));
                }
                Due::Run { ticks, passed } => {
                    for (number, at) in ticks.into_iter().enumerate() {
                        let now = shared.broker.now();
                        if served == TICKS_AT_ONCE {
                            return Ok(Some(now));
                        }
                        served += 1;
                        let task = timetable::tick(&shared.sealer, (queue, name), plan, at, now);
                        let task = task.map_err(Halt::Unmade)?;
                        if plan.runs() == Runs::Queue && site.is_running(&task).await? {
                            return Ok(Some(now.plus(POLL)));
                        }
                        site.enqueue(self.last, at, task).await?;
                        self.last = at;
                        if number == 0 && passed > 0 {
                            site.skipped(at, Skipped::Missed(passed));
                        }
                    }
                }
            }
        }
    }
}

/// An entry that is served, and by whom.
struct Site<'a> {
    shared: &'a Shared,
    queue: &'a QueueName,
    name: &'a str,
    version: u64,
    replicas: u8,
}

impl Site<'_> {
    /// Enqueues the task of a tick, if nobody else has.
    async fn enqueue(&self, last: Timestamp, at: Timestamp, task: NewTask) -> Result<(), Halt> {
        let id = task.envelope.id();
        let (answers, again) = self.send(last, at, Some(task)).await?;
        let (queue, entry) = (self.queue.clone(), self.name.to_owned());
        match answers.first().copied() {
            Some(Enqueued::Created | Enqueued::Replaced(_)) => {
                self.shared.tell(Event::Ticked { queue, entry, at, id });
            }
            Some(Enqueued::Existing) if again => {
                self.shared.tell(Event::Ticked { queue, entry, at, id });
            }
            Some(Enqueued::Existing) => self.skipped(at, Skipped::Existing(id)),
            Some(Enqueued::Held(holder) | Enqueued::Moved(holder)) => {
                self.skipped(at, Skipped::Running(holder));
            }
            Some(Enqueued::Late) | None => return Err(Halt::Late),
        }
        Ok(())
    }

    /// Whether the task of an earlier tick has not ended. One that a person runs in this very moment is not seen, and counts
    /// for this tick.
    async fn is_running(&self, task: &NewTask) -> Result<bool, Halt> {
        let Some(lock) = &task.lock else { return Ok(false) };
        let holder = self.shared.broker.holder(self.queue.clone(), lock.names.clone()).await;
        // Sent again after a lost answer, it is its own holder.
        Ok(holder.map_err(Halt::Broker)?.is_some_and(|holder| holder != task.envelope.id()))
    }

    /// Passes a tick over, and all before it.
    async fn pass(&self, last: Timestamp, at: Timestamp) -> Result<(), Halt> {
        self.send(last, at, None).await.map(drop)
    }

    /// Sends a tick; once more under the same id if its answer was lost, which cannot store it twice.
    async fn send(
        &self,
        last: Timestamp,
        at: Timestamp,
        task: Option<NewTask>,
    ) -> Result<(Vec<Enqueued>, bool), Halt> {
        let (entry, version) = (self.name.to_owned(), self.version);
        let tasks: Vec<_> = task.into_iter().collect();
        let batch = Batch {
            replicas: self.replicas,
            tick: Some(Tick { entry, version, last, at }),
            ..Batch::new(self.queue.clone(), tasks)
        };
        let broker = &self.shared.broker;
        match broker.enqueue(batch.clone()).await {
            Err(error) if error.is_unreachable() => {
                Ok((broker.enqueue(batch).await.map_err(Halt::Broker)?, true))
            }
            answers => Ok((answers.map_err(Halt::Broker)?, false)),
        }
    }

    fn skipped(&self, at: Timestamp, why: Skipped) {
        let (queue, entry) = (self.queue.clone(), self.name.to_owned());
        self.shared.tell(Event::TickSkipped { queue, entry, at, why });
    }
}
