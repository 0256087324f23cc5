-- The task that was first submitted with a key. Served by task_key.
SELECT * FROM task WHERE endpoint = ?1 AND idempotency_key = ?2
