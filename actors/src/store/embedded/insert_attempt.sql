-- Records an attempt by itself. Served by the primary key.
INSERT OR REPLACE INTO attempt (
    task, number, node, worker, started_at, ended_at, outcome, failure_code, failure_message, log
) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
