//! What the broker says of the drill's queue at the end: which tasks it keeps, and how they ended.

use oncue::broker::{PAGE_ROWS_MAX, Page};
use oncue::queue::QueueName;
use oncue::state::{Reason, State};
use oncue::{Client, Result, TaskId};

use super::progress::stats;

/// The broker's word.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) completed: Vec<TaskId>,
    pub(super) archived: Vec<(TaskId, Option<Reason>)>,
}

impl Book {
    pub(super) async fn read(client: &Client, queue: &QueueName) -> Result<Self> {
        let completed = list(client, queue, State::Completed).await?;
        let archived = list(client, queue, State::Archived).await?;
        let completed = completed.into_iter().map(|(id, _)| id).collect();
        Ok(Self { completed, archived })
    }
}

/// How many tasks of the queue did not end.
pub(super) async fn unfinished(client: &Client, queue: &QueueName) -> Result<u64> {
    let stats = stats(client, queue).await?;
    let live = State::ALL.iter().filter(|state| !state.is_terminal());
    Ok(live.map(|state| stats.count(*state)).sum())
}

async fn list(
    client: &Client,
    queue: &QueueName,
    state: State,
) -> Result<Vec<(TaskId, Option<Reason>)>> {
    let mut page = Page { queue: queue.clone(), state, cursor: None, rows: PAGE_ROWS_MAX };
    let mut found = Vec::new();
    // As many pages as the broker has; each but the last has rows.
    loop {
        let listing = client.broker().list(page.clone()).await?;
        found.extend(listing.tasks.iter().map(|task| (task.stored.id(), task.reason)));
        match listing.cursor {
            Some(cursor) => page.cursor = Some(cursor),
            None => return Ok(found),
        }
    }
}
