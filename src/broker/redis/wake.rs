//! Wake-up: own calls bump their marks at once, those of others come as messages on the channels of a queue.
//!
//! Messages can be lost with their connection: whatever was (re)connected or subscribed bumps every mark, and
//! the tick of each queue (`reclaim`) tells what may have been missed.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::keys::QueueKeys;
use super::link::{Link, LinkEvent};
use crate::broker::marks::Marks;
use crate::broker::{Reply, Wake};
use crate::error::Error;

/// The channel of the namespace on which workers are told that they were told something.
pub(super) const SIGNALS: &str = "signals";

/// The channel of a queue on which a wake is told.
fn channel(wake: Wake) -> &'static str {
    match wake {
        Wake::Ready => "ready",
        Wake::Due => "due",
        Wake::Settled => "settled",
        Wake::Ordered => "ordered",
        Wake::Noted => "noted",
    }
}

/// Who listens to what.
#[derive(Default)]
pub(super) struct Interest(Mutex<Listening>);

#[derive(Default)]
struct Listening {
    /// Queues whose tasks this process enqueued or looked at: their ends and notes may be waited for.
    touched: HashSet<QueueKeys>,
    /// What happens to those that is waited for: ends, notes.
    wanted: Vec<Wake>,
    channels: HashSet<String>,
}

impl Interest {
    fn lock(&self) -> MutexGuard<'_, Listening> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens from now on for this wake of a queue.
    pub(super) fn follow(&self, link: &Link, keys: &QueueKeys, wake: Wake) {
        self.lock().listen(link, keys.of(channel(wake)));
    }

    /// Listens from now on on a channel of the namespace.
    pub(super) fn follow_channel(&self, link: &Link, channel: String) {
        self.lock().listen(link, channel);
    }

    /// Somebody may wait for the end of a task of this queue.
    pub(super) fn touch(&self, link: &Link, keys: &QueueKeys) {
        let mut listening = self.lock();
        if listening.touched.contains(keys) {
            return;
        }
        listening.touched.insert(keys.clone());
        for wake in listening.wanted.clone() {
            listening.listen(link, keys.of(channel(wake)));
        }
    }

    /// Somebody waits for the ends of tasks, or for their notes.
    pub(super) fn want(&self, link: &Link, wake: Wake) {
        let mut listening = self.lock();
        if listening.wanted.contains(&wake) {
            return;
        }
        listening.wanted.push(wake);
        let touched: Vec<_> = listening.touched.iter().cloned().collect();
        for keys in touched {
            listening.listen(link, keys.of(channel(wake)));
        }
    }
}

impl Listening {
    fn listen(&mut self, link: &Link, channel: String) {
        if !self.channels.contains(&channel) {
            link.subscribe(channel.clone());
            self.channels.insert(channel);
        }
    }
}

/// Passes on what happened on the link.
pub(super) fn hear(marks: &Marks, event: &LinkEvent) {
    match event {
        LinkEvent::Up | LinkEvent::Subscribed => marks.bump_all(),
        LinkEvent::Down => {}
        LinkEvent::Message { channel: name, .. } => {
            let all = [Wake::Ready, Wake::Due, Wake::Settled, Wake::Ordered, Wake::Noted];
            let suffix = name.rsplit(':').next().map(|name| match name {
                SIGNALS => channel(Wake::Ordered),
                name => name,
            });
            marks.bump(all.map(|wake| suffix == Some(channel(wake))));
        }
    }
}

/// Waits until the mark is not `seen` any more.
pub(super) fn wait(marks: &Marks, wake: Wake, seen: Option<u64>) -> Reply<u64> {
    let mut watch = marks.watch(wake);
    let present = *watch.borrow_and_update();
    if seen != Some(present) {
        return Box::pin(std::future::ready(Ok(present)));
    }
    Box::pin(async move {
        match watch.wait_for(|mark| *mark != present).await {
            Ok(mark) => Ok(*mark),
            Err(_) => Err(Error::closed("the Redis broker was closed")),
        }
    })
}
