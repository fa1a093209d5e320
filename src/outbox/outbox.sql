-- The outbox of an application: tasks that its own transactions left to be enqueued, oldest first. A row goes once the
-- broker has its task; AUTOINCREMENT, so that the number of a row that went is never given to another.
CREATE TABLE IF NOT EXISTS oncue_outbox (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    parcel BLOB NOT NULL
) STRICT;
