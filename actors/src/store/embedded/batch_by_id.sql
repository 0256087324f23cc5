-- The row of a batch. Served by the primary key.
SELECT * FROM batch WHERE id = ?1
