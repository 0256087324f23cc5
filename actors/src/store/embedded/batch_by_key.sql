-- The batch that was first begun with a key. Served by batch_key.
SELECT * FROM batch WHERE endpoint = ?1 AND idempotency_key = ?2
