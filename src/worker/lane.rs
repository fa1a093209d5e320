//! A lane at work: queues that share slots, by name or by pattern, and in which order they are asked.
//!
//! What a pattern stands for is looked up again and again: a queue that comes later is served within a second.

use std::collections::HashSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::error::{Error, Result};
use crate::queue::{NAME_BYTES_MAX, QueueName};

use super::config::chance;
use super::slots::Slots;

/// Most queues that one pattern stands for.
pub const PATTERN_QUEUES_MAX: usize = 1_000;

/// What a lane is told to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Served {
    /// This queue.
    Queue(QueueName),
    /// All whose names begin so.
    Prefix(String),
}

impl Served {
    /// Reads a name, or a pattern: the beginning of a name, and `*`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let Some(prefix) = text.strip_suffix('*') else {
            return Ok(Self::Queue(QueueName::parse(text)?));
        };
        // With any letter behind it, it is a name; alone it is every name.
        let is_prefix = prefix.is_empty() || QueueName::parse(&format!("{prefix}x")).is_ok();
        if is_prefix && prefix.len() < NAME_BYTES_MAX {
            return Ok(Self::Prefix(prefix.to_owned()));
        }
        let shown: String = text.chars().take(NAME_BYTES_MAX).collect();
        Err(Error::invalid(format!(
            "{shown:?} is no pattern of queues; use the beginning of a name and one `*` behind it"
        )))
    }

    pub(crate) fn serves(&self, queue: &str) -> bool {
        match self {
            Self::Queue(name) => name.as_str() == queue,
            Self::Prefix(prefix) => queue.starts_with(&**prefix),
        }
    }
}

/// Queues that share slots, ready to be claimed from.
pub(crate) struct LaneState {
    served: Vec<(Served, u32)>,
    queues: ArcSwap<Vec<(QueueName, u32)>>,
    pub(crate) strict: bool,
    pub(crate) slots: Arc<Slots>,
    /// Told when queues were found.
    pub(crate) found: Arc<Notify>,
}

impl LaneState {
    pub(crate) fn new(served: Vec<(Served, u32)>, strict: bool, slots: Arc<Slots>) -> Self {
        let lane =
            Self { served, queues: ArcSwap::default(), strict, slots, found: Arc::default() };
        lane.look(&[]);
        lane
    }

    pub(crate) fn has_patterns(&self) -> bool {
        self.served.iter().any(|(served, _)| matches!(served, Served::Prefix(_)))
    }

    /// The queues it serves now.
    pub(crate) fn queues(&self) -> Arc<Vec<(QueueName, u32)>> {
        self.queues.load_full()
    }

    /// Whether it serves this queue, or would if there was one.
    pub(crate) fn serves(&self, queue: &str) -> bool {
        self.served.iter().any(|(served, _)| served.serves(queue))
    }

    /// Takes up those of these queues, sorted, that it is to serve; they stand where their pattern stands.
    pub(crate) fn look(&self, there: &[QueueName]) {
        let before = self.queues();
        let (mut now, mut added) = (Vec::new(), HashSet::<&QueueName>::new());
        for (served, weight) in &self.served {
            let mut add = |queue| {
                if added.insert(queue) {
                    now.push((queue.clone(), *weight));
                }
            };
            match served {
                Served::Queue(queue) => add(queue),
                Served::Prefix(_) => {
                    // What it served it goes on to serve: a broker may not know of a queue any more that has turns.
                    let known = before.iter().map(|(queue, _)| queue).chain(there);
                    let mut own = HashSet::new();
                    let own =
                        known.filter(|queue| served.serves(queue.as_str()) && own.insert(*queue));
                    own.take(PATTERN_QUEUES_MAX).for_each(add);
                }
            }
        }
        if now.len() > before.len() {
            self.queues.store(Arc::new(now));
            self.found.notify_one();
        }
    }

    /// In which order to ask the queues this time: as given, or drawn by weight (Efraimidis and Spirakis,
    /// "Weighted random sampling with a reservoir", 2006: sort by `chance^(1/weight)`).
    pub(crate) fn order(&self) -> Vec<QueueName> {
        let queues = self.queues.load();
        let mut drawn: Vec<_> = queues
            .iter()
            .map(|(queue, weight)| (chance().powf(1.0 / f64::from(*weight)), queue.clone()))
            .collect();
        if !self.strict {
            drawn.sort_by(|a, b| b.0.total_cmp(&a.0));
        }
        drawn.into_iter().map(|(_, queue)| queue).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::slots::Limits;

    fn names(lane: &LaneState) -> Vec<String> {
        lane.queues().iter().map(|(queue, weight)| format!("{queue} {weight}")).collect()
    }

    fn queues(names: &[&str]) -> Vec<QueueName> {
        names.iter().map(|name| QueueName::parse(name).expect("a name")).collect()
    }

    #[test]
    fn a_pattern_serves_what_comes_in_its_place() {
        let served = [("urgent", 3), ("tenant-*", 2), ("bulk", 1)]
            .map(|(text, weight)| (Served::parse(text).expect("served"), weight));
        let lane = LaneState::new(served.to_vec(), true, Slots::new(1, Limits::new([])));
        assert_eq!(names(&lane), ["urgent 3", "bulk 1"]);
        lane.look(&queues(&["bulk", "tenant-b", "tenants"]));
        assert_eq!(names(&lane), ["urgent 3", "tenant-b 2", "bulk 1"]);
        lane.look(&queues(&["tenant-a"]));
        assert_eq!(names(&lane), ["urgent 3", "tenant-b 2", "tenant-a 2", "bulk 1"]);
        assert!(lane.serves("tenant-z") && !lane.serves("tenants"));
        let many: Vec<_> = (0..2_000).map(|n| format!("tenant-{n:04}")).collect();
        let many = queues(&many.iter().map(|name| &**name).collect::<Vec<_>>());
        // They come a few at a time, and those that were there before are there again.
        for there in (0..=many.len()).step_by(50) {
            lane.look(&many[..there]);
            assert_eq!(names(&lane).len(), 2 + (there + 2).min(PATTERN_QUEUES_MAX), "{there}");
        }
    }

    #[test]
    fn only_the_end_of_a_pattern_is_open() {
        for good in ["*", "a*", "tenant-*", "a.b:c_d-*"] {
            assert!(matches!(Served::parse(good), Ok(Served::Prefix(_))), "{good}");
        }
        let long = format!("{}*", "x".repeat(NAME_BYTES_MAX));
        for bad in ["", "a*b", "**", "a**", "A*", "{*", "a *", "?*", &long] {
            assert!(Served::parse(bad).expect_err(bad).is_invalid());
        }
    }
}
