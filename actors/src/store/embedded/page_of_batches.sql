-- A page of all batches, newest first. Walks down the primary key.
SELECT * FROM batch WHERE id < ?1 ORDER BY id DESC LIMIT ?2
