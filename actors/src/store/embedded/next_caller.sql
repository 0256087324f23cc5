-- The next caller by name of whom an endpoint has due tasks. One step into task_waiting.
SELECT fairness_key FROM task INDEXED BY task_waiting
WHERE endpoint = ?1 AND state = 0 AND holder IS NULL AND ripe = 1 AND fairness_key > ?2
ORDER BY fairness_key LIMIT 1
