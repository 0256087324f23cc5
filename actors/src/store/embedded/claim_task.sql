-- Gives a task to a holder under a new fence. Served by the primary key.
UPDATE task SET holder = ?2, fence = ?3 WHERE seq = ?1
