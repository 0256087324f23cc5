-- Forgets a host that no delivery waits for. Served by the primary key.
DELETE FROM destination WHERE host = ?1
