-- When the next task of a caller and a priority will be due. One step into task_waiting.
SELECT due_at FROM task INDEXED BY task_waiting
WHERE endpoint = ?1 AND state = 0 AND holder IS NULL AND fairness_key IS ?2 AND priority = ?3 AND due_at > ?4
ORDER BY due_at LIMIT 1
