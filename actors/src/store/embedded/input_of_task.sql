-- The stored input of a task. Served by the unique index on id, then by the primary keys.
SELECT task.input_in_file, input.headers, input.body FROM task JOIN input ON input.task = task.seq WHERE task.id = ?1
