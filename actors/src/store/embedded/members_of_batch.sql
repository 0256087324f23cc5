-- Tasks of a batch, in the order in which they were recorded. A range of task_of_batch.
SELECT * FROM task INDEXED BY task_of_batch WHERE batch = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3
