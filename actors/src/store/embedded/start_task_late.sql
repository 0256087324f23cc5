-- Writes a start that was answered before, if its lease still holds. Served by the unique index on id.
UPDATE task SET state = 1, attempt = ?4, started_at = ?5 WHERE id = ?1 AND holder = ?2 AND fence = ?3 AND state = 0
