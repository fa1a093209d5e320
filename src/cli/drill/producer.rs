//! A producer: enqueues its numbers in order and in time, and goes on where the one before it was killed.

use std::path::Path;
use std::time::Duration;

use futures::future::join_all;
use oncue::{Client, Error, Handle, Result};

use super::child::Part;
use super::ledger::{Ledger, Line, now, read};
use super::plan::Plan;
use super::tasks::enqueue;

/// How many share the numbers.
pub(super) const PRODUCERS: u64 = 2;
/// Calls under way at once.
const CALLS_MAX: u64 = 20;
/// Numbers that are enqueued again although the one before had them acknowledged: they must be found.
const AGAIN: u64 = 3;
/// How often a call is repeated that the broker did not answer, and how soon.
const TRIES_MAX: usize = 100;
const AGAIN_AFTER: Duration = Duration::from_millis(100);

pub(super) async fn produce(
    client: &Client,
    part: &Part,
    share: u64,
    ledger: &Ledger,
) -> Result<()> {
    let numbers = part.plan.share(share, PRODUCERS);
    let mut from = part.from.unwrap_or(numbers.start);
    let span = part.span.as_nanos() as f64 / (numbers.end - numbers.start).max(1) as f64;
    while from < numbers.end {
        let due = part.began + ((from - numbers.start) as f64 * span) as u64;
        let late = now().saturating_sub(due);
        if late == 0 {
            tokio::time::sleep(Duration::from_nanos(due.saturating_sub(now()))).await;
        }
        let count = 1 + (late as f64 / span) as u64;
        let until = (from + count.min(CALLS_MAX)).min(numbers.end);
        ledger.add(&[Line::Going { from, until }]);
        let calls = (from..until).map(|number| acked(client, part.plan, number, part));
        let lines = join_all(calls).await.into_iter().collect::<Result<Vec<_>>>()?;
        ledger.add(&lines);
        from = until;
    }
    Ok(())
}

async fn acked(client: &Client, plan: Plan, number: u64, part: &Part) -> Result<Line> {
    let handle = stored(client, plan, number, &part.queue, part.keep).await?;
    Ok(Line::Acked { number, id: handle.id(), created: handle.is_created() })
}

/// Enqueues until the broker answers. Its key makes it safe to repeat.
pub(super) async fn stored(
    client: &Client,
    plan: Plan,
    number: u64,
    queue: &str,
    keep: Duration,
) -> Result<Handle> {
    answered(async || enqueue(client, plan, number, queue, keep).await).await
}

/// Asks until the broker answers: whoever drills may restart it meanwhile.
pub(super) async fn answered<T>(ask: impl AsyncFn() -> Result<T>) -> Result<T> {
    let mut failed = Error::timeout("the broker did not answer");
    for _ in 0..TRIES_MAX {
        match ask().await {
            Err(error) if error.is_unreachable() || error.is_full() || error.is_not_durable() => {
                failed = error;
                tokio::time::sleep(AGAIN_AFTER).await;
            }
            answer => return answer,
        }
    }
    Err(failed)
}

/// What the producers of one share had acknowledged: the first number, and the last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Acknowledged(Option<(u64, u64)>);

impl Acknowledged {
    /// Adds what one of them wrote into its ledger.
    pub(super) fn read(&mut self, ledger: &Path) -> Result<()> {
        for line in read(ledger)? {
            if let Line::Acked { number, .. } = line {
                let (first, last) = self.0.unwrap_or((number, number));
                self.0 = Some((first.min(number), last.max(number)));
            }
        }
        Ok(())
    }

    /// Where the next one goes on: a little before the last.
    pub(super) fn resume(self) -> Option<u64> {
        self.0.map(|(first, last)| (last + 1).saturating_sub(AGAIN).max(first))
    }
}
