-- What holders up to an epoch hold. A range of task_held.
SELECT * FROM task INDEXED BY task_held WHERE holder IS NOT NULL AND holder <= ?1 ORDER BY holder, seq LIMIT ?2
