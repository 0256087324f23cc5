-- Records that an attempt has started. Served by the primary key.
UPDATE task SET state = 1, attempt = ?2, started_at = ?3 WHERE seq = ?1
