//! What each role is for: the functions it calls, and what it does beside them. Part of the one `table`.

use super::Role;
use super::table::Call;

/// What every role needs to connect: to log in, to be found by people, to find its way in a cluster and past a
/// replica.
pub(super) const CONNECT: &[Call] = &[
    ("ASKING", &[]),
    ("AUTH", &[]),
    ("CLIENT|SETNAME", &[]),
    ("CLUSTER|NODES", &[]),
    ("CLUSTER|SLOTS", &[]),
    ("HELLO", &[]),
    ("INFO", &[]),
    ("PING", &[]),
    ("ROLE", &[]),
];

/// What a role is for: the functions it calls, and what it does beside them.
pub(super) struct Duty {
    pub(super) functions: &'static [&'static str],
    /// Pieces its functions do without: they ask whether they may.
    pub(super) without: &'static [&'static str],
    pub(super) native: &'static [Call],
}

/// Records go past Lua: written by enqueue, read after a claim. Every broker asks for the time, and by
/// `FCALL_RO` for the functions there are.
pub(super) const fn duty(role: Role) -> Duty {
    match role {
        Role::Producer => Duty {
            functions: &["enqueue", "show", "holder"],
            // It learns whether a task ended; what runs would tell it ids of others. Ticks are the scheduler's.
            without: &["all_held", "ticks_seen", "strike"],
            native: &[
                ("EXEC", &[]),
                ("FCALL", &["t", "workers", "never"]),
                ("FCALL_RO", &["t", "workers", "never"]),
                ("HDEL", &["t"]),
                ("HGET", &["t", "keys"]),
                ("HMGET", &["keys", "nt"]),
                ("HSET", &["t"]),
                ("HSETNX", &["keys"]),
                ("MULTI", &[]),
                ("SADD", &["queues"]),
                ("SET", &["w"]),
                ("SUBSCRIBE", &["settled", "noted"]),
                ("TIME", &[]),
                ("WAIT", &[]),
            ],
        },
        Role::Worker => Duty {
            functions: &[
                "dequeue", "settle", "retire", "beat", "report", "advance", "reclaim", "note",
                "entries",
            ],
            without: &[],
            native: &[
                ("FCALL", &["t", "workers", "never"]),
                ("FCALL_RO", &["t", "workers", "never"]),
                ("HGET", &["keys"]),
                ("HKEYS", &["cr"]),
                ("HMGET", &["t", "keys", "nt"]),
                ("HSETNX", &["keys"]),
                ("SMEMBERS", &["queues"]),
                ("SUBSCRIBE", &["ready", "due", "ordered", "signals"]),
                ("TIME", &[]),
            ],
        },
        Role::Scheduler => Duty {
            functions: &[
                "enqueue", "settle", "retire", "beat", "report", "advance", "reclaim", "entries",
                "holder",
            ],
            without: &[],
            native: &[
                ("EXEC", &[]),
                ("FCALL", &["t", "workers", "never"]),
                ("FCALL_RO", &["t", "workers", "never"]),
                ("HDEL", &["t"]),
                ("HGET", &["keys"]),
                ("HKEYS", &["cr"]),
                ("HMGET", &["t", "keys"]),
                ("HSET", &["t"]),
                ("HSETNX", &["keys"]),
                ("MULTI", &[]),
                ("SADD", &["queues"]),
                ("SET", &["w"]),
                ("SMEMBERS", &["queues"]),
                ("SUBSCRIBE", &["due", "ordered", "signals"]),
                ("TIME", &[]),
                ("WAIT", &[]),
            ],
        },
        Role::Viewer => Duty {
            functions: &["show", "stats", "list", "groups", "workers", "holder", "entries"],
            without: &[],
            native: &[
                ("FCALL_RO", &["t", "workers", "never"]),
                ("HGET", &["t"]),
                ("HKEYS", &["cr"]),
                ("HMGET", &["t", "tr", "k", "nt"]),
                ("SMEMBERS", &["queues"]),
                ("TIME", &[]),
            ],
        },
        Role::Operator => Duty {
            functions: &[
                "show",
                "stats",
                "list",
                "groups",
                "workers",
                "holder",
                "entries",
                "cancel",
                "act",
                "replace",
                "write_entry",
                "remove_entry",
                "configure",
                "signal",
            ],
            without: &[],
            native: &[
                ("FCALL", &["t", "workers", "never"]),
                ("FCALL_RO", &["t", "workers", "never"]),
                ("HGET", &["t"]),
                ("HKEYS", &["cr"]),
                ("HMGET", &["t", "tr", "k", "nt"]),
                ("SADD", &["queues"]),
                ("SMEMBERS", &["queues"]),
                ("TIME", &[]),
            ],
        },
        Role::Deployer => Duty {
            functions: &[],
            without: &[],
            native: &[("FUNCTION|LIST", &[]), ("FUNCTION|LOAD", &[]), ("FUNCTION|STATS", &[])],
        },
    }
}
