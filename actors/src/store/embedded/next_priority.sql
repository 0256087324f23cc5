-- The next less urgent priority of which a caller has due tasks, and since when the first is. One step into
-- task_waiting.
SELECT priority, due_at FROM task INDEXED BY task_waiting
WHERE endpoint = ?1 AND state = 0 AND holder IS NULL AND ripe = 1 AND fairness_key IS ?2 AND priority > ?3
ORDER BY priority, due_at LIMIT 1
