-- When the next task of an endpoint and a priority will be due. One step into task_waiting.
SELECT due_at FROM task INDEXED BY task_waiting
WHERE endpoint = ?1 AND state = 0 AND holder IS NULL AND priority = ?2 AND due_at > ?3
ORDER BY due_at LIMIT 1
