//! What is enqueued, opened: for assertions, and told in full when one fails.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};

use crate::broker::{Page, TaskView};
use crate::client::Client;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::state::State;
use crate::task::{Task, TaskId};

/// Most tasks looked at by one assertion.
pub const LISTED_MAX: usize = 100_000;

/// Tasks looked at at once.
const PAGE: usize = 1_000;

/// An enqueued task, opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Found<T> {
    /// The task.
    pub task: T,
    /// Its id.
    pub id: TaskId,
    /// Its queue.
    pub queue: String,
    /// Where it is: any state in which a task has not ended.
    pub state: State,
    /// When it is due; none if it is.
    pub due: Option<Timestamp>,
    /// Its priority.
    pub priority: u8,
    /// Its headers, opened: name and value.
    pub headers: Vec<(String, String)>,
    /// Its tags.
    pub tags: Vec<String>,
}

impl<T> Found<T> {
    /// The header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Every task of this type that has not ended, by queue and state, oldest first. Blocks until the broker answered.
///
/// # Errors
/// Those of the broker; of a task that does not open; more than [`LISTED_MAX`] tasks
/// [`is_too_large`](Error::is_too_large).
pub fn enqueued<T: Task>(client: &Client) -> Result<Vec<Found<T>>> {
    let mut found = Vec::new();
    for (queue, view) in all(client)? {
        let header = view.stored.header()?;
        if header.kind.as_str() != T::KIND {
            continue;
        }
        let opened = client.sealer().open_task(&view.stored)?;
        found.push(Found {
            task: crate::task::read(header.schema, opened.codec, &opened.body)?,
            id: view.stored.id(),
            queue,
            state: view.state,
            due: view.until,
            priority: header.priority,
            headers: opened.headers,
            tags: header.tags(),
        });
    }
    Ok(found)
}

/// All tasks that have not ended, with their queues.
fn all(client: &Client) -> Result<Vec<(String, TaskView)>> {
    let list = async {
        let (broker, mut all) = (client.broker(), Vec::new());
        for stats in broker.stats().await? {
            for state in State::ALL.into_iter().filter(|state| !state.is_terminal()) {
                let mut cursor = None;
                loop {
                    let page = Page { queue: stats.queue.clone(), state, cursor, rows: PAGE };
                    let listing = broker.list(page).await?;
                    let queue = stats.queue.as_str();
                    all.extend(listing.tasks.into_iter().map(|view| (queue.to_owned(), view)));
                    if all.len() > LISTED_MAX {
                        return Err(Error::too_large(format!(
                            "more than {LISTED_MAX} tasks; test with less"
                        )));
                    }
                    cursor = listing.cursor;
                    if cursor.is_none() {
                        break;
                    }
                }
            }
        }
        Ok(all)
    };
    // A runtime may run on this thread; no broker needs its.
    std::thread::scope(|scope| {
        let listed = scope.spawn(|| crate::block_on(list)).join();
        listed.unwrap_or_else(|_| Err(Error::system("the thread that lists tasks panicked")))
    })
}

/// What there is, for the message of an assertion: counts alone.
#[doc(hidden)]
pub fn overview(client: &Client) -> String {
    let mut counts: BTreeMap<(String, String, &str), usize> = BTreeMap::new();
    let all = match all(client) {
        Ok(all) => all,
        Err(error) => return format!("what there is cannot be told: {error}"),
    };
    for (queue, view) in all {
        let kind = view.stored.header().map_or("unreadable".to_owned(), |h| h.kind.to_string());
        *counts.entry((queue, kind, view.state.as_str())).or_default() += 1;
    }
    if counts.is_empty() {
        return "there is no task that has not ended".to_owned();
    }
    let mut text = "there is:".to_owned();
    for ((queue, kind, state), count) in counts {
        let _ = write!(text, "\n  {queue}: {kind}, {count} {state}");
    }
    text
}

/// Gives a closure its type.
#[doc(hidden)]
pub fn predicate<T, F: Fn(&Found<T>) -> bool>(holds: F) -> F {
    holds
}

/// A found task in the message of an assertion: its payload only if its type has a `Debug`. Who imports both traits and
/// calls `(&Shown(found)).tell()` gets the one that fits.
#[doc(hidden)]
pub struct Shown<'a, T>(pub &'a Found<T>);

#[doc(hidden)]
pub trait AsDebug {
    fn tell(&self) -> String;
}

impl<T: Debug> AsDebug for Shown<'_, T> {
    fn tell(&self) -> String {
        self.0.text(&format!("{:?}", self.0.task))
    }
}

#[doc(hidden)]
pub trait AsNothing {
    fn tell(&self) -> String;
}

impl<T> AsNothing for &Shown<'_, T> {
    fn tell(&self) -> String {
        self.0.text("one without Debug")
    }
}

impl<T> Found<T> {
    fn text(&self, task: &str) -> String {
        let Self { queue, state, priority, .. } = self;
        let due = self.due.map(|due| format!(", due {due}")).unwrap_or_default();
        format!("\n  {task} in {queue}, {state}, priority {priority}{due}")
    }
}

/// Fails unless a task of this type is enqueued and has not ended, for which the closure holds, if there is one: it gets
/// a [`Found`](crate::testing::Found), with the task opened, its queue, due time, priority, headers and tags. The
/// message tells what there is: by queue, kind and count, and those of the type in full if it has a `Debug`.
///
/// ```
/// # use std::time::Duration;
/// # use oncue::{Task, assert_enqueued, refute_enqueued, testing::Bench};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Welcome { user: u64 }
/// # impl Task for Welcome { const KIND: &'static str = "welcome"; }
/// # fn main() -> oncue::Result<()> { oncue::block_on(async {
/// let bench = Bench::new()?;
/// let task = Welcome { user: 7 }.draft().queue("mail").after(Duration::from_secs(60));
/// bench.client().enqueue(task).await?;
///
/// assert_enqueued!(bench.client(), Welcome);
/// assert_enqueued!(bench.client(), Welcome, |found| found.task.user == 7 && found.queue == "mail");
/// refute_enqueued!(bench.client(), Welcome, |found| found.due.is_none());
/// # Ok(()) }) }
/// ```
#[macro_export]
macro_rules! assert_enqueued {
    ($client:expr, $task:ty $(,)?) => {
        $crate::assert_enqueued!($client, $task, |_| true)
    };
    ($client:expr, $task:ty, $holds:expr $(,)?) => {{
        #[allow(unused_imports)]
        use $crate::testing::{AsDebug as _, AsNothing as _};
        let client: &$crate::Client = &$client;
        let found =
            $crate::testing::enqueued::<$task>(client).expect("what is enqueued can be read");
        let holds = $crate::testing::predicate::<$task, _>($holds);
        if !found.iter().any(holds) {
            let told: String =
                found.iter().map(|found| (&$crate::testing::Shown(found)).tell()).collect();
            let (name, kind) = (stringify!($task), <$task as $crate::Task>::KIND);
            let overview = $crate::testing::overview(client);
            panic!("no {name} ({kind}) is enqueued as asked for{told}\n{overview}");
        }
    }};
}

/// Fails if a task is enqueued for which [`assert_enqueued!`](crate::assert_enqueued) would not.
#[macro_export]
macro_rules! refute_enqueued {
    ($client:expr, $task:ty $(,)?) => {
        $crate::refute_enqueued!($client, $task, |_| true)
    };
    ($client:expr, $task:ty, $holds:expr $(,)?) => {{
        #[allow(unused_imports)]
        use $crate::testing::{AsDebug as _, AsNothing as _};
        let client: &$crate::Client = &$client;
        let found =
            $crate::testing::enqueued::<$task>(client).expect("what is enqueued can be read");
        let holds = $crate::testing::predicate::<$task, _>($holds);
        if let Some(found) = found.iter().find(|found| holds(found)) {
            let told = (&$crate::testing::Shown(found)).tell();
            let (name, kind) = (stringify!($task), <$task as $crate::Task>::KIND);
            panic!("{name} ({kind}) is enqueued, and should not be:{told}");
        }
    }};
}
