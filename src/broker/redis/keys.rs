//! Every key of ours in Redis: its type, what it holds, how long it lives. The functions in `lua/` use them.
//!
//! All keys of a queue begin with `oncue:{namespace/queue}:` and so share a slot of a Cluster. What follows is
//! below; `*` stands for what is told beside it. Ids are 16 raw bytes, tickets 24, times ms.

use crate::queue::QueueName;

/// The type of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Hash,
    List,
    Set,
    SortedSet,
    Text,
    Channel,
}

/// One key, or one family of keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// What follows the prefix.
    pub(super) name: &'static str,
    pub(super) kind: Type,
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "told in docs/redis.md, which a test compares")
    )]
    pub(super) holds: &'static str,
}

const fn key(name: &'static str, kind: Type, holds: &'static str) -> Key {
    Key { name, kind, holds }
}

/// The keys of one queue.
pub(super) const QUEUE_KEYS: &[Key] = &[
    key("t", Type::Hash, "id -> record, of every task not yet gone; rewritten by a person only"),
    key("tr", Type::Hash, "id -> trail, of tasks that have one"),
    key("k", Type::Hash, "id -> sealed result ('=') or reason of the archive ('!')"),
    key("ref", Type::Hash, "id -> what is done when it is gone; today d: remember the id"),
    key("p*", Type::List, "lines of pending tasks, by priority and kind: pending since, ids"),
    key("z*", Type::List, "the same for tasks that must run alone"),
    key("z", Type::Set, "ids of tasks that must run alone"),
    key("ln", Type::Hash, "kind -> which of its lines may hold something, as bits"),
    key("l", Type::SortedSet, "open session -> end of its lease"),
    key("q", Type::SortedSet, "retired session that may still settle -> end of its lease"),
    key("e", Type::SortedSet, "ended session -> until when it is remembered; an hour"),
    key("a:*", Type::Hash, "what a session holds: number of the claim, line -> ids"),
    key("dead:*", Type::Hash, "what a killed session held, until it is taken over"),
    key("dd", Type::List, "killed sessions whose claims are not all taken over"),
    key("s", Type::SortedSet, "ticket -> due time of scheduled tasks"),
    key("r", Type::SortedSet, "ticket -> due time of retries"),
    key("c", Type::SortedSet, "ticket -> end of retention of completed tasks"),
    key("x", Type::SortedSet, "ticket -> since when it is archived"),
    key("gt", Type::Hash, "id -> its group, how that gathers, and where it gathered last"),
    key("g", Type::SortedSet, "ticket -> since when it gathers, open or closed"),
    key("gm:*", Type::SortedSet, "a gathering, by its number: id -> since when it gathers there"),
    key("gn", Type::Hash, "number of a gathering -> since when, closed since, kind, name"),
    key("gs", Type::SortedSet, "numbers of gatherings, the oldest first"),
    key("go", Type::Hash, "kind, name -> number of the gathering that is open"),
    key("gc", Type::SortedSet, "number of an open gathering -> when it closes"),
    key("gr", Type::SortedSet, "closed gatherings: kind, closed since, number"),
    key("b:*", Type::Hash, "batch id -> when it came, one key an hour; two hours"),
    key("d", Type::SortedSet, "id of a task with a key of its own -> until when it is remembered"),
    key("cn", Type::Set, "ids that run and are cancelled"),
    key("vp", Type::Hash, "id -> its void places in a line, which it left before its turn"),
    key("rf", Type::Set, "ids of retries that go before what waits"),
    key("nt", Type::Hash, "id, slot -> note: attempt, sealed; as long as the task"),
    key("u:*", Type::Text, "name of a lock -> who holds it, since when, until when"),
    key("lk", Type::Hash, "id -> how long it holds its lock, and under which names"),
    key("lr", Type::Set, "ids that hold a lock and run"),
    key("cr", Type::Hash, "the timetable: name -> version, what is in the entry"),
    key("ct", Type::Hash, "name of an entry -> its last tick; the latest ticks, their first tasks"),
    key("or", Type::Set, "ids whose records must not stay, until the next enqueue"),
    key(
        "st",
        Type::Hash,
        "counters: completed, failed, trimmed, junk, entry; tick and guard of the sweepers",
    ),
    key(
        "cfg",
        Type::Hash,
        "v: format; pause; most: max tasks not ended, bytes, run active, completed, archived; age of the archive; kinds",
    ),
    key("kc", Type::Hash, "kind -> most active tasks of it, its name"),
    key("by", Type::Text, "bytes of all records, while there is a limit of them"),
    key("i", Type::Text, "the idle flag: somebody asked and found too little"),
    key("w", Type::Text, "written before replicas are waited for; a minute"),
    key(
        "never",
        Type::Text,
        "never there: calls name it so that a slot on the move refuses them whole",
    ),
    key("ready", Type::Channel, "something may be claimed, and somebody was idle"),
    key("due", Type::Channel, "something is due earlier than before"),
    key("settled", Type::Channel, "a task ended"),
    key("ordered", Type::Channel, "a task that runs is cancelled"),
    key("noted", Type::Channel, "a run left a note"),
];

/// The keys of a namespace: `oncue:{namespace}:` and this.
pub(super) const NAMESPACE_KEYS: &[Key] = &[
    key("queues", Type::Set, "the names of all queues; written before a queue's first task"),
    key("keys", Type::Hash, "id of a sealing key -> its check value"),
    key("workers", Type::SortedSet, "worker that is there -> until when without another beat"),
    key("w:*", Type::Text, "what a worker says of itself, as JSON; as long as it is there"),
    key("wo:*", Type::Hash, "what a worker was told -> how often; as long as it is there"),
    key("never", Type::Text, "as for queues"),
    key("signals", Type::Channel, "a worker was told something"),
];

/// Names that later versions use, so that none of ours takes them.
#[cfg(test)]
pub(super) const RESERVED: &[&str] =
    &["ov", "n", "gh", "wd:*", "o", "rl:*", "hw", "ix:*", "ev", "jb"];

/// The keys of one queue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct QueueKeys {
    prefix: String,
}

impl QueueKeys {
    pub(super) fn new(namespace: &str, queue: &QueueName) -> Self {
        Self { prefix: format!("oncue:{{{namespace}/{queue}}}:") }
    }

    /// For patterns: those of all queues of a namespace.
    pub(super) fn all(namespace: &str) -> Self {
        Self { prefix: format!("oncue:{{{namespace}/*}}:") }
    }

    /// A key, or a channel.
    pub(super) fn of(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The hash of records, by which every function knows the other keys; in a cluster it is also given `never`.
    pub(super) fn records(&self) -> String {
        self.of("t")
    }
}

/// A key of a namespace.
pub(super) fn namespace_key(namespace: &str, name: &str) -> String {
    format!("oncue:{{{namespace}}}:{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of the table under a heading: name, type, what it holds.
    fn rows(document: &str, heading: &str) -> Vec<String> {
        let from = document.find(&format!("### {heading}\n")).expect("the heading");
        let rest = document[from..].lines().skip(1);
        let rows =
            rest.take_while(|line| !line.starts_with('#')).filter(|line| line.starts_with("| `"));
        rows.map(str::to_owned).collect()
    }

    #[test]
    fn the_documentation_has_every_key() {
        let document = include_str!("../../../docs/redis.md");
        let word = |kind| match kind {
            Type::Hash => "hash",
            Type::List => "list",
            Type::Set => "set",
            Type::SortedSet => "sorted set",
            Type::Text => "string",
            Type::Channel => "channel",
        };
        let row = |key: &Key| format!("| `{}` | {} | {} |", key.name, word(key.kind), key.holds);
        for (heading, keys) in [("Of a queue", QUEUE_KEYS), ("Of a namespace", NAMESPACE_KEYS)] {
            let expected: Vec<_> = keys.iter().map(row).collect();
            assert_eq!(rows(document, heading), expected, "{heading}");
        }
    }

    #[test]
    fn no_key_is_two() {
        let mut seen = std::collections::BTreeSet::new();
        for name in QUEUE_KEYS.iter().map(|key| key.name).chain(RESERVED.iter().copied()) {
            assert!(seen.insert(name), "{name}");
        }
    }
}
