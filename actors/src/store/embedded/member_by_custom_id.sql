-- The task of a batch with a custom id. Served by task_custom_id.
SELECT * FROM task INDEXED BY task_custom_id WHERE batch = ?1 AND custom_id = ?2
