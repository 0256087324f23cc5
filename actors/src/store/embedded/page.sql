-- All tasks between two ids, newest first, read as far as they are needed. Walks down the unique index on id.
SELECT * FROM task WHERE id < ?1 AND id >= ?2 ORDER BY id DESC
