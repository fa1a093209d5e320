-- Version 2: what people do. Settings of queues; workers and what they are told. A task that runs and is cancelled
-- has a mark of its own, see task.rs.

ALTER TABLE oncue_queue ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;
ALTER TABLE oncue_queue ADD COLUMN most INTEGER;

CREATE TABLE oncue_worker (
    row   INTEGER PRIMARY KEY,
    id    BLOB NOT NULL UNIQUE,
    about TEXT NOT NULL,
    until INTEGER NOT NULL,
    quiet INTEGER NOT NULL DEFAULT 0,
    stop  INTEGER NOT NULL DEFAULT 0
) STRICT;

-- How often a worker was asked to start the handler of a kind anew.
CREATE TABLE oncue_restart (
    worker INTEGER NOT NULL,
    kind   TEXT NOT NULL,
    times  INTEGER NOT NULL,
    PRIMARY KEY (worker, kind)
) STRICT, WITHOUT ROWID;

-- Grows with every order, so that other processes see that there is one.
INSERT INTO oncue_meta (name, value) VALUES ('orders', 0);

CREATE INDEX oncue_task_cancelled ON oncue_task (session) WHERE session IS NOT NULL AND marks >= 8;
