-- The headers of a task's input. Served by the primary key.
SELECT headers FROM input WHERE task = ?1
