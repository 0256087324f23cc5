-- Canceled batches that have pending tasks, the oldest first. A range of batch_canceling, with a look into the tally.
SELECT id FROM batch INDEXED BY batch_canceling
WHERE state = 3 AND finished_at IS NULL
    AND EXISTS (SELECT 1 FROM batch_tally WHERE batch = batch.id AND state = 0 AND tasks > 0)
ORDER BY id LIMIT ?1
