-- The next less urgent priority of which an endpoint has waiting tasks. One step into task_waiting.
SELECT priority FROM task INDEXED BY task_waiting
WHERE endpoint = ?1 AND state = 0 AND holder IS NULL AND priority > ?2
ORDER BY priority LIMIT 1
