-- What tasks can be found by: each tag with its tasks, in the order of their ids. The tags themselves stand in the
-- task's options too, from which they are deleted with it.
CREATE TABLE tag (
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    task  BLOB NOT NULL,
    PRIMARY KEY (key, value, task)
) WITHOUT ROWID;
