-- When the next task of an endpoint will be due that waits for its time. One step into task_ripening.
SELECT due_at FROM task INDEXED BY task_ripening
WHERE endpoint = ?1 AND state = 0 AND holder IS NULL AND ripe = 0
ORDER BY due_at LIMIT 1
