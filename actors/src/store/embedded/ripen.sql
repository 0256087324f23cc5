-- Notes that tasks of an endpoint are due, the longest due first. A range of task_ripening.
UPDATE task SET ripe = 1 WHERE seq IN (
    SELECT seq FROM task INDEXED BY task_ripening
    WHERE endpoint = ?1 AND state = 0 AND holder IS NULL AND ripe = 0 AND due_at <= ?2
    ORDER BY due_at LIMIT ?3
)
