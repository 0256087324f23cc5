-- Forgets a task's output. Served by the primary key.
DELETE FROM output WHERE task = ?1
