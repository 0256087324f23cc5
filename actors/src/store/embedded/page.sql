-- A page of all tasks, or of all in a state, newest first. Walks down the unique index on id.
SELECT * FROM task WHERE id < ?1 AND (?2 IS NULL OR state = ?2) ORDER BY id DESC LIMIT ?3
