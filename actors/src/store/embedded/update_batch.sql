-- Changes how a batch stands. Served by the primary key.
UPDATE batch SET state = ?2, finished_at = ?3, expires_at = ?4, refused = ?5 WHERE id = ?1
