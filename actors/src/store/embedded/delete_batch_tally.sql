-- Forgets the numbers of a batch. Served by the primary key.
DELETE FROM batch_tally WHERE batch = ?1
