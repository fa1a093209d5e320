-- Version 1 of the tables of oncue. All names start with oncue_, so that they can live beside others.
-- Integers named `at`, `since`, `until`, `expires`, `tick`, `guard` are milliseconds since the epoch.

CREATE TABLE oncue_meta (
    name  TEXT PRIMARY KEY NOT NULL,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Tasks by state (n0..n7 as in State::ALL), runs that ended, and the ticks of all sweepers.
CREATE TABLE oncue_queue (
    row       INTEGER PRIMARY KEY,
    name      TEXT NOT NULL UNIQUE,
    n0        INTEGER NOT NULL DEFAULT 0,
    n1        INTEGER NOT NULL DEFAULT 0,
    n2        INTEGER NOT NULL DEFAULT 0,
    n3        INTEGER NOT NULL DEFAULT 0,
    n4        INTEGER NOT NULL DEFAULT 0,
    n5        INTEGER NOT NULL DEFAULT 0,
    n6        INTEGER NOT NULL DEFAULT 0,
    n7        INTEGER NOT NULL DEFAULT 0,
    completed INTEGER NOT NULL DEFAULT 0,
    failed    INTEGER NOT NULL DEFAULT 0,
    tick      INTEGER,
    guard     INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Where a task is. Small and fixed, so that a change of state rewrites no record.
CREATE TABLE oncue_task (
    row     INTEGER PRIMARY KEY,      -- never used twice: records, trails and results hang on it
    queue   INTEGER NOT NULL,
    id      BLOB NOT NULL,
    kind    INTEGER NOT NULL,         -- 40 bits
    class   INTEGER NOT NULL,
    lane    INTEGER NOT NULL,         -- 0 shared, 1 alone
    state   INTEGER NOT NULL,
    place   INTEGER NOT NULL,         -- order within lane and kind: see place.rs
    marks   INTEGER NOT NULL,         -- what else is stored of it: see task.rs
    since   INTEGER NOT NULL,         -- when it became pending, or completed
    at      INTEGER,                  -- due, end of retention, or archived since
    session INTEGER,                  -- who holds it
    reason  INTEGER,
    UNIQUE (queue, id)
) STRICT;

CREATE INDEX oncue_task_pending ON oncue_task (queue, lane, kind, place) WHERE state = 1;
CREATE INDEX oncue_task_at ON oncue_task (queue, state, at) WHERE at IS NOT NULL;
CREATE INDEX oncue_task_held ON oncue_task (session) WHERE session IS NOT NULL;

CREATE TABLE oncue_record (row INTEGER PRIMARY KEY, record BLOB NOT NULL) STRICT;
CREATE TABLE oncue_trail  (row INTEGER PRIMARY KEY, trail BLOB NOT NULL) STRICT;
CREATE TABLE oncue_result (row INTEGER PRIMARY KEY, attempt INTEGER NOT NULL, sealed BLOB NOT NULL) STRICT;

-- status: 0 open, 1 retired, 2 dead and perhaps holding claims, 3 dead and empty: a tombstone.
CREATE TABLE oncue_session (
    row     INTEGER PRIMARY KEY,
    id      BLOB NOT NULL UNIQUE,
    queue   INTEGER NOT NULL,
    status  INTEGER NOT NULL,
    expires INTEGER NOT NULL          -- of the lease; of the tombstone once dead
) STRICT;

CREATE INDEX oncue_session_end ON oncue_session (queue, status, expires);

-- Both are forgotten from their oldest row on.
CREATE TABLE oncue_batch (
    row   INTEGER PRIMARY KEY,
    id    BLOB NOT NULL UNIQUE,
    until INTEGER NOT NULL
) STRICT;

CREATE TABLE oncue_remembered (
    row   INTEGER PRIMARY KEY,
    queue INTEGER NOT NULL,
    id    BLOB NOT NULL,
    until INTEGER NOT NULL,
    UNIQUE (queue, id)
) STRICT;

CREATE TABLE oncue_key (id INTEGER PRIMARY KEY, proof BLOB NOT NULL) STRICT;

INSERT INTO oncue_meta (name, value) VALUES ('next', 1);
