-- The first shape of the database. All times are microseconds of UTC since 1970; states are the numbers
-- 0 pending, 1 in progress, 2 completed, 3 failed, 4 canceled. For reading by people there is the view `tasks`.

-- The one process that uses this database. A task whose holder is a smaller epoch was held by a process
-- that is gone.
CREATE TABLE node (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    epoch     INTEGER NOT NULL,
    opened_at INTEGER NOT NULL,
    closed_at INTEGER
);

CREATE TABLE endpoint (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

-- How many tasks of an endpoint are in a state: kept so that nobody has to count ten million rows.
CREATE TABLE tally (
    endpoint INTEGER NOT NULL,
    state    INTEGER NOT NULL,
    tasks    INTEGER NOT NULL,
    PRIMARY KEY (endpoint, state)
) WITHOUT ROWID;

-- A narrow row a task. `seq` grows with every task, so that this table and the two beside it are only ever
-- appended to. Measured: a fifth cheaper than rows kept by the id itself.
CREATE TABLE task (
    seq             INTEGER PRIMARY KEY,
    id              BLOB    NOT NULL UNIQUE,
    endpoint        INTEGER NOT NULL,
    state           INTEGER NOT NULL,
    priority        INTEGER NOT NULL,
    attempt         INTEGER NOT NULL DEFAULT 0,
    crashes         INTEGER NOT NULL DEFAULT 0,
    fence           INTEGER NOT NULL,
    holder          INTEGER,
    submitted_at    INTEGER NOT NULL,
    due_at          INTEGER NOT NULL,
    started_at      INTEGER,
    finished_at     INTEGER,
    expires_at      INTEGER,
    input_bytes     INTEGER NOT NULL,
    output_bytes    INTEGER NOT NULL DEFAULT 0,
    input_in_file   INTEGER NOT NULL,
    output_in_file  INTEGER NOT NULL DEFAULT 0,
    failure_code    TEXT,
    failure_message TEXT,
    idempotency_key TEXT
);

-- What a claim may take, in the order in which it takes.
CREATE INDEX task_waiting ON task (endpoint, priority, due_at, id) WHERE state = 0 AND holder IS NULL;
-- What some process holds, for taking it back.
CREATE INDEX task_held ON task (holder) WHERE holder IS NOT NULL;
-- What will be pruned, in the order in which it will.
CREATE INDEX task_finished ON task (expires_at) WHERE expires_at IS NOT NULL;
-- Pages of one endpoint.
CREATE INDEX task_of_endpoint ON task (endpoint, id);
-- Pages of the two states that are rare and looked for.
CREATE INDEX task_troubled ON task (state, endpoint, id) WHERE state >= 3;
CREATE UNIQUE INDEX task_key ON task (endpoint, idempotency_key) WHERE idempotency_key IS NOT NULL;

-- Headers are in the encoding of `headers.rs`; a body in a file is NULL here.
CREATE TABLE input (
    task    INTEGER PRIMARY KEY,
    headers BLOB,
    body    BLOB
);

CREATE TABLE output (
    task    INTEGER PRIMARY KEY,
    status  INTEGER NOT NULL,
    headers BLOB,
    body    BLOB
);

-- For people with the sqlite3 shell.
CREATE VIEW tasks AS
SELECT
    lower(hex(task.id)) AS id,
    endpoint.name AS endpoint,
    CASE task.state
        WHEN 0 THEN 'pending'
        WHEN 1 THEN 'in_progress'
        WHEN 2 THEN 'completed'
        WHEN 3 THEN 'failed'
        WHEN 4 THEN 'canceled'
    END AS state,
    task.priority,
    task.attempt,
    task.crashes,
    strftime('%Y-%m-%dT%H:%M:%S', task.submitted_at / 1000000, 'unixepoch') || printf('.%06dZ', task.submitted_at % 1000000) AS submitted_at,
    strftime('%Y-%m-%dT%H:%M:%S', task.due_at / 1000000, 'unixepoch') || printf('.%06dZ', task.due_at % 1000000) AS due_at,
    strftime('%Y-%m-%dT%H:%M:%S', task.started_at / 1000000, 'unixepoch') || printf('.%06dZ', task.started_at % 1000000) AS started_at,
    strftime('%Y-%m-%dT%H:%M:%S', task.finished_at / 1000000, 'unixepoch') || printf('.%06dZ', task.finished_at % 1000000) AS finished_at,
    strftime('%Y-%m-%dT%H:%M:%S', task.expires_at / 1000000, 'unixepoch') || printf('.%06dZ', task.expires_at % 1000000) AS expires_at,
    task.input_bytes,
    task.output_bytes,
    task.failure_code,
    task.failure_message,
    task.idempotency_key
FROM task JOIN endpoint ON endpoint.id = task.endpoint;
