-- Ends a task. Served by the primary key.
UPDATE task SET
    state = ?2, holder = NULL, attempt = ?3, started_at = ?4, crashes = ?5, finished_at = ?6, expires_at = ?7,
    output_bytes = ?8, output_in_file = ?9, failure_code = ?10, failure_message = ?11, failure_log = ?12,
    cancel_requested = 0, node = ?13, worker = ?14
WHERE seq = ?1
