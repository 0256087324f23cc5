-- The tasks of an endpoint that wait, due or not, and were submitted by an instant. A range of task_waiting.
SELECT * FROM task INDEXED BY task_waiting
WHERE endpoint = ?1 AND state = 0 AND holder IS NULL AND submitted_at <= ?2
ORDER BY ripe, fairness_key, priority, due_at, id LIMIT ?3
