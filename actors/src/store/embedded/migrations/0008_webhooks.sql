-- Deliveries of webhooks, each recorded with the end it tells of.

-- A URL that is told when the batch is over.
ALTER TABLE batch ADD COLUMN webhook TEXT;

CREATE TABLE delivery (
    seq         INTEGER PRIMARY KEY,
    -- That of what has ended.
    id          BLOB    NOT NULL UNIQUE,
    -- 0 a task, 1 a batch.
    about       INTEGER NOT NULL,
    -- 0 pending, 1 delivered, 2 failed, 3 gone.
    state       INTEGER NOT NULL DEFAULT 0,
    -- Host and port.
    host        TEXT    NOT NULL,
    url         TEXT    NOT NULL,
    body        TEXT    NOT NULL,
    traceparent TEXT,
    -- The number of the latest taking or report.
    fence       INTEGER NOT NULL DEFAULT 0,
    -- When its tries began, and how many there were since.
    begun_at    INTEGER NOT NULL,
    tries       INTEGER NOT NULL DEFAULT 0,
    -- The latest tries as JSON.
    log         TEXT,
    -- When the next try is due, and when it can be taken for that: later where somebody has it. NULL where it has ended.
    next_at     INTEGER,
    free_at     INTEGER,
    -- Whether what it tells of is deleted.
    orphan      INTEGER NOT NULL DEFAULT 0
);

-- What can be taken of a host, in the order in which it is.
CREATE INDEX delivery_waiting ON delivery (host, free_at, id) WHERE free_at IS NOT NULL;
-- What somebody has.
CREATE INDEX delivery_taken ON delivery (seq) WHERE free_at > next_at;

-- When the first delivery of a host can be taken: no host that is away hides the others behind its deliveries.
CREATE TABLE destination (
    host    TEXT    PRIMARY KEY,
    free_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX destination_free ON destination (free_at, host);
