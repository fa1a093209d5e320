//! What is SQLite's own; what all brokers share is the conformance suite's, and only touched here.

mod grouping;
mod groups;
mod limits;
mod locks;
mod opening;
mod plans;
mod upgrade;
mod verbs;
mod waking;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Options, SqliteBroker};
use crate::broker::{Ask, Batch, Broker, Claim, Enqueued, Lane, NewTask, Session};
use crate::clock::{ManualClock, Timestamp};
use crate::envelope::Header;
use crate::queue::{Kind, KindHash, QueueName};
use crate::seal::{Keyring, Sealer};
use crate::task::{Due, TaskId};

const LEASE: Duration = Duration::from_secs(10);
const START: Timestamp = Timestamp(1_000_000);

fn queue() -> QueueName {
    QueueName::parse("default").expect("a name")
}

fn header(kind: &str) -> Header {
    Header::new(Kind::parse(kind).expect("a name"), queue(), Timestamp(1))
}

fn task(id: TaskId, header: Header, due: Due) -> NewTask {
    sized(id, header, due, 10)
}

fn sized(id: TaskId, header: Header, due: Due, bytes: usize) -> NewTask {
    let sealer = Sealer::new(Keyring::generate().expect("keys"), "test").expect("a sealer");
    let mut batch = sealer.batch(1).expect("a batch");
    let envelope = batch.envelope(id, header, &[], &vec![7; bytes]).expect("seals");
    NewTask::new(envelope, due)
}

fn batch(tasks: Vec<NewTask>) -> Batch {
    Batch::new(queue(), tasks)
}

fn one() -> Batch {
    batch(vec![task(TaskId::fresh(), header("a"), Due::Now)])
}

async fn store(broker: &SqliteBroker, kind: &str, due: Due) -> TaskId {
    let id = TaskId::fresh();
    let stored = broker.enqueue(batch(vec![task(id, header(kind), due)])).await.expect("stored");
    assert_eq!(stored, [Enqueued::Created]);
    id
}

fn ask(session: &Session, max: usize, kinds: &[&str]) -> Ask {
    let accept = kinds.iter().map(|kind| (KindHash::of(kind), max)).collect();
    Ask { session: session.clone(), lease: LEASE, max, lane: Lane::Shared, accept }
}

fn ids(claims: &[Claim]) -> Vec<TaskId> {
    claims.iter().map(Claim::id).collect()
}

/// A broker at a file of its own, with a clock that stands.
struct Bench {
    dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        Self { dir, clock: Arc::new(ManualClock::at(START)) }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("tasks.db")
    }

    fn options(&self) -> Options {
        Options::file(self.path()).clock(self.clock.clone())
    }

    fn open(&self) -> SqliteBroker {
        SqliteBroker::open(self.options()).expect("opens")
    }
}
