-- The row of a task. Served by the unique index on id.
SELECT * FROM task WHERE id = ?1
