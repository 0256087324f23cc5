-- How operators have set endpoints, over the configuration. A NULL concurrency is the configured one.
CREATE TABLE control (
    endpoint    INTEGER PRIMARY KEY,
    paused      INTEGER NOT NULL,
    concurrency INTEGER
);

-- What a claim may take: caller by caller, and of each the most urgent first.
DROP INDEX task_waiting;
CREATE INDEX task_waiting ON task (endpoint, fairness_key, priority, due_at, id) WHERE state = 0 AND holder IS NULL;
