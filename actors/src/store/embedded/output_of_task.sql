-- The stored output of a task. Served by the unique index on id, then by the primary keys.
SELECT task.output_in_file, task.fence, output.status, output.headers, output.body
FROM task JOIN output ON output.task = task.seq WHERE task.id = ?1
