-- Adds to the number of an endpoint's tasks in a state. Served by the primary key.
INSERT INTO tally (endpoint, state, tasks) VALUES (?1, ?2, ?3)
ON CONFLICT (endpoint, state) DO UPDATE SET tasks = tasks + excluded.tasks
