-- Finished tasks whose time to be kept is over, the longest over first. A range of task_finished.
SELECT * FROM task INDEXED BY task_finished
WHERE expires_at IS NOT NULL AND expires_at <= ?1
ORDER BY expires_at, seq LIMIT ?2
