//! What a proxy was told, and what it counted: shared by a test and the relay.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// A direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// From the client to the server.
    Requests,
    /// From the server to the client.
    Replies,
}

/// What passed.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were accepted and not refused.
    pub connections: usize,
    /// Those that are open.
    pub open: usize,
    /// Whole requests that came from clients, held ones included.
    pub requests: usize,
    /// Whole replies that came from the server, dropped ones included; no pushes.
    pub replies: usize,
    /// Bytes passed on to the server.
    pub request_bytes: usize,
    /// Bytes passed on to clients.
    pub reply_bytes: usize,
    /// Replies dropped by plan.
    pub dropped: usize,
    /// Connections cut by plan.
    pub cut: usize,
    /// Requests that are held now.
    pub held: usize,
    /// Of those, how many the server has answered since they were let go.
    pub(super) landed: usize,
    /// Of those, how many can no longer land.
    pub(super) lost: usize,
}

/// How bytes go one way now.
#[derive(Clone, Copy, Default)]
pub struct Flow {
    pub delay: Duration,
    pub stalled: bool,
    pub swallowed: bool,
}

/// A request that is counted down to.
#[derive(Clone)]
pub struct Picked {
    command: Option<String>,
    left: usize,
    silent: bool,
}

impl Picked {
    pub fn nth(k: usize) -> Self {
        assert!(k > 0, "counts from 1");
        Self { command: None, left: k, silent: false }
    }

    pub fn command(name: &str, k: usize) -> Self {
        Self { command: Some(name.to_ascii_uppercase()), ..Self::nth(k) }
    }

    pub fn in_silence(self) -> Self {
        Self { silent: true, ..self }
    }
}

/// Whether this request is the one; if so, the plan is done.
fn is_it(picked: &mut Option<Picked>, command: &str) -> Option<Picked> {
    let plan = picked.as_mut()?;
    if plan.command.as_deref().is_some_and(|name| name != command) {
        return None;
    }
    plan.left -= 1;
    if plan.left == 0 { picked.take() } else { None }
}

/// Faults that happen once.
#[derive(Default)]
pub struct Plan {
    cuts: [Option<usize>; 2],
    pub drop_reply: Option<Picked>,
    pub hold: Option<Picked>,
}

impl Plan {
    pub fn cut(&mut self, way: Way) -> &mut Option<usize> {
        &mut self.cuts[way as usize]
    }

    /// How many of this many bytes may pass before the connection is cut, if it is.
    pub fn spend(&mut self, way: Way, bytes: usize) -> Option<usize> {
        let left = self.cut(way).as_mut()?;
        if bytes < *left {
            *left -= bytes;
            return None;
        }
        self.cut(way).take()
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    Pass,
    /// It passes, and its reply is dropped.
    Unanswered,
    /// It waits for `land`.
    Held {
        silent: bool,
    },
}

#[derive(Default)]
pub struct Control {
    flows: [watch::Sender<Flow>; 2],
    /// Goes up by one with every reset.
    resets: watch::Sender<usize>,
    /// Goes up by one with every landing.
    landings: watch::Sender<usize>,
    refused: watch::Sender<bool>,
    plan: Mutex<Plan>,
    counts: Mutex<Counts>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Control {
    pub fn flow(&self, way: Way, change: impl FnOnce(&mut Flow)) {
        self.flows[way as usize].send_modify(change);
    }

    pub fn watch_flow(&self, way: Way) -> watch::Receiver<Flow> {
        self.flows[way as usize].subscribe()
    }

    pub fn reset(&self) {
        self.resets.send_modify(|resets| *resets += 1);
    }

    pub fn watch_resets(&self) -> watch::Receiver<usize> {
        self.resets.subscribe()
    }

    pub fn land(&self) {
        self.landings.send_modify(|landings| *landings += 1);
    }

    pub fn watch_landings(&self) -> watch::Receiver<usize> {
        self.landings.subscribe()
    }

    pub fn refuse(&self, refused: bool) {
        self.refused.send_replace(refused);
    }

    pub fn refuses(&self) -> bool {
        *self.refused.borrow()
    }

    pub fn plan<T>(&self, change: impl FnOnce(&mut Plan) -> T) -> T {
        change(&mut lock(&self.plan))
    }

    pub fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut lock(&self.counts));
    }

    pub fn counts(&self) -> Counts {
        *lock(&self.counts)
    }

    /// Decides on a request of this command.
    pub fn decide(&self, command: &str) -> Fate {
        self.count(|counts| counts.requests += 1);
        self.plan(|plan| {
            let dropped = is_it(&mut plan.drop_reply, command);
            match is_it(&mut plan.hold, command) {
                Some(picked) => Fate::Held { silent: picked.silent },
                None if dropped.is_some() => Fate::Unanswered,
                None => Fate::Pass,
            }
        })
    }
}
