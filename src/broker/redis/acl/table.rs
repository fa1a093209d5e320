//! The one table of what is done to which key: by each function inside Redis, and by the broker itself.
//!
//! A function has its caller's rights, so whoever may call it needs every command in it. Keys are named as in
//! [`keys`](super::super::keys). Tests hold the table against the Lua, and against what a server lets pass.

use super::Role;

/// A command and the keys, or channels, it is used on; none for a command that has none.
pub(super) type Call = (&'static str, &'static [&'static str]);

/// A piece of Lua: a function, or what several functions share.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) name: &'static str,
    pub(super) calls: &'static [Call],
    /// Pieces it uses.
    pub(super) shares: &'static [&'static str],
}

const fn piece(
    name: &'static str,
    shares: &'static [&'static str],
    calls: &'static [Call],
) -> Piece {
    Piece { name, calls, shares }
}

/// What functions share, by its name in Lua.
pub(super) const SHARED: &[Piece] = &[
    piece("now", &[], &[("TIME", &[])]),
    piece("tally", &[], &[("HINCRBY", &["st"])]),
    piece("junk", &["tally"], &[]),
    piece("clear_line", &["junk"], &[("UNLINK", &["p*", "z*", "dead:*", "dd"])]),
    piece("push_line", &["clear_line"], &[]),
    piece("open_line", &[], &[("HGET", &["ln"]), ("HSET", &["ln"])]),
    piece(
        "bury",
        &["clear_line"],
        &[
            ("EXISTS", &["a:*"]),
            ("RENAME", &["a:*", "dead:*"]),
            ("RPUSH", &["dd"]),
            ("ZADD", &["e"]),
        ],
    ),
    piece(
        "drop_orphans",
        &[],
        &[("DEL", &["or"]), ("EXISTS", &["or"]), ("HDEL", &["t"]), ("SMEMBERS", &["or"])],
    ),
    piece("bury_lost", &["bury"], &[("EXISTS", &["a:*"])]),
    piece("wake_ready", &[], &[("DEL", &["i"]), ("PUBLISH", &["ready"])]),
    piece("join", &["push_line", "open_line"], &[]),
    piece("line_up", &["join"], &[("EXISTS", &["z"]), ("SMISMEMBER", &["z"])]),
    piece(
        "forget",
        &[],
        &[
            ("EXISTS", &["tr", "k", "z", "ref", "cn"]),
            ("HDEL", &["t", "tr", "k", "ref"]),
            ("HMGET", &["ref"]),
            ("SREM", &["z", "cn"]),
            ("ZADD", &["d"]),
        ],
    ),
    piece("archive", &[], &[("HSET", &["k"]), ("SREM", &["z"]), ("ZADD", &["x"])]),
    piece("cancelled_of", &[], &[("EXISTS", &["cn"]), ("SMISMEMBER", &["cn"])]),
    piece("any_cancelled", &[], &[("EXISTS", &["cn"])]),
    piece(
        "drop_cancelled",
        &["cancelled_of", "archive", "now"],
        &[("HEXISTS", &["t"]), ("SREM", &["cn"]), ("ZSCORE", &["x"])],
    ),
    piece("is_held", &["all_held"], &[]),
    piece("trails_of", &[], &[("EXISTS", &["tr"]), ("HMGET", &["tr"])]),
    piece("hold", &[], &[("HSET", &["a:*"])]),
    piece("masks_of", &[], &[("HMGET", &["ln"])]),
    piece("lines_of", &[], &[("HGETALL", &["ln"])]),
    piece(
        "all_held",
        &[],
        &[("HGETALL", &["a:*", "dead:*"]), ("LRANGE", &["dd"]), ("ZRANGE", &["l", "q"])],
    ),
    piece("first_time", &[], &[("ZRANGE", &["s", "r", "c"])]),
];

/// The functions, by the names of their files.
pub(super) const FUNCTIONS: &[Piece] = &[
    piece(
        "enqueue",
        &["now", "join", "push_line", "open_line", "wake_ready", "drop_orphans"],
        &[
            ("EXISTS", &["d"]),
            ("EXPIRE", &["b:*"]),
            ("HEXISTS", &["t"]),
            ("HLEN", &["t"]),
            ("HMGET", &["cfg", "b:*", "t"]),
            ("HSET", &["cfg", "t", "ref", "b:*"]),
            ("LPUSH", &["p*"]),
            ("PUBLISH", &["due"]),
            ("SADD", &["or"]),
            ("ZADD", &["s"]),
            ("ZCARD", &["c", "x"]),
            ("ZMSCORE", &["d"]),
            ("ZRANGE", &["s"]),
        ],
    ),
    piece(
        "dequeue",
        &[
            "now",
            "junk",
            "clear_line",
            "trails_of",
            "hold",
            "masks_of",
            "any_cancelled",
            "drop_cancelled",
        ],
        &[
            ("HDEL", &["ln"]),
            ("HMGET", &["cfg", "t"]),
            ("HSET", &["ln"]),
            ("RPOP", &["p*", "z*"]),
            ("RPUSH", &["p*", "z*"]),
            ("SET", &["i"]),
            ("ZADD", &["l"]),
            ("ZSCORE", &["l", "e", "q"]),
        ],
    ),
    piece(
        "settle",
        &[
            "now",
            "tally",
            "line_up",
            "wake_ready",
            "forget",
            "bury_lost",
            "archive",
            "cancelled_of",
        ],
        &[
            ("HDEL", &["tr", "a:*"]),
            ("HGET", &["cfg"]),
            ("HMGET", &["a:*"]),
            ("HSET", &["tr", "k", "a:*"]),
            ("PUBLISH", &["due", "settled"]),
            ("RPUSH", &["p*", "z*"]),
            ("SADD", &["z"]),
            ("SREM", &["z", "cn"]),
            ("TYPE", &["tr", "k", "ln", "z", "cn", "r", "s", "c", "x"]),
            ("ZADD", &["c", "r", "s"]),
            ("ZRANGE", &["c", "r", "s"]),
            ("ZSCORE", &["l", "q"]),
        ],
    ),
    piece(
        "retire",
        &["now", "junk", "line_up", "wake_ready", "bury_lost", "archive", "cancelled_of"],
        &[
            ("HDEL", &["a:*"]),
            ("HGET", &["cfg"]),
            ("HGETALL", &["a:*"]),
            ("HSET", &["a:*"]),
            ("PUBLISH", &["settled"]),
            ("RPUSH", &["p*", "z*"]),
            ("SREM", &["cn"]),
            ("ZADD", &["q", "e"]),
            ("ZREM", &["l"]),
            ("ZSCORE", &["l", "q", "e"]),
        ],
    ),
    piece(
        "beat",
        &["now", "bury_lost", "any_cancelled", "cancelled_of"],
        &[
            ("HGET", &["cfg"]),
            ("HGETALL", &["a:*"]),
            ("ZADD", &["l", "q"]),
            ("ZSCORE", &["l", "q"]),
        ],
    ),
    piece(
        "advance",
        &["now", "junk", "line_up", "wake_ready", "forget", "first_time"],
        &[
            ("HGET", &["cfg"]),
            ("LPUSH", &["p*", "z*"]),
            ("PUBLISH", &["settled"]),
            ("ZRANGE", &["s", "r", "c"]),
            ("ZREM", &["s", "r", "c"]),
        ],
    ),
    piece(
        "reclaim",
        &[
            "now",
            "junk",
            "clear_line",
            "bury",
            "trails_of",
            "hold",
            "masks_of",
            "first_time",
            "drop_orphans",
            "any_cancelled",
            "drop_cancelled",
        ],
        &[
            ("EXISTS", &["dead:*", "p*", "z*"]),
            ("HDEL", &["dead:*"]),
            ("HGET", &["cfg", "ln"]),
            ("HKEYS", &["ln"]),
            ("HLEN", &["ln", "dead:*"]),
            ("HMGET", &["st"]),
            ("HRANDFIELD", &["ln", "dead:*"]),
            ("HSET", &["st", "ln", "dead:*"]),
            ("LINDEX", &["dd"]),
            ("LPOP", &["dd"]),
            ("LRANGE", &["p*", "z*"]),
            ("LREM", &["p*", "z*"]),
            ("LSET", &["p*", "z*"]),
            ("ZADD", &["l"]),
            ("ZRANGE", &["l", "q", "e", "d"]),
            ("ZREM", &["l", "q", "e", "d"]),
            ("ZSCORE", &["l", "e", "q"]),
        ],
    ),
    piece(
        "show",
        &["is_held"],
        &[
            ("HEXISTS", &["t"]),
            ("HGET", &["tr", "k"]),
            ("SISMEMBER", &["or"]),
            ("ZSCORE", &["s", "r", "c", "x"]),
        ],
    ),
    piece(
        "stats",
        &["all_held", "lines_of", "any_cancelled", "cancelled_of"],
        &[
            ("HLEN", &["t"]),
            ("HMGET", &["st", "cfg"]),
            ("LRANGE", &["p*", "z*"]),
            ("SCARD", &["or"]),
            ("ZCARD", &["s", "r", "c", "x"]),
        ],
    ),
    piece(
        "list",
        &["all_held", "lines_of"],
        &[
            ("LLEN", &["p*", "z*"]),
            ("LRANGE", &["p*", "z*"]),
            ("ZCOUNT", &["s", "r", "c", "x"]),
            ("ZRANGE", &["s", "r", "c", "x"]),
        ],
    ),
    piece(
        "cancel",
        &["now", "archive", "is_held"],
        &[
            ("HEXISTS", &["t"]),
            ("HGET", &["cfg"]),
            ("PUBLISH", &["ordered", "settled"]),
            ("SADD", &["cn"]),
            ("SISMEMBER", &["or"]),
            ("ZREM", &["s", "r"]),
            ("ZSCORE", &["c", "x"]),
        ],
    ),
    piece(
        "configure",
        &["wake_ready"],
        &[("HDEL", &["cfg"]), ("HGET", &["cfg"]), ("HSET", &["cfg"])],
    ),
    piece(
        "report",
        &["now"],
        &[
            ("HGETALL", &["wo:*"]),
            ("PEXPIRE", &["wo:*"]),
            ("SET", &["w:*"]),
            ("UNLINK", &["w:*", "wo:*"]),
            ("ZADD", &["workers"]),
            ("ZRANGE", &["workers"]),
            ("ZREM", &["workers"]),
        ],
    ),
    piece(
        "signal",
        &["now"],
        &[
            ("HEXISTS", &["wo:*"]),
            ("HINCRBY", &["wo:*"]),
            ("HLEN", &["wo:*"]),
            ("PEXPIRE", &["wo:*"]),
            ("PUBLISH", &["signals"]),
            ("ZSCORE", &["workers"]),
        ],
    ),
    piece(
        "workers",
        &["now"],
        &[("GET", &["w:*"]), ("HGETALL", &["wo:*"]), ("ZRANGE", &["workers"])],
    ),
];

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
            functions: &["enqueue", "show"],
            // It learns whether a task ended; what runs would tell it ids of others.
            without: &["all_held"],
            native: &[
                ("EXEC", &[]),
                ("FCALL", &["t", "workers", "never"]),
                ("FCALL_RO", &["t", "workers", "never"]),
                ("HDEL", &["t"]),
                ("HGET", &["t", "keys"]),
                ("HMGET", &["keys"]),
                ("HSET", &["t"]),
                ("HSETNX", &["keys"]),
                ("MULTI", &[]),
                ("SADD", &["queues"]),
                ("SET", &["w"]),
                ("SUBSCRIBE", &["settled"]),
                ("TIME", &[]),
                ("WAIT", &[]),
            ],
        },
        Role::Worker => Duty {
            functions: &["dequeue", "settle", "retire", "beat", "report", "advance", "reclaim"],
            without: &[],
            native: &[
                ("FCALL", &["t", "workers", "never"]),
                ("FCALL_RO", &["t", "workers", "never"]),
                ("HGET", &["keys"]),
                ("HMGET", &["t", "keys"]),
                ("HSETNX", &["keys"]),
                ("SUBSCRIBE", &["ready", "due", "ordered", "signals"]),
                ("TIME", &[]),
            ],
        },
        Role::Scheduler => Duty {
            functions: &["enqueue", "settle", "retire", "beat", "report", "advance", "reclaim"],
            without: &[],
            native: &[
                ("EXEC", &[]),
                ("FCALL", &["t", "workers", "never"]),
                ("FCALL_RO", &["t", "workers", "never"]),
                ("HDEL", &["t"]),
                ("HGET", &["keys"]),
                ("HMGET", &["t", "keys"]),
                ("HSET", &["t"]),
                ("HSETNX", &["keys"]),
                ("MULTI", &[]),
                ("SADD", &["queues"]),
                ("SET", &["w"]),
                ("SUBSCRIBE", &["due", "ordered", "signals"]),
                ("TIME", &[]),
                ("WAIT", &[]),
            ],
        },
        Role::Viewer => Duty {
            functions: &["show", "stats", "list", "workers"],
            without: &[],
            native: &[
                ("FCALL_RO", &["t", "workers", "never"]),
                ("HGET", &["t"]),
                ("HMGET", &["t", "tr", "k"]),
                ("SMEMBERS", &["queues"]),
                ("TIME", &[]),
            ],
        },
        Role::Operator => Duty {
            functions: &["show", "stats", "list", "workers", "cancel", "configure", "signal"],
            without: &[],
            native: &[
                ("FCALL", &["t", "workers", "never"]),
                ("FCALL_RO", &["t", "workers", "never"]),
                ("HGET", &["t"]),
                ("HMGET", &["t", "tr", "k"]),
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

/// Every call of a function, with what it shares but for some pieces.
pub(super) fn calls_of(function: &str, without: &[&str]) -> Vec<Call> {
    let found = FUNCTIONS.iter().find(|piece| piece.name == function);
    found.map(|piece| gather(piece, without)).unwrap_or_default()
}

fn gather(piece: &Piece, without: &[&str]) -> Vec<Call> {
    let used =
        |other: &&Piece| piece.shares.contains(&other.name) && !without.contains(&other.name);
    let shared = SHARED.iter().filter(used).flat_map(|other| gather(other, without));
    piece.calls.iter().copied().chain(shared).collect()
}
