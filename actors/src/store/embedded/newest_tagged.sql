-- The newest task between two ids that has a tag. One step into the primary key.
SELECT task FROM tag WHERE key = ?1 AND value = ?2 AND task < ?3 AND task >= ?4 ORDER BY task DESC LIMIT 1
