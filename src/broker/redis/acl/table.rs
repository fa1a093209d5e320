//! The one table of what is done to which key: by each function inside Redis. What several of them share is in `shared`,
//! what the broker itself does, by role, in `duty`.
//!
//! A function has its caller's rights, so whoever may call it needs every command in it. Keys are named as in
//! [`keys`](super::super::keys). Tests hold the table against the Lua, and against what a server lets pass.

use super::shared::SHARED;

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

pub(super) const fn piece(
    name: &'static str,
    shares: &'static [&'static str],
    calls: &'static [Call],
) -> Piece {
    Piece { name, calls, shares }
}

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
            "groups_wrong",
            "bytes_of",
            "count_bytes",
            "join_groups",
            "leave_groups",
        ],
        &[
            ("EXISTS", &["d", "vp", "gt"]),
            ("EXPIRE", &["b:*"]),
            ("GET", &["by"]),
            ("HDEL", &["gt"]),
            ("HEXISTS", &["t"]),
            ("HLEN", &["t"]),
            ("HMGET", &["cfg", "b:*", "t"]),
            ("HSET", &["cfg", "t", "ref", "b:*", "gt"]),
            ("LPUSH", &["p*", "z*"]),
            ("PUBLISH", &["due", "settled"]),
            ("RPUSH", &["p*", "z*"]),
            ("SADD", &["or"]),
            ("SISMEMBER", &["z"]),
            ("ZADD", &["d"]),
            ("ZCARD", &["c", "x"]),
            ("ZMSCORE", &["d"]),
            ("ZSCORE", &["g"]),
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
            "of_other_type",
            "closed_of",
            "gathered",
            "take_from",
            "active_of",
        ],
        &[
            ("HDEL", &["ln"]),
            ("HMGET", &["cfg", "t", "kc"]),
            ("HSET", &["ln"]),
            ("RPOP", &["p*", "z*"]),
            ("RPUSH", &["p*", "z*"]),
            ("SET", &["i"]),
            ("ZADD", &["l"]),
            ("ZREM", &["gr"]),
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
            "groups_wrong",
        ],
        &[
            ("EXISTS", &["lk", "lr", "vp", "rf", "gt"]),
            ("HDEL", &["tr", "a:*"]),
            ("HMGET", &["a:*", "cfg"]),
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
        &[
            "now",
            "junk",
            "line_up",
            "wake_ready",
            "bury_lost",
            "archive",
            "cancelled_of",
            "groups_wrong",
        ],
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
        &[
            "now",
            "junk",
            "tally",
            "line_up",
            "wake_ready",
            "forget",
            "first_time",
            "of_other_type",
            "close_due",
            "unlock",
        ],
        &[
            ("EXISTS", &["rf", "gt", "gc"]),
            ("HMGET", &["cfg"]),
            ("LPUSH", &["p*", "z*"]),
            ("PUBLISH", &["settled"]),
            ("RPUSH", &["p*", "z*"]),
            ("SMISMEMBER", &["rf"]),
            ("SREM", &["rf"]),
            ("ZCARD", &["c", "x"]),
            ("ZRANGE", &["s", "r", "c", "x"]),
            ("ZREM", &["s", "r", "c", "x"]),
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
            "groups_wrong",
            "closed_of",
            "gathered",
            "take_from",
            "line_up",
            "wake_ready",
        ],
        &[
            ("EXISTS", &["dead:*", "p*", "z*"]),
            ("HDEL", &["dead:*"]),
            ("HGET", &["cfg", "ln", "gt", "gn"]),
            ("HKEYS", &["ln"]),
            ("HLEN", &["ln", "dead:*"]),
            ("HMGET", &["st"]),
            ("HRANDFIELD", &["ln", "dead:*"]),
            ("HSET", &["st", "ln", "dead:*", "gn"]),
            ("HSETNX", &["go"]),
            ("LINDEX", &["dd"]),
            ("LPOP", &["dd"]),
            ("LPUSH", &["p*", "z*"]),
            ("LRANGE", &["p*", "z*"]),
            ("LREM", &["p*", "z*"]),
            ("LSET", &["p*", "z*"]),
            ("ZADD", &["l", "gc", "gr", "gs"]),
            ("ZCARD", &["gr"]),
            ("ZRANDMEMBER", &["g"]),
            ("ZRANGE", &["l", "q", "e", "d", "gr"]),
            ("ZREM", &["l", "q", "e", "d", "gr"]),
            ("ZSCORE", &["l", "e", "q", "gm:*"]),
        ],
    ),
    piece(
        "show",
        &["is_held"],
        &[
            ("HEXISTS", &["t"]),
            ("HGET", &["tr", "k"]),
            ("SISMEMBER", &["or"]),
            ("ZSCORE", &["s", "r", "c", "x", "g"]),
        ],
    ),
    piece(
        "stats",
        &["all_held", "lines_of", "places_of"],
        &[
            ("EXISTS", &["vp"]),
            ("GET", &["by"]),
            ("HLEN", &["t"]),
            ("HMGET", &["st", "cfg"]),
            ("HVALS", &["kc"]),
            ("LRANGE", &["p*", "z*"]),
            ("SCARD", &["or"]),
            ("ZCARD", &["s", "r", "c", "x", "g"]),
        ],
    ),
    piece(
        "list",
        &["all_held", "lines_of", "places_of"],
        &[
            ("EXISTS", &["vp"]),
            ("LLEN", &["p*", "z*"]),
            ("LRANGE", &["p*", "z*"]),
            ("ZCOUNT", &["s", "r", "c", "x", "g"]),
            ("ZRANGE", &["s", "r", "c", "x", "g"]),
        ],
    ),
    piece(
        "groups",
        &[],
        &[("HGET", &["gn"]), ("ZCARD", &["gm:*"]), ("ZRANGE", &["gs"]), ("ZSCORE", &["gc"])],
    ),
    piece(
        "cancel",
        &["now", "archive", "place_of", "leave", "of_other_type", "groups_wrong"],
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
            "groups_wrong",
            "unlock",
            "forget",
            "schedule",
            "line_up",
            "wake_ready",
        ],
        &[("HGET", &["cfg"]), ("LPUSH", &["p*", "z*"]), ("PUBLISH", &["due", "settled"])],
    ),
    piece(
        "replace",
        &["place_of", "count_bytes"],
        &[("EXISTS", &["by"]), ("HGET", &["cfg", "t"]), ("HSET", &["t"])],
    ),
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
        &["wake_ready", "bytes_of", "all_held", "lines_of"],
        &[
            ("DEL", &["by"]),
            ("EXISTS", &["kc"]),
            ("HDEL", &["cfg", "kc"]),
            ("HEXISTS", &["kc"]),
            ("HGET", &["cfg"]),
            ("HLEN", &["kc"]),
            ("HSET", &["cfg", "kc"]),
            ("LLEN", &["p*", "z*"]),
            ("LRANGE", &["p*", "z*"]),
            ("PUBLISH", &["due", "settled"]),
            ("SET", &["by"]),
            ("ZRANGE", &["s", "r", "c", "x", "g"]),
        ],
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
