-- Tasks that were sent in together. The states of a batch are the numbers 0 receiving, 1 running, 2 completed,
-- 3 canceled. A task's `batch` holds the batch's id; whatever type the column was declared with, it keeps the bytes.

CREATE TABLE batch (
    id              BLOB    PRIMARY KEY,
    endpoint        INTEGER NOT NULL,
    state           INTEGER NOT NULL,
    priority        INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    finished_at     INTEGER,
    expires_at      INTEGER NOT NULL,
    -- How long it is kept, in microseconds.
    keep            INTEGER NOT NULL,
    refused         INTEGER NOT NULL DEFAULT 0,
    idempotency_key TEXT
) WITHOUT ROWID;

-- Pages of one endpoint's batches.
CREATE INDEX batch_of_endpoint ON batch (endpoint, id);
CREATE UNIQUE INDEX batch_key ON batch (endpoint, idempotency_key) WHERE idempotency_key IS NOT NULL;
-- What may be forgotten, in the order in which it will.
CREATE INDEX batch_expiring ON batch (expires_at);
-- Those whose waiting tasks are to be canceled.
CREATE INDEX batch_canceling ON batch (id) WHERE state = 3 AND finished_at IS NULL;

-- How many tasks of a batch are in a state, by the code of their failure, or '' where there is none: kept so that
-- nobody has to count a million rows. A task that has ended stays counted when it is deleted.
CREATE TABLE batch_tally (
    batch  BLOB    NOT NULL,
    state  INTEGER NOT NULL,
    reason TEXT    NOT NULL,
    tasks  INTEGER NOT NULL,
    PRIMARY KEY (batch, state, reason)
) WITHOUT ROWID;

-- The tasks of a batch, in the order in which they were recorded.
CREATE INDEX task_of_batch ON task (batch) WHERE batch IS NOT NULL;
CREATE UNIQUE INDEX task_custom_id ON task (batch, custom_id) WHERE batch IS NOT NULL;
