-- The attempts of a task that are recorded by themselves, in order. A range of the primary key.
SELECT number, node, worker, started_at, ended_at, outcome, failure_code, failure_message, log
FROM attempt WHERE task = ?1 ORDER BY number
