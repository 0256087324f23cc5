-- The unfinished tasks between two ids, newest first, where there are few: all of task_waiting and task_held is read
-- and sorted.
SELECT * FROM task
WHERE seq IN (
    SELECT seq FROM task INDEXED BY task_waiting WHERE state = 0 AND holder IS NULL
    UNION ALL
    SELECT seq FROM task INDEXED BY task_held WHERE holder IS NOT NULL
)
AND id < ?1 AND id >= ?2 AND (?3 IS NULL OR endpoint = ?3)
ORDER BY id DESC
