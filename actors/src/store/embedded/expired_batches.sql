-- Batches whose time is over and whose last task is gone. A range of batch_expiring, with a look into task_of_batch.
SELECT id FROM batch INDEXED BY batch_expiring
WHERE expires_at <= ?1 AND NOT EXISTS (SELECT 1 FROM task INDEXED BY task_of_batch WHERE task.batch = batch.id)
ORDER BY expires_at LIMIT ?2
