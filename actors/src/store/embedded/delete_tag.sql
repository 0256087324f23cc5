-- Forgets that a task has a tag. Served by the primary key.
DELETE FROM tag WHERE key = ?1 AND value = ?2 AND task = ?3
