-- Gives a task the input of another one. Served by the primary key.
INSERT INTO input (task, headers, body) SELECT ?1, headers, body FROM input WHERE task = ?2
