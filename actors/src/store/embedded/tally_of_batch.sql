-- How many tasks of a batch are in each state, by reason. Served by the primary key.
SELECT state, reason, tasks FROM batch_tally WHERE batch = ?1
