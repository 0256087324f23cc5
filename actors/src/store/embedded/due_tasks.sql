-- The tasks of an endpoint and a priority that are due, the longest due first. A range of task_waiting.
SELECT * FROM task INDEXED BY task_waiting
WHERE endpoint = ?1 AND state = 0 AND holder IS NULL AND priority = ?2 AND due_at <= ?3
ORDER BY due_at, id LIMIT ?4
