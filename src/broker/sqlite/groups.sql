-- Version 4: groups, limits of bytes and of what is active, and how much a queue keeps.

-- What a task says of its group; `gathering` while it is in one. Waits are in milliseconds.
CREATE TABLE oncue_grouped (
    row       INTEGER PRIMARY KEY,    -- of the task
    name      TEXT NOT NULL,
    grace     INTEGER NOT NULL,
    within    INTEGER,
    most      INTEGER NOT NULL,
    gathering INTEGER,
    joined    INTEGER                 -- also `at` of the task: a number that grows, no time
) STRICT;

CREATE INDEX oncue_grouped_in ON oncue_grouped (gathering, joined) WHERE gathering IS NOT NULL;

-- A group that holds tasks. While it is open it has `closes`; once it is closed, `turn`.
CREATE TABLE oncue_gathering (
    row    INTEGER PRIMARY KEY,
    queue  INTEGER NOT NULL,
    kind   INTEGER NOT NULL,
    name   TEXT NOT NULL,
    tasks  INTEGER NOT NULL,
    since  INTEGER NOT NULL,          -- when it was opened
    closes INTEGER,
    closed INTEGER,                   -- when it was closed
    turn   INTEGER                    -- a number that grows: the one closed first goes first
) STRICT;

CREATE UNIQUE INDEX oncue_gathering_open ON oncue_gathering (queue, kind, name) WHERE closes IS NOT NULL;
CREATE INDEX oncue_gathering_closes ON oncue_gathering (queue, closes) WHERE closes IS NOT NULL;
CREATE INDEX oncue_gathering_closed ON oncue_gathering (queue, kind, turn) WHERE turn IS NOT NULL;

-- Bytes of all records; NULL while they are not counted.
ALTER TABLE oncue_queue ADD COLUMN bytes INTEGER;
ALTER TABLE oncue_queue ADD COLUMN bytes_most INTEGER;
ALTER TABLE oncue_queue ADD COLUMN active_most INTEGER;
-- How many kinds have a limit of their own.
ALTER TABLE oncue_queue ADD COLUMN kinds INTEGER NOT NULL DEFAULT 0;
ALTER TABLE oncue_queue ADD COLUMN completed_most INTEGER;
ALTER TABLE oncue_queue ADD COLUMN archived_most INTEGER;
-- In milliseconds.
ALTER TABLE oncue_queue ADD COLUMN archived_for INTEGER;
ALTER TABLE oncue_queue ADD COLUMN trimmed INTEGER NOT NULL DEFAULT 0;

CREATE TABLE oncue_kind (
    queue INTEGER NOT NULL,
    kind  INTEGER NOT NULL,
    name  TEXT NOT NULL,
    most  INTEGER NOT NULL,
    PRIMARY KEY (queue, kind, name)
) STRICT, WITHOUT ROWID;
