-- Version 3: locks, notes, the timetable, and tasks that go before others.

-- Who holds a name. A row outlives its task if only time releases it; `owner` is the row of the task, never used twice.
CREATE TABLE oncue_lock (
    queue INTEGER NOT NULL,
    name  BLOB NOT NULL,
    owner INTEGER NOT NULL,
    id    BLOB NOT NULL,              -- of the owner
    since INTEGER NOT NULL,           -- when it was first taken
    until INTEGER,
    PRIMARY KEY (queue, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX oncue_lock_owner ON oncue_lock (owner);
CREATE INDEX oncue_lock_until ON oncue_lock (until) WHERE until IS NOT NULL;

CREATE TABLE oncue_note (
    row     INTEGER PRIMARY KEY,      -- four times the row of the task, and the slot
    attempt INTEGER NOT NULL,
    sealed  BLOB NOT NULL
) STRICT;

CREATE TABLE oncue_entry (
    row     INTEGER PRIMARY KEY,
    queue   INTEGER NOT NULL,
    name    TEXT NOT NULL,
    body    BLOB NOT NULL,
    version INTEGER NOT NULL,
    last    INTEGER NOT NULL,
    UNIQUE (queue, name)
) STRICT;

CREATE TABLE oncue_tick (
    entry INTEGER NOT NULL,
    at    INTEGER NOT NULL,
    id    BLOB NOT NULL,
    PRIMARY KEY (entry, at)
) STRICT, WITHOUT ROWID;

-- The highest version of an entry that was removed: one that is made anew starts above it.
INSERT INTO oncue_meta (name, value) VALUES ('entries', 0);

-- Marks above that of a cancelled task.
DROP INDEX oncue_task_cancelled;
CREATE INDEX oncue_task_cancelled ON oncue_task (session) WHERE session IS NOT NULL AND marks & 8 <> 0;

-- Room before released tasks: they move up one bit, see place.rs.
UPDATE oncue_task SET place = place | (1 << 56) WHERE place & (1 << 57) = 0;
