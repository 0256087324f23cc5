-- Makes a delivery due again. Served by the unique index on id.
UPDATE delivery SET state = 0, fence = ?2, begun_at = ?3, tries = 0, next_at = ?3, free_at = ?3 WHERE id = ?1
