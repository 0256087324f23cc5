-- Takes a task that has not started from its holder. Served by the primary key.
UPDATE task SET holder = NULL WHERE seq = ?1
