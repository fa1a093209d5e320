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
    piece("may_settle", &["bury_lost", "now"], &[("ZSCORE", &["l", "q"])]),
    piece("wake_ready", &[], &[("DEL", &["i"]), ("PUBLISH", &["ready"])]),
    piece("join", &["push_line", "open_line"], &[]),
    piece("places_of", &[], &[("HMGET", &["vp"])]),
    piece("write_places", &[], &[("HDEL", &["vp"]), ("HSET", &["vp"])]),
    piece("leave_line", &["places_of", "write_places"], &[]),
    piece(
        "line_up",
        &["join", "places_of", "write_places"],
        &[("EXISTS", &["z", "vp"]), ("SMISMEMBER", &["z"])],
    ),
    piece("lock_at", &[], &[("GET", &["u:*"])]),
    piece("unlock", &["lock_at"], &[("DEL", &["u:*"]), ("HDEL", &["lk"]), ("HMGET", &["lk"])]),
    piece("end_lock", &["unlock"], &[("SREM", &["lr"])]),
    piece("start_locks", &["unlock"], &[("HMGET", &["lk"]), ("SADD", &["lr"])]),
    piece("lock_in", &["lock_at"], &[]),
    piece("other_of", &["lock_in"], &[]),
    piece(
        "waits",
        &[],
        &[("HEXISTS", &["t"]), ("SISMEMBER", &["lr"]), ("ZSCORE", &["s", "r", "c", "x"])],
    ),
    piece("set_until", &["lock_in"], &[("HGET", &["lk"])]),
    piece("plan_drop", &["set_until"], &[("HEXISTS", &["ref"])]),
    piece("plan_lock", &["other_of", "waits", "set_until", "plan_drop"], &[]),
    piece("write_locks", &[], &[("DEL", &["u:*"]), ("HSET", &["lk"]), ("SET", &["u:*"])]),
    piece(
        "of_other_type",
        &[],
        &[(
            "TYPE",
            &[
                "tr", "k", "ref", "nt", "lk", "vp", "ln", "z", "cn", "lr", "rf", "d", "r", "s",
                "c", "x",
            ],
        )],
    ),
    piece("forget_notes", &[], &[("EXISTS", &["nt"]), ("HDEL", &["nt"])]),
    piece(
        "forget",
        &["unlock", "forget_notes"],
        &[
            ("EXISTS", &["tr", "k", "z", "ref", "cn", "nt", "lk", "lr"]),
            ("HDEL", &["t", "tr", "k", "ref", "lk"]),
            ("HMGET", &["ref"]),
            ("SREM", &["z", "cn", "lr"]),
            ("ZADD", &["d"]),
        ],
    ),
    piece("archive", &["end_lock"], &[("EXISTS", &["lk"]), ("HSET", &["k"]), ("ZADD", &["x"])]),
    piece("cancelled_of", &[], &[("EXISTS", &["cn"]), ("SMISMEMBER", &["cn"])]),
    piece("any_cancelled", &[], &[("EXISTS", &["cn"])]),
    piece(
        "marks_of",
        &[],
        &[("EXISTS", &["cn", "vp", "lk"]), ("HLEN", &["vp", "lk"]), ("SCARD", &["cn", "lr"])],
    ),
    piece(
        "drop_void",
        &["places_of", "cancelled_of", "archive", "now"],
        &[("HEXISTS", &["t"]), ("SREM", &["cn"]), ("ZSCORE", &["x"])],
    ),
    piece("is_held", &["all_held"], &[]),
    piece(
        "place_of",
        &["is_held"],
        &[("HEXISTS", &["t"]), ("SISMEMBER", &["or"]), ("ZSCORE", &["s", "r", "c", "x"])],
    ),
    piece(
        "leave",
        &["leave_line"],
        &[("HDEL", &["k"]), ("SREM", &["rf"]), ("ZREM", &["s", "r", "c", "x"])],
    ),
    piece("schedule", &[], &[("ZADD", &["s"]), ("ZRANGE", &["s"])]),
    piece("entry_at", &[], &[("HGET", &["cr", "ct"])]),
    piece("ticks_seen", &["entry_at"], &[]),
    piece("strike", &[], &[("HSET", &["ct"])]),
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
        &[
            "now",
            "join",
            "push_line",
            "open_line",
            "wake_ready",
            "drop_orphans",
            "line_up",
            "plan_lock",
            "write_locks",
            "of_other_type",
            "forget",
            "leave",
            "schedule",
            "ticks_seen",
            "strike",
        ],
        &[
            ("EXISTS", &["d", "vp"]),
            ("EXPIRE", &["b:*"]),
            ("HEXISTS", &["t"]),
            ("HLEN", &["t"]),
            ("HMGET", &["cfg", "b:*", "t"]),
            ("HSET", &["cfg", "t", "ref", "b:*"]),
            ("LPUSH", &["p*", "z*"]),
            ("PUBLISH", &["due", "settled"]),
            ("RPUSH", &["p*", "z*"]),
            ("SADD", &["or"]),
            ("ZADD", &["d"]),
            ("ZCARD", &["c", "x"]),
            ("ZMSCORE", &["d"]),
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
            "marks_of",
            "drop_void",
            "write_places",
            "start_locks",
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
            "may_settle",
            "archive",
            "cancelled_of",
            "end_lock",
            "of_other_type",
        ],
        &[
            ("EXISTS", &["lk", "lr", "vp", "rf"]),
            ("HDEL", &["tr", "a:*"]),
            ("HGET", &["cfg"]),
            ("HMGET", &["a:*"]),
            ("HSET", &["tr", "k", "a:*"]),
            ("PUBLISH", &["due", "settled"]),
            ("RPUSH", &["p*", "z*"]),
            ("SADD", &["z", "rf"]),
            ("SREM", &["z", "cn", "lr"]),
            ("ZADD", &["c", "r", "s"]),
            ("ZRANGE", &["c", "r", "s"]),
        ],
    ),
    piece(
        "retire",
        &["now", "junk", "line_up", "wake_ready", "bury_lost", "archive", "cancelled_of"],
        &[
            ("EXISTS", &["lr"]),
            ("HDEL", &["a:*"]),
            ("HGET", &["cfg"]),
            ("HGETALL", &["a:*"]),
            ("HSET", &["a:*"]),
            ("PUBLISH", &["settled"]),
            ("RPUSH", &["p*", "z*"]),
            ("SREM", &["cn", "lr"]),
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
            ("EXISTS", &["rf"]),
            ("HGET", &["cfg"]),
            ("LPUSH", &["p*", "z*"]),
            ("PUBLISH", &["settled"]),
            ("RPUSH", &["p*", "z*"]),
            ("SMISMEMBER", &["rf"]),
            ("SREM", &["rf"]),
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
            "marks_of",
            "drop_void",
            "write_places",
            "start_locks",
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
        &["all_held", "lines_of", "places_of"],
        &[
            ("EXISTS", &["vp"]),
            ("HLEN", &["t"]),
            ("HMGET", &["st", "cfg"]),
            ("LRANGE", &["p*", "z*"]),
            ("SCARD", &["or"]),
            ("ZCARD", &["s", "r", "c", "x"]),
        ],
    ),
    piece(
        "list",
        &["all_held", "lines_of", "places_of"],
        &[
            ("EXISTS", &["vp"]),
            ("LLEN", &["p*", "z*"]),
            ("LRANGE", &["p*", "z*"]),
            ("ZCOUNT", &["s", "r", "c", "x"]),
            ("ZRANGE", &["s", "r", "c", "x"]),
        ],
    ),
    piece(
        "cancel",
        &["now", "archive", "place_of", "leave", "of_other_type"],
        &[("HGET", &["cfg"]), ("PUBLISH", &["ordered", "settled"]), ("SADD", &["cn"])],
    ),
    piece(
        "act",
        &[
            "now",
            "archive",
            "place_of",
            "leave",
            "of_other_type",
            "unlock",
            "forget",
            "schedule",
            "line_up",
            "wake_ready",
        ],
        &[("HGET", &["cfg"]), ("LPUSH", &["p*", "z*"]), ("PUBLISH", &["due", "settled"])],
    ),
    piece("replace", &["place_of"], &[("HGET", &["cfg", "t"]), ("HSET", &["t"])]),
    piece(
        "note",
        &["may_settle"],
        &[("HGET", &["cfg", "a:*"]), ("HSET", &["nt"]), ("PUBLISH", &["noted"])],
    ),
    piece("holder", &["now", "lock_at"], &[]),
    piece("entries", &["entry_at"], &[]),
    piece(
        "write_entry",
        &["now", "entry_at"],
        &[
            ("HGET", &["cfg", "st"]),
            ("HLEN", &["cr"]),
            ("HSET", &["cfg", "cr", "ct"]),
            ("PUBLISH", &["due"]),
        ],
    ),
    piece(
        "remove_entry",
        &["entry_at"],
        &[
            ("HDEL", &["cr", "ct"]),
            ("HGET", &["cfg", "st"]),
            ("HSET", &["st"]),
            ("PUBLISH", &["due"]),
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
            functions: &["show", "stats", "list", "workers", "holder", "entries"],
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
