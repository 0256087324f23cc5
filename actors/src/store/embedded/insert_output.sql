-- Keeps the output of a task. Nearly appends: tasks finish about in the order they came.
INSERT INTO output (task, status, headers, body) VALUES (?1, ?2, ?3, ?4)
