//! One pass over an outbox: page by page from its beginning, handed over and removed.

use std::collections::HashSet;

use crate::client::{Client, Parcel};
use crate::error::{Error, Result};
use crate::event::{Event, Listener};
use crate::queue::QueueName;

use super::refused::{REFUSED_MAX, Refused};
use super::{OutboxStore, PAGE_BYTES_MAX, PAGE_ROWS_MAX, Page, Row};

/// How many rows that must wait one pass looks past, to those of other queues behind them.
pub const LOOK_PAST_MAX: usize = 10_000;

/// What became of the rows of an outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Moved {
    /// The broker has them, and they are removed.
    pub handed: usize,
    /// No broker will take them: they stay, and were told of.
    pub refused: usize,
    /// Their queue is full, or could not be reached: they stay for the next pass. Those behind them that were not looked
    /// at are not counted.
    pub waiting: usize,
}

/// How a pass went.
#[derive(Default)]
pub(super) struct Passed {
    pub(super) moved: Moved,
    /// Why some wait, if it is not for room.
    pub(super) failure: Option<Error>,
}

/// What a pass works with.
pub(super) struct Desk<'a> {
    pub(super) client: &'a Client,
    pub(super) store: &'a dyn OutboxStore,
    pub(super) tell: &'a Option<Listener>,
    pub(super) refused: &'a mut Refused,
}

impl Desk<'_> {
    /// Passes over the outbox until its end, or until it is told to stop. Rows that were handed over and could not be
    /// removed are handed over again by the next pass, which changes nothing. What it did before an error counts, too.
    pub(super) async fn pass(
        &mut self,
        passed: &mut Passed,
        stops: impl Fn() -> bool,
    ) -> Result<()> {
        // Queues that wait: what comes later for them must not overtake.
        let mut waiting = HashSet::new();
        let mut after = 0;
        while !stops() && passed.moved.waiting < LOOK_PAST_MAX {
            let page = Page { after, rows: PAGE_ROWS_MAX, bytes: PAGE_BYTES_MAX };
            let rows = self.store.read(page).await?;
            let Some(last) = rows.last().map(|row| row.number) else { break };
            if last <= after {
                return Err(Error::corrupt("the outbox answers rows that were not asked for"));
            }
            after = last;
            self.page(rows, &mut waiting, passed).await?;
        }
        Ok(())
    }

    async fn page(
        &mut self,
        rows: Vec<Row>,
        waiting: &mut HashSet<QueueName>,
        passed: &mut Passed,
    ) -> Result<()> {
        let (mut numbers, mut parcels) = (Vec::new(), Vec::new());
        for Row { number, parcel } in rows {
            if self.refused.holds(number) {
                passed.moved.refused += 1;
                continue;
            }
            match Parcel::from_bytes(&parcel) {
                Ok(parcel) if waiting.contains(parcel.queue()) => passed.moved.waiting += 1,
                Ok(parcel) => {
                    numbers.push((number, parcel.id(), parcel.queue().clone()));
                    parcels.push(parcel);
                }
                Err(error) => {
                    passed.moved.refused += 1;
                    self.refuse(number, None, &error);
                }
            }
        }
        let answers = self.client.hand_over(parcels).await;
        let mut done = Vec::with_capacity(answers.len());
        for ((number, id, queue), answer) in numbers.into_iter().zip(answers) {
            match answer {
                Ok(_) => done.push(number),
                Err(error) if Client::is_refused_for_good(&error) => {
                    passed.moved.refused += 1;
                    self.refuse(number, Some(id), &error);
                }
                Err(error) => {
                    passed.moved.waiting += 1;
                    waiting.insert(queue);
                    if !error.is_full() && passed.failure.is_none() {
                        passed.failure = Some(error);
                    }
                }
            }
        }
        let count = done.len();
        if count > 0 {
            self.store.remove(done).await?;
            passed.moved.handed += count;
            tell(self.tell, &Event::HandedOver { rows: count });
        }
        Ok(())
    }

    /// Passes over a row from now on.
    fn refuse(&mut self, row: i64, id: Option<crate::task::TaskId>, error: &Error) {
        if !self.refused.add(row) {
            return;
        }
        tracing::error!(row, error = ?error, "a row of an outbox is refused for good; it stays there, and is passed over");
        tell(self.tell, &Event::ParcelRefused { row, id, why: error.to_string() });
        if self.refused.is_full() {
            tracing::error!(
                "{REFUSED_MAX} rows of an outbox are refused; what is refused from now on is not told"
            );
        }
    }
}

/// Tells an event to whoever listens.
pub(super) fn tell(listener: &Option<Listener>, event: &Event) {
    if let Some(listener) = listener {
        listener(event);
    }
}
