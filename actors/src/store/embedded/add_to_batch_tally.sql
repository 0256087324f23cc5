-- Adds to the number of a batch's tasks in a state. Served by the primary key.
INSERT INTO batch_tally (batch, state, reason, tasks) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (batch, state, reason) DO UPDATE SET tasks = tasks + excluded.tasks
