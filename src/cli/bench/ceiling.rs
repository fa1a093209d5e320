//! The ceiling: the same verbs of the same broker with the same records, without worker, opening and handlers.

use std::sync::Arc;
use std::time::Instant;

use futures::future::try_join_all;
use oncue::Result;
use oncue::broker::{
    Ask, BATCH_TASKS_MAX, Batch, Lane, NewTask, Operate, Order, Session, Settlement,
};
use oncue::envelope::Header;
use oncue::queue::{Kind, QueueName};
use oncue::seal::{Keyring, Sealer};
use oncue::task::{Due, TaskId};

use super::RAW_QUEUE;
use super::run::batch_size;

/// Sessions that claim and settle beside each other, so that the broker never waits for us.
const SESSIONS: usize = 4;
/// How long a session lives: longer than any bench.
const LEASE: std::time::Duration = std::time::Duration::from_secs(600);
const KIND: &str = "bench:raw";

/// Enqueues, claims and settles this many tasks; answers tasks a second of claiming and settling.
pub(super) async fn drain(broker: &Arc<dyn Operate>, tasks: u64, payload: usize) -> Result<f64> {
    let (queue, kind) = (QueueName::parse(RAW_QUEUE)?, Kind::parse(KIND)?);
    let sealer = Sealer::new(Keyring::generate()?, "bench")?;
    let mut left = tasks as usize;
    while left > 0 {
        let n = left.min(batch_size(payload));
        let mut seals = sealer.batch(n)?;
        let tasks = (0..n).map(|_| {
            let header = Header::new(kind.clone(), queue.clone(), broker.now());
            let envelope = seals.envelope(TaskId::fresh(), header, &[], &vec![b'x'; payload])?;
            Ok(NewTask { fresh: true, ..NewTask::new(envelope, Due::Now) })
        });
        let tasks = tasks.collect::<Result<Vec<_>>>()?;
        let batch = Batch::new(queue.clone(), tasks);
        broker.enqueue(batch).await?;
        left -= n;
    }
    let began = Instant::now();
    let drained = try_join_all((0..SESSIONS).map(|_| empty(broker, &queue, &kind))).await?;
    Ok(drained.iter().sum::<u64>() as f64 / began.elapsed().as_secs_f64())
}

/// One session, until there is nothing more.
async fn empty(broker: &Arc<dyn Operate>, queue: &QueueName, kind: &Kind) -> Result<u64> {
    let session = Session::fresh(queue.clone());
    let mut drained = 0;
    loop {
        let max = BATCH_TASKS_MAX;
        let accept = vec![(kind.hash(), max)];
        let ask = Ask { session: session.clone(), lease: LEASE, max, lane: Lane::Shared, accept };
        let claims = broker.dequeue(ask).await?;
        if claims.is_empty() {
            broker.retire(session, Vec::new()).await?;
            return Ok(drained);
        }
        drained += claims.len() as u64;
        let done = |ticket| {
            let order = Order::Complete { keep: std::time::Duration::ZERO, result: None };
            Settlement::new(ticket, order)
        };
        let settlements = claims.iter().map(|claim| done(claim.ticket)).collect();
        broker.settle(session.clone(), settlements).await?;
    }
}
