-- Forgets a batch. Served by the primary key.
DELETE FROM batch WHERE id = ?1
