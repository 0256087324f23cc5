-- Hands a delivery to somebody for a time. Served by the unique index on id.
UPDATE delivery SET fence = ?2, free_at = ?3 WHERE id = ?1
