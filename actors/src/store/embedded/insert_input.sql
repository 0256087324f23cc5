-- Keeps the input of a task. Appends.
INSERT INTO input (task, headers, body) VALUES (?1, ?2, ?3)
