-- Records what came of a try. Served by the unique index on id.
UPDATE delivery SET state = ?2, fence = ?3, tries = ?4, log = ?5, next_at = ?6, free_at = ?6 WHERE id = ?1
