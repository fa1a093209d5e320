//! What all wires of a bench share: the broker, the clock, and word of what changed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::broker::Operate;
use crate::clock::{Clock, ManualClock, Timestamp};
use crate::error::Result;
use crate::queue::QueueName;

use super::fuse::Fuse;

/// Most tasks moved by one advance.
const ADVANCE_MAX: usize = 500;

/// Beneath everything on a bench.
pub(super) struct Ground {
    pub(super) broker: Arc<dyn Operate>,
    pub(super) fuse: Fuse,
    clock: Arc<ManualClock>,
    moved: watch::Sender<u64>,
    changed: watch::Sender<u64>,
}

impl Ground {
    pub(super) fn new(broker: Arc<dyn Operate>, clock: Arc<ManualClock>) -> Self {
        let (fuse, moved, changed) = Default::default();
        Self { broker, fuse, clock, moved, changed }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Time passes; never back.
    pub(super) fn pass(&self, time: Duration) {
        self.clock.set(self.now().plus(time));
        self.moved.send_modify(|moved| *moved += 1);
    }

    /// Time passes until then, and what is due becomes pending.
    pub(super) async fn jump(&self, to: Timestamp, queues: &[QueueName]) -> Result<()> {
        self.pass(to.since(self.now()));
        for queue in queues {
            while self.broker.advance(queue.clone(), ADVANCE_MAX).await?.more {}
        }
        Ok(())
    }

    /// How often the clock was moved.
    pub(super) fn moves(&self) -> watch::Receiver<u64> {
        self.moved.subscribe()
    }

    /// Something may be otherwise than before.
    pub(super) fn change(&self) {
        self.changed.send_modify(|changes| *changes += 1);
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}
