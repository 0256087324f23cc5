-- Forgets a task. Served by the primary key.
DELETE FROM task WHERE seq = ?1
