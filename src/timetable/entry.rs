//! An entry on its way into the timetable, or opened to be edited: a schedule, policies, and a task to be.

use std::fmt;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::broker::{ENTRY_NAME_BYTES_MAX, check_name};
use crate::client::ready::{self, Payload, Raw};
use crate::clock::Timestamp;
use crate::codec::Codec;
use crate::cron::{Gap, Overlap, Schedule};
use crate::envelope::Header;
use crate::error::{Error, Result};
use crate::queue::QueueName;
use crate::seal::Sealer;
use crate::task::{Draft, Due, Group, Options, RawTask, Task, WhenFull};

use super::{ENTRY_HEADER, Listed, Missed, Origin, Plan, Runs, TICK_HEADER, task};

/// Longest window and jitter: ten years.
const TIME_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);

/// A task to be enqueued at every tick of a schedule.
///
/// ```
/// # use std::time::Duration;
/// # use oncue::timetable::{Entry, Missed, Runs};
/// # use oncue::Task;
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Report { shop: u64 }
/// # impl Task for Report { const KIND: &'static str = "report"; }
/// let task = Report { shop: 7 }.draft().queue("reports").max_retry(3);
/// let nightly = Entry::new("nightly", "30 2 * * *", task)?
///     .zone("Europe/Berlin")?
///     .jitter(Duration::from_secs(60))
///     .missed(Missed::Latest)
///     .runs(Runs::Skip);
/// # Ok::<(), oncue::Error>(())
/// ```
#[derive(Clone)]
pub struct Entry {
    name: String,
    schedule: Schedule,
    missed: Missed,
    catch_up: Option<Duration>,
    runs: Runs,
    /// Enqueued at 0, so that its expiry is a delay.
    header: Header,
    headers: Vec<(String, String)>,
    body: Zeroizing<Vec<u8>>,
    replicas: u8,
    front: bool,
    group: Option<Group>,
}

impl Entry {
    /// An entry of this name, unique in the task's queue: 1 to 64 visible ASCII characters. Options that make no sense
    /// again and again (a due time, a deadline, a key, uniqueness, what happens at a full queue)
    /// [`is_invalid`](Error::is_invalid), as is a schedule that does not parse.
    pub fn new<T: Task>(name: &str, schedule: &str, task: impl Into<Draft<T>>) -> Result<Self> {
        let Draft { task, options } = task.into();
        Self::of(name, schedule, &task, options)
    }

    /// The same of a task whose type is not known here.
    pub fn raw(name: &str, schedule: &str, task: impl Into<Draft<RawTask>>) -> Result<Self> {
        let Draft { task, options } = task.into();
        Self::of(name, schedule, &Raw(&task), options)
    }

    fn of(name: &str, schedule: &str, task: &dyn Payload, options: Options) -> Result<Self> {
        check_name(name)?;
        let refused = [
            (options.due != Due::Now, "a due time: the schedule says when"),
            (options.deadline.is_some(), "a deadline: use `expires`, counted from each tick"),
            (options.key.is_some(), "a key: each tick has its own"),
            (options.unique.is_some(), "uniqueness: use `runs(Runs::Skip)`"),
            (options.when_full != WhenFull::Fail, "a way out of a full queue: ticks wait for room"),
        ];
        if let Some((_, what)) = refused.into_iter().find(|(given, _)| *given) {
            return Err(Error::invalid(format!("the task of an entry has {what}")));
        }
        let own = |(name, _): &&(String, String)| name == ENTRY_HEADER || name == TICK_HEADER;
        if let Some((name, _)) = options.headers.iter().find(own) {
            return Err(Error::invalid(format!(
                "the task of an entry has a header {name}, which tells runs of their tick; use another name"
            )));
        }
        let defaults = task.defaults();
        let queue = QueueName::parse(options.queue.as_deref().unwrap_or(defaults.queue))?;
        let header = ready::header(task.kind()?, queue, &defaults, &options, Timestamp(0))?;
        Ok(Self {
            name: name.to_owned(),
            schedule: Schedule::parse(schedule)?,
            missed: Missed::default(),
            catch_up: None,
            runs: Runs::default(),
            header,
            headers: options.headers,
            body: Zeroizing::new(task.body()?),
            replicas: options.replicas,
            front: options.front,
            group: options.group,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The queue its tasks go to.
    pub fn queue(&self) -> &QueueName {
        &self.header.queue
    }

    /// Another specification, in the zone and with the policies it has, unless the text names a zone.
    pub fn schedule(mut self, text: &str) -> Result<Self> {
        let (gap, overlap, jitter) = self.schedule.policies();
        let schedule = Schedule::parse(text)?.gap(gap).overlap(overlap).jitter(jitter);
        let names_zone = ["CRON_TZ=", "TZ="].iter().any(|word| text.trim().starts_with(word));
        let zone = self.schedule.zone_name();
        self.schedule = if names_zone { schedule } else { schedule.zone(zone)? };
        Ok(self)
    }

    /// The time zone, by its IANA name; UTC without.
    pub fn zone(mut self, name: &str) -> Result<Self> {
        self.schedule = self.schedule.zone(name)?;
        Ok(self)
    }

    /// What becomes of fixed times that do not exist.
    #[must_use]
    pub fn gap(mut self, gap: Gap) -> Self {
        self.schedule = self.schedule.gap(gap);
        self
    }

    /// What becomes of fixed times that come twice.
    #[must_use]
    pub fn overlap(mut self, overlap: Overlap) -> Self {
        self.schedule = self.schedule.overlap(overlap);
        self
    }

    /// Its tasks are due up to this long after each tick, and before the next.
    #[must_use]
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.schedule = self.schedule.jitter(jitter.min(TIME_MAX));
        self
    }

    /// What becomes of ticks that came while nobody was there.
    #[must_use]
    pub fn missed(self, missed: Missed) -> Self {
        Self { missed, ..self }
    }

    /// No tick is enqueued later than this after it came, [`CATCH_UP_MIN`](super::CATCH_UP_MIN) at least; none: however
    /// late.
    #[must_use]
    pub fn catch_up(self, window: Option<Duration>) -> Self {
        Self { catch_up: window.map(|window| window.min(TIME_MAX)), ..self }
    }

    /// What becomes of a tick while the task of an earlier one has not ended.
    #[must_use]
    pub fn runs(self, runs: Runs) -> Self {
        Self { runs, ..self }
    }

    /// Changes how its tasks run: retries, timeout, retention, priority. Kind, queue and the writing of the payload stay.
    pub fn options(mut self, change: impl FnOnce(&mut Header)) -> Result<Self> {
        let before = self.header.clone();
        change(&mut self.header);
        let now = &self.header;
        if (&now.kind, &now.queue, now.codec, now.created, now.remember, now.unique, now.deadline)
            != (&before.kind, &before.queue, before.codec, before.created, false, 0, None)
            || now.group != before.group
        {
            return Err(Error::invalid(
                "kind, queue, codec, group and identity of an entry's tasks stay; make another entry",
            ));
        }
        self.header.encode()?;
        Ok(self)
    }

    /// Words for people to find its tasks by.
    pub fn tags(mut self, tags: &[String]) -> Result<Self> {
        self.header.set_tags(tags)?;
        Ok(self)
    }

    /// Another payload, in JSON.
    pub fn payload(mut self, json: &str) -> Result<Self> {
        let task = RawTask::json(self.header.kind.as_str(), json)?;
        self.header.codec = Codec::Json;
        self.body = Zeroizing::new(task.payload.into_bytes());
        Ok(self)
    }

    /// Opened, to be edited.
    pub(crate) fn open(listed: &Listed, sealer: &Sealer) -> Result<Self> {
        let unread = |error: &Error| error.replicate();
        let plan = listed.plan().map_err(unread)?;
        let header = plan.header()?;
        let at = (&listed.queue, &listed.name[..]);
        let opened = sealer.open_template(at, &plan.header, &plan.sealed)?;
        Ok(Self {
            name: listed.name.clone(),
            schedule: plan.schedule.clone(),
            missed: plan.missed,
            catch_up: plan.catch_up,
            runs: plan.runs,
            header,
            headers: opened.headers,
            body: Zeroizing::new(opened.body.to_vec()),
            replicas: plan.replicas,
            front: plan.front,
            group: plan.group.clone(),
        })
    }

    /// Whether both carry the same: what is sealed.
    pub(super) fn carries_like(&self, other: &Self) -> bool {
        (&self.headers, &*self.body) == (&other.headers, &*other.body)
    }

    /// Sealed, as it is to be kept.
    pub(super) fn seal(&self, sealer: &Sealer, origin: Origin) -> Result<Plan> {
        let header = self.header.encode()?;
        let at = (self.queue(), &self.name[..]);
        let sealed =
            sealer.seal_template(at, &header, self.header.codec, &self.headers, &self.body)?;
        let plan = Plan {
            schedule: self.schedule.clone(),
            missed: self.missed,
            catch_up: self.catch_up,
            runs: self.runs,
            paused: false,
            origin,
            since: Timestamp(0),
            replicas: self.replicas,
            front: self.front,
            group: self.group.clone(),
            header,
            sealed: sealed.as_bytes().to_vec(),
        };
        // What is wrong with its tasks is found out now, and not at the first tick.
        task::tick(sealer, at, &plan, Timestamp(0), Timestamp(0))?;
        Ok(plan)
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_assert!(self.name.len() <= ENTRY_NAME_BYTES_MAX);
        let (name, queue, schedule) = (&self.name, self.queue(), &self.schedule);
        let bytes = self.body.len();
        write!(f, "Entry {{ {name:?} of {queue}, {schedule:?}, payload: {bytes} bytes }}")
    }
}
