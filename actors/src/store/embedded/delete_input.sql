-- Forgets a task's input. Served by the primary key.
DELETE FROM input WHERE task = ?1
