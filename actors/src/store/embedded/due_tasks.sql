-- The tasks of a caller and a priority that were due at a time, the longest due first. A range of task_waiting.
SELECT * FROM task INDEXED BY task_waiting
WHERE endpoint = ?1 AND state = 0 AND holder IS NULL AND ripe = 1 AND fairness_key IS ?2 AND priority = ?3
    AND due_at <= ?4
ORDER BY due_at, id LIMIT ?5
