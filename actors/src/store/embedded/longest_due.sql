-- Since when the first of a caller and a priority is due. One step into task_waiting.
SELECT due_at FROM task INDEXED BY task_waiting
WHERE endpoint = ?1 AND state = 0 AND holder IS NULL AND ripe = 1 AND fairness_key IS ?2 AND priority = ?3
ORDER BY due_at LIMIT 1
